"""The files of a device: segments of its event log, and snapshots.

Folder: ``<position>.events``, segments of the log, named by how much was taken before they begin; ``<position>.snapshot``,
the pipeline's state there. Every snapshot begins a segment, so the segments not before its position are what follows it,
whatever is damaged in them. Snapshot: `MAGIC`, length of the state and its CRC-32 as little-endian uint32, state.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zlib import crc32

from walle_pipeline.errors import EventError, LogError
from walle_pipeline.events import MAX_EVENT, Event, Schema
from walle_pipeline.log import Damage, EventLog, read_blocks

try:
    import fcntl
except ImportError:  # Windows: nothing keeps a second process out
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

MAGIC = b"walle snapshot 1\n"
HEAD = struct.Struct("<II")
PIECE = 900  # events of a block at most: one of the largest events stays below log.MAX_BLOCK


class Segments:
    """A folder that one process uses at a time.

    Args:
        folder: made if it is not there.
        keep: snapshots kept before the newest, each with the log that follows it.

    Attributes:
        reports: what was damaged and how it was gone on without; also logged as warnings.

    Raises LogError if the folder cannot be used or another process uses it.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int) -> None:
        self.folder, self.keep = Path(folder), keep
        self.reports: list[str] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = open(self.folder / "lock", "ab")  # noqa: SIM115
        except OSError as error:
            raise LogError(f"{self.folder}: cannot be used: {error.strerror}") from error
        if fcntl is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._lock.close()
                raise LogError(f"{self.folder}: another process uses it; give each its own") from error
        for left in self.folder.glob("*.part"):
            with contextlib.suppress(OSError):
                left.unlink()

    def close(self) -> None:
        """Lets another process use the folder."""
        self._lock.close()

    def path(self, position: int, suffix: str) -> Path:
        """Of the ``events`` or ``snapshot`` that begins at `position`."""
        return self.folder / f"{position:020d}.{suffix}"

    def files(self, suffix: str) -> dict[int, Path]:
        """Files by position, ascending."""
        return {int(p.stem): p for p in sorted(self.folder.glob(f"*.{suffix}")) if p.stem.isdecimal()}

    def report(self, text: str) -> None:
        """Notes that something is gone on without."""
        self.reports.append(text)
        log.warning("%s", text)

    def set_aside(self, path: Path, error: LogError) -> None:
        """Gives a damaged file another name. Raises `error` if the file could not be read at all, as it may be sound."""
        if isinstance(error.__cause__, OSError):
            raise error
        number = 1
        while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        path.replace(target)
        self.report(f"{error}; kept as {target.name}, gone on without")

    def open(self, path: Path, schema: Schema, *, sync: bool) -> EventLog:
        """A segment to go on with. Raises LogError."""
        opened = EventLog(path, schema, block=PIECE + 1, sync=sync)
        if opened.torn:
            self.report(f"{path}: a torn end of {opened.torn} bytes was cut off")
        return opened

    def blocks(self, path: Path, schema: Schema) -> Iterator[list[Event] | str]:
        """What a segment has: events that were appended together, and notes. Raises LogError if it is none."""
        if not path.stat().st_size:  # begun, and killed before its first block
            return
        for found in read_blocks(path):
            if isinstance(found, Damage):
                self.report(f"{path}: bytes {found.start} to {found.end}: {found.reason}; gone on without")
            elif found.note is not None:
                yield found.note
            else:
                try:
                    events = found.events(schema)
                except EventError as error:
                    self.report(f"{path}: {error}; gone on without that block")
                else:
                    yield events

    def states(self) -> Iterator[tuple[int, Path, bytes]]:
        """(position, path, state) of the snapshots, newest first; damaged ones are set aside. Raises LogError."""
        for position, path in reversed(self.files("snapshot").items()):
            try:
                state = _read(path)
            except LogError as error:
                self.set_aside(path, error)
            else:
                yield position, path, state

    def write(self, position: int, state: bytes) -> None:
        """Makes a snapshot durable, or raises LogError and leaves none; then removes files that it makes superfluous."""
        part, path = self.path(position, "part"), self.path(position, "snapshot")
        try:
            with open(part, "wb") as file:
                file.write(MAGIC + HEAD.pack(len(state), crc32(state)) + state)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            with contextlib.suppress(PermissionError):  # Windows opens no folders
                descriptor = os.open(self.folder, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise LogError(f"{path}: cannot be written: {error.strerror}; free some space") from error
        snapshots = self.files("snapshot")
        if len(snapshots) > self.keep:
            oldest = list(snapshots)[-1 - self.keep]
            for at, file_path in (*snapshots.items(), *self.files("events").items()):
                if at < oldest:
                    with contextlib.suppress(OSError):
                        file_path.unlink()


def sized(schema: Schema, events: list[Event]) -> tuple[list[Event], list[tuple[Event, EventError]]]:
    """Those that a block can hold, and others with the reason: contents that cannot be packed or are too large."""
    good: list[Event] = []
    bad: list[tuple[Event, EventError]] = []
    for event in events:
        try:
            size = len(schema.rest(event))
        except Exception as error:
            bad.append((event, EventError(f"the event cannot be packed: {error}")))
            continue
        if size > MAX_EVENT:
            bad.append((event, EventError(f"an event of {size} bytes; at most {MAX_EVENT} are allowed")))
        else:
            good.append(event)
    return good, bad


def append(opened: EventLog, events: list[Event]) -> None:
    """Writes at most `PIECE` events as one block. What raises, EventError or LogError, leaves none of them."""
    try:
        opened.append(events)
        opened.flush()
    except BaseException:
        opened.packer.clear()
        raise


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error.strerror}") from error
    at = len(MAGIC) + HEAD.size
    if len(data) < at or not data.startswith(MAGIC):
        raise LogError(f"{path}: no snapshot")
    length, check = HEAD.unpack(data[len(MAGIC) : at])
    state = data[at:]
    if len(state) != length or crc32(state) != check:
        raise LogError(f"{path}: damaged snapshot")
    return state
