"""Values between processes: a compact form that is safe to read from a process that is not trusted, and frames on a socket.

Large tensors travel as sealed memory files: written once, then immutable, so that neither side can change or cut what the other
maps. They arrive as private, writable mappings. What `share` returns is not even written: the same file goes to every run, and
arrives read-only.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import socket
import struct
import weakref
from collections.abc import Callable
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.errors import InputError
from walle_core.types import DTYPES

SETUP, LOAD, CALL, FORGET = 1, 2, 3, 4  # kinds of frames to a worker
ANSWER, DIED = 1, 2  # and from it, or about it
INLINE = 1 << 15  # bytes; below, copying beats mapping
MAX_DEPTH = 200
MAX_FRAME = 1 << 28  # bytes
MAX_FILES = 200  # per message; the kernel takes 253
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_HEAD = struct.Struct("=IHH")  # size, kind, files

_shared: dict[int, tuple[int, int]] = {}  # address of a read-only mapping -> its file, its size


def share(tensor: Tensor) -> Tensor:
    """A read-only copy in memory that processes share: passing it to runs copies nothing, however often.

    Raises:
        MemoryError, OSError: the memory is not there.
    """
    return _mapped(_file(tensor), tensor.nbytes, tensor.dtype, tensor.shape, writable=False)


def _file(tensor: Tensor) -> int:
    fd = os.memfd_create("walle-tensor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(Tensor.wrap(tensor, "uint8", (tensor.nbytes,)))
        while view:
            view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _mapped(fd: int, size: int, dtype: str, shape: tuple[int, ...], *, writable: bool) -> Tensor:
    """Takes over `fd`."""
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
        _shared[made.address] = (fd, size)
        weakref.finalize(area, _forget, made.address)
    return made


def _forget(address: int) -> None:
    os.close(_shared.pop(address)[0])


class _Writer:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.files: list[int] = []
        self.made: list[int] = []

    def put(self, value: Any, depth: int = 0) -> None:
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
        if not isinstance(value, Tensor):
            if not hasattr(value, "dtype"):
                raise InputError(
                    f"a {type(value).__name__} cannot be passed between tasks; pass None, bool, int, float, complex, "
                    "str, bytes, list, tuple, dict, Tensor or an array"
                )
            value = Tensor.wrap(value)
        shape = value.shape
        name = value.dtype.encode()
        fd, size = _shared.get(value.address, (-1, -1))
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
            fd = _file(value)
            self.made.append(fd)
        self.files.append(fd)


class Message:
    """A value made ready to be sent: bytes, and files that go with them. Close it when it has been sent.

    Raises:
        InputError: the value, or something in it, cannot be passed.
    """

    def __init__(self, value: Any) -> None:
        writer = _Writer()
        try:
            writer.put(value)
        except BaseException:
            for fd in writer.made:
                os.close(fd)
            raise
        self.data, self.files, self._made = b"".join(writer.parts), writer.files, writer.made
        if len(self.data) > MAX_FRAME or len(self.files) > MAX_FILES:
            self.close()
            raise InputError(
                f"a value of {len(self.data)} bytes and {len(self.files)} shared tensors; at most {MAX_FRAME} and {MAX_FILES} "
                "can be passed at once; pass large data as tensors"
            )

    def close(self) -> None:
        """Closes the files that were made for it."""
        for fd in self._made:
            os.close(fd)
        self._made = []


class _Reader:
    def __init__(self, data: bytes, files: list[int]) -> None:
        self.data, self.files, self.at = data, files, 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise InputError("a damaged message: it ends too early")
        found = self.data[self.at : end]
        self.at = end
        return found

    def count(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def get(self, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise InputError("a damaged message: nested too deeply")
        kind = self.take(1)
        found = _READ.get(kind)
        if found is None:
            raise InputError(f"a damaged message: no value begins with {kind!r}")
        return found(self, depth + 1)

    def mapping(self, depth: int) -> dict[Any, Any]:
        made = {}
        for _ in range(self.count()):
            key = self.get(depth)
            try:
                made[key] = self.get(depth)
            except TypeError as error:
                raise InputError(f"a damaged message: {error}") from error
        return made

    def text(self) -> str:
        try:
            return self.take(self.count()).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise InputError(f"a damaged message: {error}") from error

    def tensor(self, kind: str) -> Tensor:
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
        return _mapped(self.files.pop(0), size, dtype.name, shape, writable=kind == "m")


_READ: dict[bytes, Callable[[_Reader, int], Any]] = {
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
    reader = _Reader(data, list(files))
    try:
        value = reader.get()
        if reader.at != len(data) or reader.files:
            raise InputError("a damaged message: something follows it")
    finally:
        for fd in reader.files:
            os.close(fd)
    return value


def send(sock: socket.socket, kind: int, value: Any) -> None:
    """Sends one frame. Raises InputError for a value that cannot be passed, OSError when the other side is gone."""
    message = Message(value)
    try:
        send_message(sock, kind, message)
    finally:
        message.close()


def send_message(sock: socket.socket, kind: int, message: Message) -> None:
    """As `send`, for what has been made ready."""
    data = _HEAD.pack(len(message.data), kind, len(message.files)) + message.data
    sent = socket.send_fds(sock, [data], message.files) if message.files else sock.send(data)
    if sent < len(data):
        sock.sendall(memoryview(data)[sent:])


def receive(sock: socket.socket) -> tuple[int, Any]:
    """Waits for one frame; its kind and value.

    Raises:
        EOFError: the other side is gone.
        InputError: what came is no frame.
    """
    head, files, _, _ = socket.recv_fds(sock, _HEAD.size, MAX_FILES)
    try:
        head += _exactly(sock, _HEAD.size - len(head)) if head else b""
        if not head:
            raise EOFError("the other side is gone")
        size, kind, count = _HEAD.unpack(head)
        if size > MAX_FRAME or count != len(files):
            raise InputError("a damaged message: its head is wrong")
        data = _exactly(sock, size)
    except BaseException:
        for fd in files:
            os.close(fd)
        raise
    return kind, read(data, files)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size) if size else b""
    if len(data) == size:
        return data
    whole = bytearray(data)
    while len(whole) < size:
        more = sock.recv(min(size - len(whole), 1 << 20))
        if not more:
            raise EOFError("the other side ended amid a message")
        whole += more
    return bytes(whole)
