"""Excludes two processes from one folder; the system frees the lock of a process that dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from walle_deploy.errors import StoreError


class FolderLock:
    """A lock on a file of a folder, held from `take` to `free`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        """Takes the lock. Raises StoreError if another process, or another `FolderLock` of this one, has it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            raise StoreError(f"{self._path.parent}: another process installs into this folder") from error
        self._handle = handle

    def free(self) -> None:
        """Frees the lock, if it is held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self._handle is not None


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
