"""A scenario: a git repository with a branch ``task/<name>`` per task, and a signed tag per version."""

from __future__ import annotations

import os
import re
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from dulwich.errors import NotGitRepository
from dulwich.repo import Repo, get_user_identity

from walle_deploy.errors import TaskError, TrustError
from walle_deploy.task.compare import Change, compare
from walle_deploy.task.config import FILE as CONFIG
from walle_deploy.task.config import parse
from walle_deploy.task.lock import locked
from walle_deploy.task.objects import read_commit, write_commit
from walle_deploy.task.sshsig import Signers, SigningKey
from walle_deploy.task.tags import Version, make_tag, new_version, numbers, read_tag, verify_tag
from walle_deploy.task.tree import DEFAULT, Bounds, check_content, check_paths, read_tree, tree_entries
from walle_deploy.task.values import TASK_NAME

_VERSION = re.compile(r"v[1-9][0-9]{0,8}")
_HEADS = b"refs/heads/task/"


@attrs.frozen
class Entry:
    """A commit of a task."""

    id: str
    parents: tuple[str, ...]
    author: str
    time: int
    message: str


class Scenario:
    """The tasks of one business scenario. Everything that is written goes through one lock, and is whole or not there.

    Args:
        path: folder of the repository, bare or with a working tree.
        bounds: the largest tree that is read.

    Raises TaskError if there is no repository.
    """

    def __init__(self, path: str | os.PathLike[str], bounds: Bounds = DEFAULT) -> None:
        try:
            self.git: Any = Repo(os.fspath(path))
        except (NotGitRepository, OSError, ValueError) as error:
            raise TaskError(f"{path}: no git repository; `walle task init NAME` makes one") from error
        self.bounds = bounds
        self._close = weakref.finalize(self, self.git.close)
        if self.git.object_format.oid_length != 20:
            self.close()
            raise TaskError(
                f"{path}: the repository uses SHA-256, which is not supported; make one with SHA-1"
            )

    @classmethod
    def init(cls, path: str | os.PathLike[str], scenario: str, *, bare: bool = False) -> Scenario:
        """Makes a repository in an existing or new folder. Raises TaskError if there is one already."""
        if not re.fullmatch(TASK_NAME, scenario):
            raise TaskError(
                f"scenario {scenario!r}: wanted lower-case letters, digits, '-' and '_', at most 64"
            )
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
            made = Repo.init_bare(os.fspath(path)) if bare else Repo.init(os.fspath(path))
        except OSError as error:
            raise TaskError(f"{path}: no repository can be made there: {error.strerror or error}") from error
        config = made.get_config()
        config.set((b"walle",), b"scenario", scenario.encode())
        config.write_to_path()
        return cls(path)

    def close(self) -> None:
        """Closes its files; what is forgotten closes them too."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Name of the scenario; that of the folder if the repository was not made here."""
        try:
            return str(self.git.get_config().get((b"walle",), b"scenario").decode())
        except KeyError:
            return Path(self.git.path).resolve().name.lower()

    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return sorted(name.decode(errors="replace") for name in self.git.refs.as_dict(_HEADS[:-1]))

    def commit(
        self,
        task: str,
        files: Mapping[str, bytes],
        message: str,
        *,
        author: str | None = None,
        expect: str | None = None,
    ) -> str:
        """A commit with exactly these files, and its id. The task begins with the first.

        Args:
            expect: the commit that must be the newest; another then has written nothing since.

        Raises TaskError if a path is unsafe, the files are too many or too large, nothing has changed, or another
        program moved the branch meanwhile; then nothing has changed.
        """
        self._check(task, files)
        with self.lock():
            old = self._head(task)
            if expect is not None and (old or b"").decode() != expect:
                raise TaskError(
                    f"task {task}: {(old or b'nothing').decode():.12} is the newest, not {expect:.12}; read again"
                )
            parents = [old] if old else []
            made = write_commit(
                self.git, files, message, parents, author or self.identity(), int(time.time())
            )
            if old and made.tree == read_commit(self.git, old.decode()).tree:
                raise TaskError(f"task {task}: nothing has changed since {old.decode():.12}")
            self._move(task, old, made)
            return str(made.id.decode())

    def _check(self, task: str, files: Mapping[str, bytes]) -> None:
        if not re.fullmatch(TASK_NAME, task):
            raise TaskError(f"task {task!r}: wanted lower-case letters, digits, '-' and '_', at most 64")
        check_paths(files)
        for path, data in files.items():
            check_content(path, data)
            if len(data) > self.bounds.file_bytes:
                raise TaskError(
                    f"{path}: has {len(data)} bytes; at most {self.bounds.file_bytes} are allowed"
                )
        if (
            not files
            or len(files) > self.bounds.files
            or sum(map(len, files.values())) > self.bounds.all_bytes
        ):
            raise TaskError(
                f"task {task}: wanted 1 to {self.bounds.files} files of {self.bounds.all_bytes} bytes together"
            )
        if CONFIG in files and (found := parse(files[CONFIG]).task.name) != task:
            raise TaskError(
                f"{CONFIG}: task.name is {found!r}; on the branch task/{task} it must be {task!r}"
            )

    def _move(self, task: str, old: bytes | None, made: Any) -> None:
        ref = _HEADS + task.encode()
        refs = self.git.refs
        moved = refs.set_if_equals(ref, old, made.id) if old else refs.add_if_new(ref, made.id)
        if not moved:
            raise TaskError(f"task {task}: another program has just written to it; read again and repeat")

    def identity(self) -> str:
        """Who commits and tags: git's user.name and user.email."""
        return get_user_identity(self.git.get_config_stack()).decode(errors="replace")

    def lock(self) -> Any:
        """Held while anything is written. Raises TaskError if another process holds it for 10 s."""
        return locked(Path(self.git.commondir()) / "walle.lock")

    def _head(self, task: str) -> bytes | None:
        try:
            return bytes(self.git.refs[_HEADS + task.encode()])
        except KeyError:
            return None

    def resolve(self, task: str, revision: str = "") -> str:
        """The commit that a revision names: ``v3``, the beginning of a commit's id, ``~2`` (before the newest), or the
        newest. Raises TaskError if there is none, or several.
        """
        head = self._head(task)
        if head is None:
            raise TaskError(f"there is no task {task!r}; known are {', '.join(self.tasks()) or 'none yet'}")
        if revision in ("", "HEAD"):
            return head.decode()
        if _VERSION.fullmatch(revision):
            return read_tag(self.git, task, int(revision[1:]))[0].commit
        known = [entry.id for entry in self.log(task)]
        if back := re.fullmatch(r"(?:HEAD)?~([0-9]{1,6})", revision):
            found = known[int(back[1]) : int(back[1]) + 1]
        else:
            found = [i for i in known if len(revision) >= 4 and i.startswith(revision)]
        if len(found) != 1:
            raise TaskError(
                f"task {task}: {revision!r} names {len(found)} commits; wanted v1, ~1, or more of the id"
            )
        return found[0]

    def log(self, task: str, limit: int | None = None) -> list[Entry]:
        """The task's commits, newest first."""
        head = self._head(task)
        if head is None:
            raise TaskError(f"there is no task {task!r}; known are {', '.join(self.tasks()) or 'none yet'}")
        found = [step.commit for step in self.git.get_walker(include=[head], max_entries=limit)]
        return [
            Entry(
                c.id.decode(), tuple(p.decode() for p in c.parents), c.author.decode(errors="replace"), c.commit_time,
                c.message.decode(errors="replace").strip(),
            )
            for c in found
        ]  # fmt: skip

    def files(self, task: str, revision: str = "") -> dict[str, bytes]:
        """Path -> content. Raises TaskError for a tree with anything but plain files of safe names within bounds."""
        return self.files_of(self.resolve(task, revision))

    def files_of(self, commit: str) -> dict[str, bytes]:
        """The files of a commit, as `files`."""
        return read_tree(self.git, read_commit(self.git, commit).tree, self.bounds)

    def diff(self, task: str, old: str, new: str = "") -> list[Change]:
        """What differs between two revisions."""
        commits = [read_commit(self.git, self.resolve(task, r)) for r in (old, new)]
        ids = [tree_entries(self.git, c.tree, self.bounds) for c in commits]
        before, after = (read_tree(self.git, c.tree, self.bounds) for c in commits)
        return compare(
            before, after, [p for p in sorted({*ids[0], *ids[1]}) if ids[0].get(p) != ids[1].get(p)]
        )

    def revert(
        self, task: str, revision: str, message: str | None = None, *, author: str | None = None
    ) -> str:
        """A new commit with the files of an earlier revision; what came between stays in the log."""
        commit = self.resolve(task, revision)
        return self.commit(
            task, self.files_of(commit), message or f"Back to {revision} ({commit[:12]})", author=author
        )

    def versions(self, task: str) -> list[Version]:
        """All versions in ascending order, as their tags say; `verify` proves one. Malformed tags are left out."""
        found = []
        for number in numbers(self.git, task):
            try:
                found.append(read_tag(self.git, task, number)[0])
            except TrustError:
                continue
        return found

    def tag(self, task: str, key: SigningKey | None, message: str, revision: str = "") -> Version:
        """Makes the next version of a revision, signed. Raises TaskError if the commit has a version already."""
        with self.lock():
            commit = self.resolve(task, revision)
            self._names(task, commit)
            for version in self.versions(task):
                if version.commit == commit:
                    raise TaskError(f"{commit:.12} is {version.tag} already")
            number = max(numbers(self.git, task), default=0) + 1
            version = new_version(task, number, commit, message, self.identity())
            made = make_tag(version, key)
            self.git.object_store.add_object(made)
            if not self.git.refs.add_if_new(b"refs/tags/" + version.tag.encode(), made.id):
                raise TaskError(f"{version.tag}: another program has just made it; repeat")
            return version

    def verify(self, task: str, number: int, allowed: Signers, commit: str | None = None) -> Version:
        """The version, if everything holds: signed by an allowed key, named as its place says, of a commit on the
        task's branch whose walle.toml names the task; of `commit`, if that is known from before. Raises TrustError if
        not, TaskError if there is none.
        """
        version = verify_tag(self.git, task, number, allowed)
        if commit is not None and version.commit != commit:
            raise TrustError(
                f"{version.tag}: was {commit:.12}, and now is {version.commit:.12}; a version never changes"
            )
        try:
            self._names(task, version.commit)
        except TaskError as error:
            raise TrustError(f"{version.tag}: {error}") from error
        head = self._head(task)
        if head is not None and version.commit not in (entry.id for entry in self.log(task)):
            raise TrustError(
                f"{version.tag}: {version.commit:.12} is not on the branch task/{task}; do not use it"
            )
        return version

    def _names(self, task: str, commit: str) -> None:
        """Raises TaskError unless the commit's tree is the task's."""
        text = self.files_of(commit).get(CONFIG)
        if text is None:
            raise TaskError(f"{commit:.12} has no {CONFIG}")
        if (found := parse(text).task.name) != task:
            raise TaskError(f"{commit:.12} is of the task {found!r}, not of {task!r}")
