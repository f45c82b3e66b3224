"""The versions of tasks on a device: installed, current, last good, bad. A power cut leaves the old or the new one."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from walle_deploy.errors import StoreError
from walle_deploy.install.disk import Disk
from walle_deploy.install.lock import FolderLock
from walle_deploy.install.state import State, StateFile
from walle_deploy.install.versions import Version, Versions
from walle_deploy.manifest import Digest, File, Manifest, check_name

KEEP_DOWNLOADS_S = 7 * 24 * 3600.0  # that no installation came for
_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _exclusive(
    method: Callable[Concatenate[Slots, _P], _T],
) -> Callable[Concatenate[Slots, _P], _T]:
    """One thread at a time, only while the folder is open; StoreError for what the disk raises."""

    @functools.wraps(method)
    def guarded(self: Slots, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with self._mutex:
            if not self._lock.held:
                raise StoreError(f"{self.root}: is not open; use `with Slots(…) as slots`")
            try:
                return method(self, *args, **kwargs)
            except OSError as error:
                raise StoreError(f"{self.root}: {error}") from error

    return guarded


class Slots:
    """One folder with the installed versions of a device's tasks. Thread-safe; one process at a time has it open.

    For each task at most two versions stay: the current one, and the one to go back to. Files that versions have in
    common are on the disk once.

    Args:
        root: the folder; made if it is not there.
        max_bytes: bound of all that is in it.
        disk: the file system; tests give their own.
    """

    def __init__(self, root: Path, max_bytes: int = 2 << 30, disk: Disk | None = None) -> None:
        self.root = root
        self.downloads = root / "downloads"
        self.max_bytes = max_bytes
        self.disk = disk or Disk()
        self._versions = Versions(self.disk, root)
        self._lock = FolderLock(root / "lock")
        self._mutex = threading.RLock()

    def open(self, wait_s: float = 0.0) -> None:
        """Locks the folder and clears what a cut left behind. Raises StoreError if another process has it after `wait_s`."""
        try:
            missing = [path for path in (self.root, *self.root.parents) if not path.exists()]
            self.root.mkdir(parents=True, exist_ok=True)
            for path in missing:
                self.disk.sync(path.parent)
            self._lock.take(wait_s)
            try:
                self.disk.folder(self.root / "state")
                self.disk.folder(self.downloads)
                self._versions.start()
                self.disk.sync(self.root)
                for task in self._versions.tasks():
                    self._state(task).repair()
                self._drop_downloads(lambda path: time.time() - path.stat().st_mtime > KEEP_DOWNLOADS_S)
            except BaseException:
                self._lock.free()
                raise
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be opened: {error}") from error

    def close(self) -> None:
        """Frees the folder."""
        with self._mutex:
            self._lock.free()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @_exclusive
    def state(self, task: str) -> State:
        """What is current, last good and bad of a task."""
        return self._state(task).read()

    @_exclusive
    def tasks(self) -> list[str]:
        """Tasks that have a current version."""
        return [task for task in self._versions.tasks() if self._state(task).read().current]

    @_exclusive
    def have(self, sha256: Digest) -> Path | None:
        """Where a file of this digest is: downloaded, or in a version. Its content is not read."""
        if (path := self.downloads / sha256).is_file():
            return path
        for task in self._versions.tasks():
            for digest in self._versions.digests(task):
                for file, path in self._versions.files(task, digest):
                    if file.sha256 == sha256 and path.is_file():
                        return path
        return None

    @_exclusive
    def reserve(self, manifest: Manifest) -> None:
        """Makes room for what `manifest` still needs. Raises StoreError if the bound does not allow it, or it is bad."""
        self._check_good(manifest)
        files = {file.sha256: file.size for file in manifest.files}
        need = len(manifest.encode()) + sum(
            size for sha256, size in files.items() if self.have(sha256) is None
        )
        if self._used() + need > self.max_bytes:
            self._drop_downloads(lambda path: path.name.split(".")[0] not in files)
            for task in self._versions.tasks():
                self._prune(task, manifest.digest)
        if (used := self._used()) + need > self.max_bytes:
            raise StoreError(
                f"{self.root}: task {manifest.task!r} needs {need} bytes more, {used} of {self.max_bytes} are used"
            )

    @_exclusive
    def install(self, manifest: Manifest) -> Version:
        """Installs a version whose files `have` knows; it is not current yet. Raises StoreError."""
        self._check_good(manifest)
        digest = manifest.digest
        if (found := self._versions.verified(manifest.task, digest)) is not None:
            return found
        self.reserve(manifest)
        self._versions.discard(manifest.task, digest)
        return self._versions.build(manifest, self._find())

    @_exclusive
    def activate(self, task: str, digest: Digest) -> None:
        """Makes an installed version the current one, in one step, and removes those that nothing goes back to."""
        state = self._state(task).repair()
        if digest in state.bad:
            raise StoreError(f"task {task!r}: version {digest} was bad on this device; release another")
        manifest = self._versions.manifest(task, digest)
        if manifest is None:
            raise StoreError(f"task {task!r}: version {digest} is not installed")
        if state.current != digest:
            self._state(task).write(state.switched(digest))
        files = {file.sha256 for file in manifest.files}
        try:
            self._prune(task)
            self._drop_downloads(lambda path: path.name in files)
        except OSError as error:  # the switch is made
            _log.warning("task %s: what is no longer needed cannot be removed: %s", task, error)

    @_exclusive
    def confirm(self, task: str, digest: Digest = "") -> None:
        """Says that the current version works: it is what later ones go back to. With `digest`, only if it is that one."""
        state = self._state(task).read()
        if state.current and not state.good and digest in ("", state.current):
            fresh = State(state.count + 1, state.current, True, state.last, state.bad)
            self._state(task).write(fresh)

    @_exclusive
    def revert(self, task: str) -> Version | None:
        """Marks the current version as bad and goes back to the last good one; None if there is none that is intact."""
        state = self._state(task).repair()
        if state.current:
            self.quarantine(task, state.current)
        return self.load(task)

    @_exclusive
    def quarantine(self, task: str, digest: Digest) -> None:
        """Marks a version as bad: it is removed, and not installed again on this device."""
        self._state(task).write(self._state(task).repair().without(digest, bad=True))
        self._versions.discard(task, digest)

    @_exclusive
    def load(self, task: str) -> Version | None:
        """The current version, verified. A damaged one is removed, and the last good one is then current.

        None if there is no intact one: the task has to be fetched again.
        """
        file = self._state(task)
        state = file.repair()
        if file.damaged:
            state = self._rebuilt(task)
        while state.current:
            if (found := self._versions.verified(task, state.current)) is not None:
                return found
            _log.warning("task %s: version %s is damaged and is removed", task, state.current)
            broken, state = state.current, state.without(state.current, bad=False)
            try:
                file.write(state)
                self._versions.discard(task, broken)
            except OSError as error:  # a task must start on a full disk too
                _log.warning("task %s: %s; it will be tried again", task, error)
        return None

    @_exclusive
    def remove(self, task: str) -> None:
        """Uninstalls a task; what is bad stays known."""
        state = self._state(task).repair()
        self._state(task).write(State(state.count + 1, bad=state.bad))
        self._prune(task)

    def _state(self, task: str) -> StateFile:
        return StateFile(self.disk, self.root / "state", check_name("task", task))

    def _check_good(self, manifest: Manifest) -> None:
        if manifest.digest in self._state(manifest.task).read().bad:
            raise StoreError(
                f"task {manifest.task!r}: version {manifest.version!r} was bad on this device; release another"
            )

    def _find(self) -> Callable[[File], Path | None]:
        """Where files are, looked up once."""
        known: dict[Digest, Path] = {}
        for task in self._versions.tasks():
            for digest in self._versions.digests(task):
                known |= {file.sha256: path for file, path in self._versions.files(task, digest)}
        downloads = self.downloads

        def find(file: File) -> Path | None:
            path = downloads / file.sha256
            return path if path.is_file() else known.get(file.sha256)

        return find

    def _rebuilt(self, task: str) -> State:
        """A state after both its files were damaged: the newest intact version is current."""
        state = State(count=1)
        for digest in self._versions.digests(task):
            if self._versions.verified(task, digest) is not None:
                state = State(2, digest) if not state.current else State(2, state.current, last=digest)
                if state.last:
                    break
        _log.warning("task %s: its state was damaged; %s is current", task, state.current or "no version")
        self._state(task).write(state)
        return state

    def _prune(self, task: str, also: Digest = "") -> None:
        """Removes the versions of a task that its state does not name, unless that is damaged."""
        file = self._state(task)
        state = file.read()
        if not file.damaged:
            for digest in self._versions.digests(task):
                if digest not in {state.current, state.last, also}:
                    self._versions.discard(task, digest)

    def _drop_downloads(self, gone: Callable[[Path], bool]) -> None:
        for path in sorted(self.downloads.iterdir()):
            if gone(path):
                self.disk.remove(path)

    def _used(self) -> int:
        """Bytes of all files, each once."""
        sizes: dict[Any, int] = {}
        for path in self.root.rglob("*"):
            found = path.lstat()
            if not path.is_dir():
                sizes[found.st_dev, found.st_ino] = found.st_size
        return sum(sizes.values())
