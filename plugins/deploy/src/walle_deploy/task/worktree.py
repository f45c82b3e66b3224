"""The working folder of a scenario: which task is checked out, its files, and a commit of what lies there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dulwich.errors import NotGitRepository
from dulwich.ignore import IgnoreFilterManager
from dulwich.repo import Repo

from walle_deploy.errors import TaskError
from walle_deploy.task.repo import Scenario
from walle_deploy.task.tree import read_folder

_HEAD = re.compile(rb"refs/heads/task/(.+)")


class WorkTree:
    """A scenario's working folder, found from any folder in it.

    Raises TaskError if there is none, or it is bare.
    """

    def __init__(self, start: str | os.PathLike[str] = ".") -> None:
        try:
            with Repo.discover(os.fspath(start)) as found:
                path, bare = found.path, found.bare
        except NotGitRepository as error:
            raise TaskError(
                f"no scenario here ({Path(start).resolve()}); `walle task init NAME` makes one"
            ) from error
        if bare:
            raise TaskError(f"{path} has no working folder; clone it")
        self.folder = Path(path)
        self.scenario = Scenario(path)

    @classmethod
    def open_or_init(cls, folder: str | os.PathLike[str], scenario: str | None) -> WorkTree:
        """The folder's scenario, or a new one in a folder that is empty. Raises TaskError if it is not."""
        try:
            Repo.discover(os.fspath(folder)).close()
        except NotGitRepository:
            there = sorted(p.name for p in Path(folder).iterdir())
            if there:
                raise TaskError(
                    f"{Path(folder).resolve()} has files ({there[0]}, …); a scenario begins in an empty folder"
                ) from None
            name = (
                scenario
                or re.sub(r"[^a-z0-9_-]+", "-", Path(folder).resolve().name.lower()).strip("-_")
                or "scenario"
            )
            Scenario.init(folder, name)
        return cls(folder)

    @property
    def task(self) -> str:
        """Name of the task that is checked out. Raises TaskError if another branch is."""
        target = self._target()
        found = _HEAD.fullmatch(target)
        if found is None:
            branch = target.decode(errors="replace").removeprefix("refs/heads/")
            known = ", ".join(self.scenario.tasks()) or "none yet: `walle task init NAME`"
            raise TaskError(
                f"the branch {branch or '(none)'} is no task's; git switch task/NAME. Tasks: {known}"
            )
        return found[1].decode(errors="replace")

    def _target(self) -> bytes:
        """The branch that HEAD names; empty if it names a commit."""
        return bytes(self.scenario.git.refs.get_symrefs().get(b"HEAD", b""))

    def files(self) -> dict[str, bytes]:
        """What lies in the folder and is not ignored. Raises TaskError for anything but plain files."""
        ignored = IgnoreFilterManager.from_repo(self.scenario.git)
        found = read_folder(self.folder, self.scenario.bounds)
        return {path: data for path, data in found.items() if not ignored.is_ignored(path)}

    def changed(self) -> list[str]:
        """Paths that differ from the newest commit."""
        files, task = self.files(), self.task
        known = self.scenario.files(task) if task in self.scenario.tasks() else {}
        return sorted(path for path in {*files, *known} if files.get(path) != known.get(path))

    def commit(self, message: str) -> str:
        """A commit of the folder as it is, on the task's branch."""
        made = self.scenario.commit(self.task, self.files(), message)
        self.scenario.git.get_worktree().reset_index()
        return made

    def start(self, task: str, files: dict[str, bytes], message: str) -> str:
        """A new task with these files; it is checked out. Raises TaskError if something would be lost."""
        if task in self.scenario.tasks():
            raise TaskError(f"there is a task {task!r} already: git switch task/{task}")
        old: dict[str, bytes] = {}
        if _HEAD.fullmatch(self._target()) and self.task in self.scenario.tasks():
            if changed := self.changed():
                raise TaskError(f"{changed[0]} has changes that are not committed; commit them first")
            old = self.scenario.files(self.task)
        elif b"HEAD" in self.scenario.git.refs.as_dict() or self.files():
            raise TaskError(f"{self.folder} holds something else; a scenario begins in an empty folder")
        made = self.scenario.commit(task, files, message)
        self.scenario.git.refs.set_symbolic_ref(b"HEAD", b"refs/heads/task/" + task.encode())
        self._show(old)
        return made

    def revert(self, revision: str, message: str | None = None) -> str:
        """A commit with the files of an earlier revision, which then lie in the folder. Raises TaskError if something
        would be lost.
        """
        task = self.task
        if changed := self.changed():
            raise TaskError(f"{changed[0]} has changes that are not committed; commit them first")
        old = self.scenario.files(task)
        made = self.scenario.revert(task, revision, message)
        self._show(old)
        return made

    def _show(self, old: dict[str, bytes]) -> None:
        """Puts the files of the newest commit in the place of others."""
        for path in old:
            (self.folder / path).unlink()
        for parent in sorted({p for path in old for p in Path(path).parents if p != Path()}, reverse=True):
            if not any((self.folder / parent).iterdir()):
                (self.folder / parent).rmdir()
        self.scenario.git.get_worktree().reset_index()
