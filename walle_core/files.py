"""Opening files that others made: a pipe, a device or a folder in a file's place neither blocks nor never ends."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_opened = threading.local()


@contextmanager
def recording() -> Iterator[list[str]]:
    """Lists the files that this thread opens meanwhile."""
    before, _opened.paths = getattr(_opened, "paths", None), []
    try:
        yield _opened.paths
    finally:
        _opened.paths = before


def open_regular(path: str | os.PathLike[str]) -> int:
    """A read-only descriptor of a regular file. Raises OSError, also for anything that is no regular file."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a path with a null byte
        raise OSError(errno.EINVAL, str(error)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file")
    paths = getattr(_opened, "paths", None)
    if paths is not None:
        paths.append(os.fsdecode(path))
    return handle


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """The first `limit` bytes of a regular file. Raises OSError as `open_regular` does."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(limit)
