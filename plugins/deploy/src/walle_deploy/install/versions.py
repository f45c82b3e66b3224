"""Installed versions as folders: each is built aside, and appears and disappears in one step."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from walle_deploy.errors import DeployError, StoreError
from walle_deploy.install.disk import Disk
from walle_deploy.manifest import MAX_BYTES, Digest, File, Manifest

MANIFEST, FILES = "manifest.json", "files"  # what is in the folder of a version
_READ = 1 << 20
_log = logging.getLogger(__name__)


@attrs.frozen
class Version:
    """An installed version, whose files are what its manifest says.

    Attributes:
        manifest: of it.
        digest: of the manifest.
        folder: where its files are; they are not to be written.
    """

    manifest: Manifest
    digest: Digest
    folder: Path


class Versions:
    """The folders ``versions/<task>/<digest>/`` below `root`, built and taken apart in ``temp/``."""

    def __init__(self, disk: Disk, root: Path) -> None:
        self._disk = disk
        self.root = root / "versions"
        self._temp = root / "temp"

    def start(self) -> None:
        """Makes the folders and removes what was half built or half removed."""
        for folder in (self.root, self._temp):
            self._disk.folder(folder)
        for left in sorted(self._temp.iterdir()):
            self._disk.remove_all(left)

    def tasks(self) -> list[str]:
        """Names of the tasks that have folders."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir())

    def digests(self, task: str) -> list[Digest]:
        """Of the versions of a task that are there, the newest first."""
        with contextlib.suppress(FileNotFoundError):
            found = [(path.stat().st_mtime_ns, path.name) for path in (self.root / task).iterdir()]
            return [name for _, name in sorted(found, reverse=True)]
        return []

    def path(self, task: str, digest: Digest) -> Path:
        """The folder of a version."""
        return self.root / task / digest

    def manifest(self, task: str, digest: Digest) -> Manifest | None:
        """The manifest of a version; None if it is missing or is not what `digest` says."""
        try:
            with (self.path(task, digest) / MANIFEST).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            made = Manifest.decode(data)
        except (OSError, DeployError):
            return None
        return made if hashlib.sha256(data).hexdigest() == digest and made.task == task else None

    def files(self, task: str, digest: Digest) -> Iterator[tuple[File, Path]]:
        """What a version has, and where; nothing if its manifest is damaged."""
        manifest = self.manifest(task, digest)
        for file in manifest.files if manifest else ():
            yield file, self.path(task, digest) / FILES / file.path

    def verified(self, task: str, digest: Digest) -> Version | None:
        """The version, if each of its files is what its manifest says."""
        manifest = self.manifest(task, digest)
        if manifest is None:
            return None
        for file, path in self.files(task, digest):
            if not is_file(path, file.sha256, file.size):
                _log.warning("task %s, version %s: %s is damaged", task, manifest.version, file.path)
                return None
        return Version(manifest, digest, self.path(task, digest) / FILES)

    def build(self, manifest: Manifest, find: Callable[[File], Path | None]) -> Version:
        """Installs a version of files that `find` knows, linked where the disk can. Raises StoreError, OSError.

        When it returns, the version outlasts a power cut; when it raises, nothing is there.
        """
        digest = manifest.digest
        self._check_case(manifest.task)
        place = self._temp / f"{manifest.task}-{digest}"
        self._disk.remove_all(place)
        try:
            self._fill(place, manifest, find)
            parent = self.root / manifest.task
            if not parent.is_dir():
                self._disk.folder(parent)
                self._disk.sync(self.root)
            self._disk.rename(place, parent / digest)
            self._disk.sync(parent)
        except (OSError, StoreError):
            with contextlib.suppress(OSError):
                self._disk.remove_all(place)
            raise
        return Version(manifest, digest, self.path(manifest.task, digest) / FILES)

    def discard(self, task: str, digest: Digest) -> None:
        """Removes a version in one step. Raises OSError."""
        path, place = self.path(task, digest), self._temp / f"{task}-{digest}"
        if path.exists():
            self._disk.remove_all(place)
            self._disk.rename(path, place)
            self._disk.sync(path.parent)  # or half of it could come back
            self._disk.sync(self._temp)
            self._disk.remove_all(place)

    def _fill(self, place: Path, manifest: Manifest, find: Callable[[File], Path | None]) -> None:
        folders = [place, place / FILES]
        for file in manifest.files:
            above = [place / FILES / path for path in Path(file.path).parents]
            folders += [path for path in reversed(above) if path not in folders]
        for folder in folders:
            self._disk.folder(folder)
        for file in manifest.files:
            self._take(file, find(file), place / FILES / file.path)
        self._disk.write(place / MANIFEST, [manifest.encode()])
        self._disk.sync(place / MANIFEST)
        for folder in reversed(folders):
            self._disk.sync(folder)

    def _take(self, file: File, source: Path | None, target: Path) -> None:
        """Links or copies a file whose content is right. Raises StoreError."""
        if source is None or not is_file(source, file.sha256, file.size):
            raise StoreError(f"file {file.path!r} ({file.sha256}) is not here or is damaged; fetch it")
        source.chmod(0o444)  # it may be the file of several versions
        if not self._disk.link(source, target):
            self._disk.write(target, read_chunks(source))
        self._disk.sync(target)

    def _check_case(self, task: str) -> None:
        others = [name for name in self.tasks() if name.casefold() == task.casefold() and name != task]
        if others:
            raise StoreError(f"task {task!r} and the installed {others[0]!r} differ in case only; rename one")


def read_chunks(path: Path) -> Iterator[bytes]:
    """The content of a file, some at a time."""
    with path.open("rb") as file:
        while chunk := file.read(_READ):
            yield chunk


def is_file(path: Path, sha256: Digest, size: int) -> bool:
    """Whether there is a regular file of this content; one that cannot be read is none."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            return False
        digest = hashlib.sha256()
        for chunk in read_chunks(path):
            digest.update(chunk)
    except OSError:
        return False
    return digest.hexdigest() == sha256
