"""Frames on the socket between a host and a worker process: a kind, and a value of `values`."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from walle_core.errors import InputError
from walle_core.vm.values import MAX_FILES, Writer, read

SETUP, LOAD, CALL, FORGET, MODEL = 1, 2, 3, 4, 5  # kinds of frames to a worker
ANSWER, DIED, ASK = 1, 2, 3  # and from it, or about it
MAX_FRAME = 1 << 28  # bytes
_HEAD = struct.Struct("=IHH")  # size, kind, files


class Message:
    """A value made ready to be sent: bytes, and files that go with them. Close it when it has been sent.

    Raises:
        InputError: the value, or something in it, cannot be passed.
    """

    def __init__(self, value: Any) -> None:
        writer = Writer()
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
