"""Excludes two processes from one folder; the system frees the lock of a process that dies."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from walle_deploy.errors import StoreError

_AGAIN_S = 0.01


class FolderLock:
    """A lock on a file of a folder, held from `take` to `free`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self, wait_s: float = 0.0) -> None:
        """Takes the lock. Raises StoreError if another process, or another `FolderLock` of this one, has it after `wait_s`.

        What a killed process was just starting has its lock until it has become another program.
        """
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + wait_s
        while True:
            try:
                _lock(handle)
            except OSError as error:
                if time.monotonic() < until:
                    time.sleep(_AGAIN_S)
                    continue
                os.close(handle)
                raise StoreError(f"{self._path.parent}: another process installs into this folder") from error
            self._handle = handle
            return

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
