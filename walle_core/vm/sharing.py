"""Memory that processes share: sealed memory files, written once, then immutable, so that neither side can change or cut what
the other maps.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections.abc import Iterable

from walle_core._native.tensor import Tensor
from walle_core.errors import InputError

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE

shared: dict[int, tuple[int, int]] = {}  # address of a read-only mapping -> its file, its size


def share(tensor: Tensor) -> Tensor:
    """A read-only copy in memory that processes share: passing it to runs copies nothing, however often.

    Raises:
        MemoryError, OSError: the memory is not there.
    """
    return mapped(memory_file(tensor), tensor.nbytes, tensor.dtype, tensor.shape, writable=False)


def memory_file(tensor: Tensor) -> int:
    """A sealed memory file with the bytes of a tensor. Raises OSError."""
    return sealed([memoryview(Tensor.wrap(tensor, "uint8", (tensor.nbytes,)))], "walle-tensor")


def sealed(pieces: Iterable[bytes | memoryview], name: str) -> int:
    """A sealed memory file of these bytes; /proc shows its name. Raises OSError."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def mapped(fd: int, size: int, dtype: str, shape: tuple[int, ...], *, writable: bool) -> Tensor:
    """A tensor over a sealed memory file, which it takes over. Raises InputError if the file is another."""
    try:
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS or os.fstat(fd).st_size != size:
            raise InputError("a tensor's memory is not sealed, or of another size than it says")
        area = mmap.mmap(fd, size, access=mmap.ACCESS_COPY if writable else mmap.ACCESS_READ)
        made = Tensor.wrap(area, dtype, shape)
    except BaseException:
        os.close(fd)
        raise
    if writable:
        os.close(fd)
    else:
        shared[made.address] = (fd, size)
        weakref.finalize(area, _forget, made.address)
    return made


def _forget(address: int) -> None:
    os.close(shared.pop(address)[0])
