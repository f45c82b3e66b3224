"""Collective storage: the writes of many tasks are gathered and committed together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self

from walle_core.errors import InputError
from walle_pipeline.errors import StoreError
from walle_pipeline.store.contract import MAX_TIME, MAX_VALUE, ROW_OVERHEAD, Batch, Engine, Row, StoreStats
from walle_pipeline.store.rows import check_table, checked, first_part, remaining


class CollectiveStore:
    """Many small writes of many tasks, one transaction for all of them.

    A flush happens when `flush_count` rows wait, when the oldest of them has waited `flush_ms`, before every read, and
    on `flush` and `close`. What is not flushed yet is lost if the process dies. Reads see every earlier write.

    A write that raises has not been taken. When a flush fails, what waits stays in memory and the error is raised by
    the next write, flush or read, whichever comes first; further writes are taken until `buffer_bytes` wait, then they
    raise StoreError ("full"). A failed flush is tried again every `retry_ms`, and by every flush and read.

    Thread-safe. One daemon thread does the flushes by age. It starts with the first write and sleeps without a timeout
    while nothing waits.
    """

    def __init__(
        self,
        engine: Engine,
        flush_count: int = 200,
        flush_ms: float = 50,
        clock: Callable[[], float] = time.monotonic,
        *,
        buffer_bytes: int = 32 << 20,
        retry_ms: float = 500,
    ) -> None:
        """`clock` gives seconds, only differences count. Raises InputError for a count, time or size below its least."""
        if flush_count < 1 or flush_ms < 0 or buffer_bytes < 2 * MAX_VALUE or retry_ms < 0:
            raise InputError(
                f"flush_count {flush_count}, flush_ms {flush_ms}, retry_ms {retry_ms}, buffer_bytes {buffer_bytes}: "
                f"must be at least 1, 0, 0, {2 * MAX_VALUE}"
            )
        self.engine = engine
        self._flush_count, self._flush_s, self._retry_s = flush_count, flush_ms / 1e3, retry_ms / 1e3
        self._buffer_bytes = buffer_bytes
        self._clock = clock
        self._commit = threading.RLock()  # held while the engine works; always taken before _changed
        self._changed = threading.Condition(threading.Lock())  # guards all below
        self._buffer: list[Batch] = []
        self._rows = self._bytes = 0  # that wait, those in a running flush included
        self._due = 0.0  # when the age flush has to happen; only while rows wait
        self._failure: StoreError | None = None  # of the last flush
        self._untold = False  # nobody has been told of _failure
        self._open = False
        self._taking = False  # writes; ends before the last flush
        self._thread: threading.Thread | None = None
        self._writes = self._total_rows = self._total_bytes = 0
        self._flushes = self._failed = self._rejected = 0

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Opens the engine; nothing if it is open. Raises StoreError."""
        with self._commit:
            if not self._open:
                self.engine.open()
                with self._changed:
                    self._open = self._taking = True
                    self._failure, self._untold = None, False

    def close(self) -> None:
        """Flushes, ends the thread and closes. Raises StoreError if the flush failed; it is closed all the same."""
        with self._commit:
            if not self._open:
                return
            with self._changed:
                self._taking = False
            try:
                self._flush_now()
            finally:
                with self._changed:
                    self._open = False
                    self._buffer, self._rows, self._bytes = [], 0, 0
                    self._changed.notify_all()
                    thread, self._thread = self._thread, None
                self.engine.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def put(self, table: str, key: bytes | str, value: bytes, time_ms: int) -> None:
        """Writes one row; the last write of a key wins. Text keys are stored as UTF-8; `time_ms` is ms, not negative.

        Raises InputError for a wrong type or size, StoreError when an earlier flush failed or the buffer is full.
        """
        self._take(table, [(key, value, time_ms)])

    def put_many(self, table: str, rows: Iterable[tuple[bytes | str, bytes, int]]) -> None:
        """Writes many rows of one table, (key, value, time in ms): all or none. Raises as `put`."""
        self._take(table, list(rows))

    def delete(self, table: str, key: bytes | str) -> None:
        """Removes a key, if it is there. Raises as `put`."""
        self._take(table, [(key, b"", 0)], delete=True)

    def get(self, table: str, key: bytes | str) -> bytes | None:
        """The value of a key, None if there is none. Raises StoreError, also if what waits cannot be flushed."""
        ((named, _, _),), _ = checked(table, [(key, b"", 0)])
        with self._commit:
            self._flush_now()
            found = self.engine.get(table, named)
        return None if found is None else found[0]

    def scan(self, table: str, start: int = 0, stop: int = MAX_TIME) -> Iterator[Row]:
        """(key, value, time in ms) with ``start <= time < stop``, ordered by (time, key).

        Sees all that was written before the first row is asked for; what is written meanwhile may or may not appear.
        Raises StoreError, also if what waits cannot be flushed; InputError for a wrong type.
        """
        check_table(table)
        if type(start) is not int or type(stop) is not int:
            raise InputError(f"table {table!r}: a scan needs whole milliseconds, not {start!r} to {stop!r}")
        start, stop = min(max(start, 0), MAX_TIME), min(max(stop, 0), MAX_TIME)
        after: tuple[int, bytes] | None = None
        with self._commit:
            self._flush_now()
        while True:
            with self._commit:
                self._require(self._open)
                page = self.engine.page(table, after, start, stop)
            if not page:
                return
            yield from page
            after = page[-1][2], page[-1][0]

    def flush(self) -> None:
        """Returns when all that was written before is committed. Raises StoreError; what waits is kept then."""
        with self._commit:
            self._flush_now()

    @property
    def stats(self) -> StoreStats:
        """Counters until now."""
        with self._changed:
            of = self.engine.stats
            return StoreStats(
                writes=self._writes,
                rows=self._total_rows,
                bytes=self._total_bytes,
                flushes=self._flushes,
                failed=self._failed,
                rejected=self._rejected,
                pending=self._rows,
                evicted=of.evicted,
                damaged=of.damaged,
                salvaged=of.salvaged,
            )

    def _take(self, table: str, given: list[tuple[bytes | str, bytes, int]], *, delete: bool = False) -> None:
        try:
            rows, charge = checked(table, given)
            if charge > self._buffer_bytes:
                raise InputError(
                    f"{charge} bytes in one call; at most {self._buffer_bytes}: use several calls"
                )
            if not rows:
                return
            if self._bytes + charge > self._buffer_bytes:
                self._make_room(charge)
            with self._changed:
                self._require(self._taking)
                last = self._failure
                if self._untold and last is not None:
                    self._untold = False
                    raise StoreError(f"an earlier write is not stored yet: {last}") from last
                if self._bytes + charge > self._buffer_bytes:
                    raise StoreError(f"full: {self._bytes} bytes wait to be stored; last error: {last}")
                full = self._append(Batch(table, rows, delete, charge), charge)
                self._writes += 1
                if not delete:
                    self._total_rows += len(rows)
                    self._total_bytes += charge - ROW_OVERHEAD * len(rows)
        except (InputError, StoreError):
            with self._changed:
                self._rejected += 1
            raise
        if full:
            self._flush_quietly()

    def _append(self, batch: Batch, charge: int) -> bool:
        """Adds to the buffer; True if it has to be flushed now."""
        first = self._rows == 0
        last = self._buffer[-1] if self._buffer else None
        if last is not None and last.table == batch.table and last.delete == batch.delete:
            last.rows += batch.rows
            last.size += batch.size
        else:
            self._buffer.append(batch)
        self._rows += len(batch.rows)
        self._bytes += charge
        full = self._rows >= self._flush_count and (self._failure is None or self._clock() >= self._due)
        if first:
            self._due = self._clock() + self._flush_s
            if not full:
                self._watch()
        return full

    def _watch(self) -> None:
        """Has the thread look at what waits; the caller holds `_changed`."""
        if self._rows and self._thread is None:
            thread = threading.Thread(target=self._run, name="walle-store-flush", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads, as at exit: `close` flushes
                thread.start()
                self._thread = thread
        self._changed.notify_all()

    def _make_room(self, charge: int) -> None:
        """Flushes so that `charge` bytes fit. Raises StoreError ("full") if that fails."""
        try:
            self.flush()
        except StoreError as error:
            if self._bytes + charge > self._buffer_bytes:
                raise StoreError(f"full: {self._bytes} bytes wait to be stored: {error}") from error

    def _flush(self) -> None:
        """Commits all that waits; the caller holds `_commit`. Raises StoreError and keeps what is not committed."""
        self._require(self._open)
        todo: list[Batch] = []
        try:
            with self._changed:
                todo, self._buffer = self._buffer, []
            while todo:
                part = first_part(todo, self.engine.max_bytes // 8)
                self.engine.apply(part)
                rest = remaining(todo, part)
                with self._changed:
                    self._rows -= sum([len(batch.rows) for batch in part])
                    self._bytes -= sum([batch.size for batch in part])
                    self._flushes += 1
                todo = rest
        except BaseException as error:
            known = error if isinstance(error, StoreError) else StoreError(f"{type(error).__name__}: {error}")
            with self._changed:
                self._buffer = todo + self._buffer
                self._untold = self._untold or self._failure is None
                self._failure = known
                self._failed += 1
                self._due = self._clock() + self._retry_s
                self._watch()
            if known is error or not isinstance(error, Exception):
                raise
            raise known from error
        with self._changed:
            self._failure, self._untold = None, False
            if self._rows:  # came meanwhile
                self._due = self._clock() + self._flush_s
                self._watch()

    def _flush_now(self) -> None:
        """A flush whose caller is told of an error; the caller holds `_commit`."""
        try:
            self._flush()
        except BaseException:
            self._untold = False
            raise

    def _flush_quietly(self) -> None:
        """A flush that no caller asked for: its error waits for the next `put` or `flush`."""
        with self._commit:
            if self._open:
                with contextlib.suppress(StoreError):
                    self._flush()

    def _run(self) -> None:
        """Flushes by age until the store is closed."""
        me = threading.current_thread()
        while True:
            with self._changed:
                while True:
                    if not self._open or self._thread is not me:
                        return
                    wait = self._due - self._clock() if self._rows else None
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
            self._flush_quietly()

    @staticmethod
    def _require(state: bool) -> None:
        if not state:
            raise StoreError("the store is closed")
