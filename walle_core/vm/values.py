"""Values as bytes, in a compact form that is safe to read from a process that is not trusted.

Large tensors go beside them as memory files (`sharing`). They arrive as private, writable mappings. What `sharing.share` returns is
not even written: the same file goes to every run, and arrives read-only.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.errors import InputError
from walle_core.types import DTYPES
from walle_core.vm import sharing

INLINE = 1 << 15  # bytes; below, copying beats mapping
MAX_DEPTH = 200
MAX_FILES = 200  # per message; the kernel takes 253


class Writer:
    """Writes values into `parts`; the memory files that go with them into `files`, of which `made` are its own."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.files: list[int] = []
        self.made: list[int] = []

    def put(self, value: Any, depth: int = 0) -> None:
        """Adds a value. Raises InputError if it, or something in it, cannot be passed."""
        if depth > MAX_DEPTH:
            raise InputError(f"a value nested more than {MAX_DEPTH} deep, or in itself, cannot be passed")
        add = self.parts.append
        kind = type(value)
        if value is None or value is True or value is False:
            add(b"N" if value is None else b"T" if value else b"F")
        elif kind is int:
            if -(1 << 63) <= value < 1 << 63:
                add(b"i" + value.to_bytes(8, "little", signed=True))
            else:
                raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                add(b"I" + len(raw).to_bytes(4, "little") + raw)
        elif kind is float:
            add(b"f" + struct.pack("=d", value))
        elif kind is complex:
            add(b"c" + struct.pack("=2d", value.real, value.imag))
        elif kind is str or kind is bytes:
            raw = value.encode("utf-8", "surrogatepass") if kind is str else value
            add((b"s" if kind is str else b"b") + len(raw).to_bytes(4, "little"))
            add(raw)
        elif kind is list or kind is tuple:
            add((b"l" if kind is list else b"t") + len(value).to_bytes(4, "little"))
            for item in value:
                self.put(item, depth + 1)
        elif kind is dict:
            add(b"d" + len(value).to_bytes(4, "little"))
            for key, item in value.items():
                self.put(key, depth + 1)
                self.put(item, depth + 1)
        else:
            self.tensor(value)

    def tensor(self, value: Any) -> None:
        """Adds a tensor, or an array as one."""
        if not isinstance(value, Tensor):
            if not hasattr(value, "dtype"):
                raise InputError(
                    f"a {type(value).__name__} cannot be passed between tasks; pass None, bool, int, float, complex, "
                    "str, bytes, list, tuple, dict, Tensor or an array"
                )
            value = Tensor.wrap(value)
        shape = value.shape
        name = value.dtype.encode()
        fd, size = sharing.shared.get(value.address, (-1, -1))
        kind = b"r" if size == value.nbytes else b"m"
        if kind == b"m" and (value.nbytes < INLINE or len(self.files) >= MAX_FILES):
            kind = b"x"
        self.parts.append(
            kind + bytes([len(name), len(shape)]) + name + struct.pack(f"={len(shape)}q", *shape)
        )
        if kind == b"x":
            self.parts.append(value.tobytes())
            return
        if kind == b"m":
            fd = sharing.memory_file(value)
            self.made.append(fd)
        self.files.append(fd)


class Reader:
    """Reads values from bytes and files that are not trusted; InputError for anything damaged."""

    def __init__(self, data: bytes, files: list[int]) -> None:
        self.data, self.files, self.at = data, files, 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise InputError("a damaged message: it ends too early")
        found = self.data[self.at : end]
        self.at = end
        return found

    def count(self) -> int:
        """The next number of items or bytes."""
        return int.from_bytes(self.take(4), "little")

    def get(self, depth: int = 0) -> Any:
        """The next value."""
        if depth > MAX_DEPTH:
            raise InputError("a damaged message: nested too deeply")
        kind = self.take(1)
        found = _READ.get(kind)
        if found is None:
            raise InputError(f"a damaged message: no value begins with {kind!r}")
        return found(self, depth + 1)

    def mapping(self, depth: int) -> dict[Any, Any]:
        """The entries of a dict."""
        made = {}
        for _ in range(self.count()):
            key = self.get(depth)
            try:
                made[key] = self.get(depth)
            except TypeError as error:
                raise InputError(f"a damaged message: {error}") from error
        return made

    def text(self) -> str:
        """A string."""
        try:
            return self.take(self.count()).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise InputError(f"a damaged message: {error}") from error

    def tensor(self, kind: str) -> Tensor:
        """A tensor, inline (x), or in a memory file that is mapped privately (m) or read-only (r)."""
        name, rank = self.take(2)
        dtype = DTYPES.get(self.take(name).decode("ascii", "replace"))
        shape = struct.unpack(f"={rank}q", self.take(8 * rank))
        if min(shape, default=0) < 0 or dtype is None or not dtype.itemsize or rank > 12:
            raise InputError("a damaged message: a tensor of no possible shape")
        size = math.prod(shape) * dtype.itemsize
        if kind == "x":
            made = Tensor(shape, dtype.name, zero=False) if size <= len(self.data) - self.at else None
            if made is None:
                raise InputError("a damaged message: a tensor that ends too early")
            if size:
                memoryview(Tensor.wrap(made, "uint8", (size,)))[:] = self.take(size)
            return made
        if not self.files or not size:
            raise InputError("a damaged message: a tensor without its memory")
        return sharing.mapped(self.files.pop(0), size, dtype.name, shape, writable=kind == "m")


_READ: dict[bytes, Callable[[Reader, int], Any]] = {
    b"N": lambda r, d: None,
    b"T": lambda r, d: True,
    b"F": lambda r, d: False,
    b"i": lambda r, d: int.from_bytes(r.take(8), "little", signed=True),
    b"I": lambda r, d: int.from_bytes(r.take(r.count()), "little", signed=True),
    b"f": lambda r, d: struct.unpack("=d", r.take(8))[0],
    b"c": lambda r, d: complex(*struct.unpack("=2d", r.take(16))),
    b"s": lambda r, d: r.text(),
    b"b": lambda r, d: bytes(r.take(r.count())),
    b"l": lambda r, d: [r.get(d) for _ in range(r.count())],
    b"t": lambda r, d: tuple([r.get(d) for _ in range(r.count())]),
    b"d": lambda r, d: r.mapping(d),
    b"x": lambda r, d: r.tensor("x"),
    b"m": lambda r, d: r.tensor("m"),
    b"r": lambda r, d: r.tensor("r"),
}


def read(data: bytes, files: list[int]) -> Any:
    """The value of a message; takes over the files. Raises InputError for anything that is no whole message."""
    reader = Reader(data, list(files))
    try:
        value = reader.get()
        if reader.at != len(data) or reader.files:
            raise InputError("a damaged message: something follows it")
    finally:
        for fd in reader.files:
            os.close(fd)
    return value
