"""One writer at a time, across processes; a process that dies leaves no lock behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from walle_deploy.errors import TaskError


@contextmanager
def locked(path: str | os.PathLike[str], wait_s: float = 10.0) -> Iterator[None]:
    """Holds the lock of a file. Raises TaskError if another holds it for longer than `wait_s`."""
    deadline = time.monotonic() + wait_s
    with Path(path).open("ab") as file:
        while not _take(file.fileno()):
            if time.monotonic() >= deadline:
                raise TaskError(f"{path}: another process has been writing for {wait_s:g} s; try again")
            time.sleep(0.01)
        try:
            yield
        finally:
            _release(file.fileno())


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> bool:
        try:
            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
