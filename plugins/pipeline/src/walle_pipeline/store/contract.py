"""What collective storage offers, and what an engine under it must do.

A *store* gathers the small writes of many tasks in memory and hands them to an *engine* as one transaction. All the
rules that every engine shares (sizes, keys, order, backpressure) are enforced by `CollectiveStore`, so that an engine
only has to apply batches atomically, read, and keep its disk use within a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import attrs

MAX_VALUE = 1 << 20  # bytes of one value
MAX_KEY = 480  # bytes of one key; LMDB allows 511 for a key and the 12 bytes in front of it
MAX_TIME = (1 << 63) - 1  # milliseconds
MIN_BYTES = 16 << 20  # least `max_bytes` of an engine: some transactions of the largest value have to fit
ROW_OVERHEAD = 64  # bytes charged for a row besides key and value

Row = tuple[bytes, bytes, int]  # key, value, time in ms


def charged(rows: Sequence[Row]) -> int:
    """Bytes that `rows` count for: keys, values and `ROW_OVERHEAD` each."""
    return sum([len(key) + len(value) for key, value, _ in rows]) + ROW_OVERHEAD * len(rows)


@attrs.define(slots=True)
class Batch:
    """Writes to one table, in order.

    Attributes:
        table: its name.
        rows: what is put; for a `delete` the key with an empty value and time 0.
        delete: whether the keys of the rows are removed instead.
        size: bytes that the rows are charged with.
    """

    table: str
    rows: list[Row]
    delete: bool = False
    size: int = attrs.field(default=attrs.Factory(lambda self: charged(self.rows), takes_self=True))


@attrs.define(slots=True)
class EngineStats:
    """Counters of an engine since it was made.

    Attributes:
        evicted: rows removed to stay within `max_bytes`.
        damaged: files that were set aside.
        salvaged: rows that were copied out of them.
    """

    evicted: int = 0
    damaged: int = 0
    salvaged: int = 0


@attrs.frozen
class StoreStats:
    """Counters of a store since it was opened.

    Attributes:
        writes: calls of `put`, `put_many` and `delete` that were taken.
        rows: rows put.
        bytes: of their keys and values.
        flushes: transactions that the engine committed.
        failed: flushes that raised.
        rejected: calls that raised and changed nothing.
        pending: rows that wait in memory.
        evicted, damaged, salvaged: of the engine, see `EngineStats`.
    """

    writes: int
    rows: int
    bytes: int
    flushes: int
    failed: int
    rejected: int
    pending: int
    evicted: int
    damaged: int
    salvaged: int


@runtime_checkable
class Engine(Protocol):
    """Durable ordered tables. Only one thread at a time calls an engine; which one changes from call to call.

    Eviction, when a write would not fit into `max_bytes`: first rows that are older than the `keep_ms` of their table,
    then the oldest by time of the whole store, until what stays is below 90 % of the bound.

    Attributes:
        name: under which plugins register it: ``sqlite``, ``lmdb``.
        max_bytes: bound of the disk use, at least `MIN_BYTES`.
        stats: counters.
    """

    name: str
    max_bytes: int
    stats: EngineStats

    def open(self) -> None:
        """Opens or creates the files. Raises StoreError with what to do."""

    def close(self) -> None:
        """Closes the files; never raises."""

    def apply(self, batches: Sequence[Batch]) -> None:
        """Applies all of `batches` in order, or nothing. Raises StoreError."""

    def get(self, table: str, key: bytes) -> tuple[bytes, int] | None:
        """Value and time (ms) of `key`. Raises StoreError."""

    def page(self, table: str, after: tuple[int, bytes] | None, start: int, stop: int) -> list[Row]:
        """Some rows with ``start <= time < stop`` beyond `after`, ordered by (time, key); empty: there are none.

        How many is up to the engine, about 1 MiB. Raises StoreError.
        """

    def used_bytes(self) -> int:
        """Bytes in use on disk, without what is free for reuse."""


@runtime_checkable
class Store(Protocol):
    """Tables of (key, value, time), written by many tasks. Thread-safe."""

    def open(self) -> None:
        """Opens the engine. Raises StoreError."""

    def close(self) -> None:
        """Flushes and closes. Raises StoreError if the flush failed; it is closed all the same."""

    def put(self, table: str, key: bytes | str, value: bytes, time_ms: int) -> None:
        """Writes one row; the last write of a key wins. Raises InputError, StoreError."""

    def put_many(self, table: str, rows: Iterable[tuple[bytes | str, bytes, int]]) -> None:
        """Writes many rows of one table: all or none. Raises InputError, StoreError."""

    def get(self, table: str, key: bytes | str) -> bytes | None:
        """The value of a key, None if there is none. Raises StoreError."""

    def scan(self, table: str, start: int = 0, stop: int = MAX_TIME) -> Iterator[Row]:
        """Rows with ``start <= time < stop`` (ms), ordered by (time, key). Raises StoreError."""

    def delete(self, table: str, key: bytes | str) -> None:
        """Removes a key, if it is there. Raises StoreError."""

    def flush(self) -> None:
        """Returns when all that was written before is durable. Raises StoreError."""
