"""What engines that keep their tables in files have in common: the bound of the disk use, eviction, damaged files."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from walle_core.errors import InputError
from walle_pipeline.errors import StoreError
from walle_pipeline.store.contract import MAX_TIME, MIN_BYTES, Batch, EngineStats, Row

T = TypeVar("T")

PAGE_READ = 1 << 20  # bytes of rows that one `page` returns, at least one row
TRIES = 6  # of a write that finds no room
_log = logging.getLogger(__name__)


class Damaged(Exception):
    """The content of a file is not what the engine wrote."""


class FileEngine(ABC):
    """Does what `contract.Engine` asks for, by way of the private methods of a kind of file.

    Those may raise what their library raises: `_meaning` tells what it means. Before any of them but `_load`, `_meaning`
    and `_set_aside` is called, the file is open. Tables have numbers in files; `_tables` knows them while one is open.
    """

    name: str
    _chunk: ClassVar[tuple[int, int]]  # bytes, rows that one transaction of an eviction removes

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int,
        keep_ms: Mapping[str, int] | None,
        now_ms: Callable[[], int],
        salvage_s: float,
    ) -> None:
        """Touches no file. Raises InputError if `max_bytes` is less than `MIN_BYTES`."""
        if max_bytes < MIN_BYTES:
            raise InputError(f"max_bytes is {max_bytes}; at least {MIN_BYTES} is needed")
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.stats = EngineStats()
        self._budget = max_bytes  # bytes that rows may use
        self._keep_ms = dict(keep_ms or {})
        self._now_ms = now_ms
        self._salvage_s = salvage_s
        self._tables: dict[str, int] = {}

    def open(self) -> None:
        """See `contract.Engine`."""
        self._guarded(lambda: None)

    @abstractmethod
    def close(self) -> None:
        """See `contract.Engine`."""

    def apply(self, batches: Sequence[Batch]) -> None:
        """See `contract.Engine`."""
        self._guarded(lambda: self._put(batches))

    def get(self, table: str, key: bytes) -> tuple[bytes, int] | None:
        """See `contract.Engine`."""

        def read() -> tuple[bytes, int] | None:
            number = self._tables.get(table)
            return None if number is None else self._find(number, key)

        return self._guarded(read)

    def page(self, table: str, after: tuple[int, bytes] | None, start: int, stop: int) -> list[Row]:
        """See `contract.Engine`."""

        def read() -> list[Row]:
            number = self._tables.get(table)
            found: list[Row] = []
            if number is not None:
                size = 0
                with contextlib.closing(self._ordered(number, after, start, stop)) as rows:
                    for row in rows:
                        found.append(row)
                        size += len(row[1]) + 64
                        if size >= PAGE_READ:
                            break
            return found

        return self._guarded(read)

    def used_bytes(self) -> int:
        """See `contract.Engine`."""
        return self._guarded(self._used)

    @abstractmethod
    def _load(self) -> None:
        """Opens or creates the file and sets `_tables`; nothing if it is open. When it raises, nothing is open."""

    @abstractmethod
    def _used(self) -> int:
        """`used_bytes`."""

    @abstractmethod
    def _write(self, batches: Sequence[Batch]) -> None:
        """Applies all in one transaction, or nothing; afterwards `_tables` has the new ones."""

    @abstractmethod
    def _find(self, number: int, key: bytes) -> tuple[bytes, int] | None:
        """Value and time of a key of a table."""

    @abstractmethod
    def _ordered(
        self, number: int, after: tuple[int, bytes] | None, start: int, stop: int
    ) -> Generator[Row, None, None]:
        """Rows of a table as `page`, all of them. It is closed before anything is written."""

    @abstractmethod
    def _remove(self, bounds: Mapping[int, tuple[int, bytes]]) -> int:
        """Removes in one transaction the rows of tables up to a (time, key), that included; returns how many."""

    @abstractmethod
    def _crowded(self, error: Exception, need: int) -> bool:
        """Whether `_write` raised `error` because the bound was met, so that an eviction helps."""

    @abstractmethod
    def _meaning(self, error: Exception) -> Damaged | StoreError | None:
        """What a caller has to be told; None: the error is none of the library's. Gets the file out of a failed state."""

    @abstractmethod
    def _set_aside(self) -> Path:
        """Renames the closed file to its `unused_name`. Raises OSError."""

    @abstractmethod
    def _salvage(self, aside: Path) -> Generator[tuple[str, list[Row]], None, None]:
        """What can be read of a damaged file within `_salvage_s`, some rows at a time. Raises nothing."""

    def _put(self, batches: Sequence[Batch]) -> None:
        """Makes room and writes."""
        need = sum([batch.size for batch in batches]) * 5 // 4 + (128 << 10)
        used = self._used()
        if used + need > self._budget:
            self._evict(used + need - self._budget * 9 // 10)
        for left in reversed(range(TRIES)):
            try:
                return self._write(batches)
            except Exception as error:
                if not left or not self._crowded(error, need):
                    raise
            self._evict(max(need, self.max_bytes // 16))
        raise AssertionError

    def _evict(self, goal: int) -> None:
        """Removes rows until `goal` bytes of pages are free, or none is left; see `contract.Engine` for the order."""
        first = self._used()
        while (missing := goal - (first - self._used())) > 0:
            bounds = self._victims(min(missing, self._chunk[0]))
            if not bounds:
                return
            self.stats.evicted += self._remove(bounds)

    def _victims(self, goal: int) -> dict[int, tuple[int, bytes]]:
        """Up to which (time, key) the rows of tables have to go so that about `goal` bytes are free."""
        now = self._now_ms()
        limits = {
            number: min(max(0, now - self._keep_ms.get(name, now)), MAX_TIME)
            for name, number in self._tables.items()
        }
        expired = [self._candidates(number, 0, limit) for number, limit in limits.items()]
        fresh = [self._candidates(number, limit, MAX_TIME) for number, limit in limits.items()]
        bounds: dict[int, tuple[int, bytes]] = {}
        size = 0
        merged = itertools.chain(heapq.merge(*expired), heapq.merge(*fresh))
        for moment, key, number, length in itertools.islice(merged, self._chunk[1]):
            bounds[number] = moment, key
            size += length + len(key) * 2 + 32
            if size >= goal:
                break
        for candidates in expired + fresh:
            candidates.close()
        return bounds

    def _candidates(
        self, number: int, start: int, stop: int
    ) -> Generator[tuple[int, bytes, int, int], None, None]:
        """(time, key, number of the table, bytes of the value) in the order of time."""
        with contextlib.closing(self._ordered(number, None, start, stop)) as rows:
            for key, value, moment in rows:
                yield moment, key, number, len(value)

    def _guarded(self, work: Callable[[], T]) -> T:
        """Opens and does `work`; replaces a damaged file once. Raises StoreError for all that the library raises."""
        for again in (True, False):
            try:
                self._load()
                return work()
            except Exception as error:
                known = self._known(error)
                if isinstance(known, StoreError):
                    raise known from error
                self.close()
                if not again:
                    raise StoreError(f"{self.path}: damaged again, is the disk failing? ({known})") from error
                self._replace(str(known))
        raise AssertionError

    def _known(self, error: Exception) -> Damaged | StoreError:
        """`_meaning`, or raises `error` if it has none."""
        known = error if isinstance(error, (Damaged, StoreError)) else self._meaning(error)
        if known is None:
            raise error
        return known

    def _replace(self, reason: str) -> None:
        """Sets the damaged file aside and copies what can be read into a new one."""
        try:
            aside = self._set_aside()
        except OSError as error:
            raise StoreError(f"{self.path}: damaged ({reason}), and cannot be renamed: {error}") from error
        self.stats.damaged += 1
        copied, trouble = 0, ""
        try:
            with contextlib.closing(self._salvage(aside)) as found:
                for table, rows in found:
                    self._load()
                    self._put([Batch(table, rows)])
                    copied += len(rows)
        except Exception as error:
            trouble = f"; the others are in that file only: {self._known(error)}"
        self.stats.salvaged += copied
        _log.warning(
            "%s: damaged (%s); kept as %s, %d rows copied%s", self.path, reason, aside.name, copied, trouble
        )


def unused_name(file: Path) -> Path:
    """Where a damaged file is kept."""
    names = (Path(f"{file}.damaged-{n}") for n in itertools.count(1))
    return next(name for name in names if not name.exists())


def wall_clock_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
