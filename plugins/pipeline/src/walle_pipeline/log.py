"""The event log: events of a device, packed, in the order in which they were accepted; it replays bit for bit.

File: `MAGIC`, then blocks. Block: `MARK`, length of the body and its CRC-32 as little-endian uint32, body. Body: MessagePack
of [names of kinds, names of pages, keys, rows (csrc/packed.hpp)], each block complete in itself.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self
from zlib import crc32

import attrs
import msgspec

from walle_pipeline._packing import Packer, unpack
from walle_pipeline.errors import EventError, LogError
from walle_pipeline.events import Event, Schema

MAGIC = b"walle events 1\n"
MARK = b"\xf5WLB"
HEAD = struct.Struct("<4sII")
MAX_BLOCK = 64 << 20  # bytes
_body = msgspec.msgpack.Decoder(tuple[list[str], list[str], list[str], bytes])


@attrs.frozen
class Damage:
    """Bytes of a log that are no events.

    Attributes:
        path: of the log.
        start, end: byte offsets.
        reason: why they are none.
    """

    path: str
    start: int
    end: int
    reason: str


class EventLog:
    """Appends events to a file. What `flush` has returned for survives a killed process; with `sync`, a power cut.

    Args:
        path: of the file; made if it is not there. A block torn by a crash at its end is cut off and counted.
        schema: the kinds of events.
        block: events per block: what a crash between flushes may lose.
        sync: also waits for the disk at every flush.

    Raises LogError if the file is no event log, or cannot be opened.
    """

    def __init__(
        self, path: str | Path, schema: Schema | None = None, block: int = 1000, sync: bool = False
    ) -> None:
        self.path, self.block, self.sync = Path(path), block, sync
        self.schema = Schema.BASIC if schema is None else schema
        self.packer = Packer(self.schema)
        self.torn = 0  # bytes cut off
        try:
            self._file = open(self.path, "r+b" if self.path.exists() else "w+b")  # noqa: SIM115
        except OSError as error:
            raise LogError(f"{self.path}: cannot be opened: {error.strerror}") from error
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise

    def _begin(self) -> None:
        start = self._file.read(len(MAGIC))
        if not start:
            self._file.write(MAGIC)
        elif start != MAGIC:
            raise LogError(f"{self.path}: no event log; it would begin with {MAGIC!r}")
        size = self._file.seek(0, os.SEEK_END)
        end = size
        for found in _blocks(self.path):
            if isinstance(found, Damage) and found.end == size:
                end = found.start
        if end < size:
            self.torn = size - end
            self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)

    def append(self, events: Iterable[Event]) -> None:
        """Adds events. Raises EventError for one that the schema does not have, LogError as `flush`."""
        for event in events:
            self.packer.add(event)
            if (
                len(self.packer) >= self.block or self.packer.nbytes >= MAX_BLOCK // 2
            ):  # longer ones are not read
                self.flush()

    def flush(self) -> None:
        """Writes what has been appended. Raises LogError (disk full, ...); then all of it is still held, and tried again."""
        if len(self.packer):
            names = list(self.schema.kinds), self.packer.page_names, self.packer.key_names
            self._write((*names, self.packer.rows_bytes))
            self.packer.clear()
        if self.sync:
            os.fsync(self._file.fileno())

    def note(self, text: str) -> None:
        """Flushes, and writes a block that has no events but `text` (see `Block.note`). Raises LogError as `flush`."""
        self.flush()
        self._write(([], [], [text], b""))
        self.flush()

    def _write(self, block: tuple[list[str], list[str], list[str], bytes]) -> None:
        body = msgspec.msgpack.encode(block)
        position = self._file.tell()
        try:
            self._file.write(HEAD.pack(MARK, len(body), crc32(body)) + body)
            self._file.flush()
        except OSError as error:
            self._undo(position)
            raise LogError(f"{self.path}: cannot be written: {error.strerror}; free some space") from error

    def _undo(self, position: int) -> None:
        """Forgets a block that was written in part, also what the file object still buffers of it."""
        with contextlib.suppress(OSError):
            self._file.close()  # may write what it buffers: before the file is cut
        os.truncate(self.path, position)
        self._file = open(self.path, "r+b")  # noqa: SIM115
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Flushes and closes."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@attrs.frozen
class Block:
    """Packed events of one block: `rows` as csrc/packed.hpp writes them, names by the rows' numbers."""

    kinds: list[str]
    pages: list[str]
    keys: list[str]
    rows: bytes

    @property
    def note(self) -> str | None:
        """What `EventLog.note` was given; None if this is a block of events."""
        return None if self.rows or self.kinds else self.keys[0]

    def events(self, schema: Schema) -> list[Event]:
        """Its events. Raises EventError for one that the schema does not have."""
        numbers = [schema.number_of(kind) for kind in self.kinds]
        found: list[Event] = unpack(schema, self.rows, numbers, self.pages, self.keys)
        return found


def read_blocks(path: str | Path) -> Iterator[Block | Damage]:
    """The blocks of a log, and what in it is none. Raises LogError if it is no event log or cannot be read."""
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise LogError(f"{path}: no event log; it would begin with {MAGIC!r}")
        yield from _blocks(path)
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error.strerror}") from error


def read(path: str | Path, schema: Schema | None = None) -> Iterator[Event | Damage]:
    """The events of a log, and what in it is none: damage costs its block only. Raises LogError as `read_blocks`."""
    schema = Schema.BASIC if schema is None else schema
    for found in read_blocks(path):
        if isinstance(found, Damage):
            yield found
            continue
        try:
            yield from found.events(schema)
        except EventError as error:
            yield Damage(str(path), 0, 0, str(error))


def _blocks(path: str | Path) -> Iterator[Block | Damage]:
    with open(path, "rb") as file:
        at = file.seek(len(MAGIC))
        size = os.fstat(file.fileno()).st_size
        while at < size:
            file.seek(at)
            head = file.read(HEAD.size)
            body, reason = b"", "ends within a block"
            if len(head) == HEAD.size:
                mark, length, check = HEAD.unpack(head)
                if mark != MARK or length > MAX_BLOCK:
                    reason = "no block begins here"
                else:
                    body = file.read(length)
                    if len(body) == length:
                        try:
                            if crc32(body) == check:
                                yield Block(*_body.decode(body))
                                at += HEAD.size + length
                                continue
                            reason = "checksum does not fit"
                        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                            reason = str(error)
            end = _next_mark(file, at + 1, size)
            yield Damage(str(path), at, end, reason)
            at = end


def _next_mark(file: object, at: int, size: int) -> int:
    step = 1 << 20
    while at < size:
        file.seek(at)  # type: ignore[attr-defined]
        data = file.read(step + len(MARK))  # type: ignore[attr-defined]
        found = data.find(MARK)
        if found >= 0:
            return at + int(found)
        at += step
    return size
