"""LMDB under the collective store; needs the extra `lmdb`."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from walle_core.errors import InputError
from walle_pipeline.errors import StoreError
from walle_pipeline.store.contract import MIN_BYTES, Batch, EngineStats, Row

if TYPE_CHECKING:
    import lmdb

T = TypeVar("T")

VERSION = b"1"
PAGE_READ = 1 << 20  # bytes of rows that one `page` returns, at least one row
CHUNK = 1 << 20  # bytes that one transaction of an eviction removes
ROWS = 1000  # that one transaction of an eviction removes, because each may change a page of its own
TRIES = 6  # of a write for which LMDB finds no run of free pages
_log = logging.getLogger(__name__)


class LmdbEngine:
    """Keeps the tables in the folder `path`; see `contract.Engine`.

    Durability: a committed transaction survives the death of the process (kill -9) at any point. After a power loss
    the file is intact with `sync` (the default), but the last transaction may be gone; without `sync` commits do not
    wait for the disk, and a power loss may lose or damage all of it.

    Disk use: the file never exceeds `max_bytes`. Rows use at most half of it, because LMDB writes changed pages
    to free ones and frees the old only two transactions later. `keep_ms` and `now_ms` as in `SqliteEngine`.

    A file that LMDB refuses, or that is shorter than it says, is renamed to ``data.mdb.damaged-<n>``; what can be read
    from it within `salvage_s` seconds is copied by another process, because reading damaged pages may kill the one
    that does it. For the same reason damage inside of pages may go unnoticed or kill the process: LMDB has no checksums.
    """

    name = "lmdb"

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int = 256 << 20,
        keep_ms: Mapping[str, int] | None = None,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sync: bool = True,
        salvage_s: float = 10.0,
    ) -> None:
        """Touches no file. Raises InputError if `max_bytes` is less than `MIN_BYTES`."""
        if max_bytes < MIN_BYTES:
            raise InputError(f"max_bytes is {max_bytes}; at least {MIN_BYTES} is needed")
        self.path = Path(path)
        self.max_bytes = max_bytes
        self.stats = EngineStats()
        self._keep_ms = dict(keep_ms or {})
        self._now_ms = now_ms
        self._sync, self._salvage_s = sync, salvage_s
        self._env: lmdb.Environment | None = None
        self._rows: Any = None  # table, time, key -> value
        self._keys: Any = None  # table, key -> time
        self._tables: dict[str, bytes] = {}  # name -> 4 bytes

    def open(self) -> None:
        """See `contract.Engine`."""
        try:
            import lmdb  # noqa: F401
        except ImportError as error:
            raise StoreError("LMDB is not installed: pip install 'walle-pipeline[lmdb]'") from error
        self._guarded(lambda: self._environment() and None)

    def close(self) -> None:
        """See `contract.Engine`."""
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def apply(self, batches: Sequence[Batch]) -> None:
        """See `contract.Engine`."""
        import lmdb

        need = sum([batch.size for batch in batches]) * 5 // 4 + (64 << 10)
        budget = self.max_bytes // 2

        def work() -> None:
            used = self.used_bytes()
            if used + need > budget:
                self._evict(used + need - budget * 9 // 10)
            for left in reversed(range(TRIES)):
                try:
                    self._apply(batches)
                except lmdb.MapFullError:
                    if not left:
                        raise
                    self._evict(max(need, self.max_bytes // 16))
                else:
                    return

        self._guarded(work)

    def get(self, table: str, key: bytes) -> tuple[bytes, int] | None:
        """See `contract.Engine`."""

        def read() -> tuple[bytes, int] | None:
            env = self._environment()
            tag = self._tables.get(table)
            if tag is None:
                return None
            with env.begin() as txn:
                moment = txn.get(tag + key, db=self._keys)
                if moment is None:
                    return None
                value = txn.get(tag + moment + key, db=self._rows)
                return (value or b""), int.from_bytes(moment)

        return self._guarded(read)

    def page(self, table: str, after: tuple[int, bytes] | None, start: int, stop: int) -> list[Row]:
        """See `contract.Engine`."""

        def read() -> list[Row]:
            env = self._environment()
            tag = self._tables.get(table)
            if tag is None:
                return []
            floor = tag + max(start, 0).to_bytes(8)
            if after is not None:
                # No key lies between a key and the same key with a zero byte behind it.
                floor = max(floor, tag + after[0].to_bytes(8) + after[1] + b"\0")
            end = tag + max(stop, 0).to_bytes(8)
            found: list[Row] = []
            size = 0
            with env.begin() as txn, txn.cursor(self._rows) as cursor:
                if cursor.set_range(floor):
                    for name, value in cursor:
                        if name >= end or size >= PAGE_READ:
                            break
                        found.append((name[12:], value, int.from_bytes(name[4:12])))
                        size += len(value) + 64
            return found

        return self._guarded(read)

    def used_bytes(self) -> int:
        """See `contract.Engine`."""
        env = self._environment()
        with env.begin() as txn:
            stats = [txn.stat(self._rows), txn.stat(self._keys)]
        pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return int(stats[0]["psize"]) * (pages + 4)

    def _environment(self) -> lmdb.Environment:
        if self._env is None:
            import lmdb

            self.path.mkdir(parents=True, exist_ok=True)
            env = lmdb.open(
                str(self.path),
                map_size=self.max_bytes,
                max_dbs=4,
                metasync=False,
                sync=self._sync,
                readahead=False,
            )
            try:
                self._prepare(env)
            except BaseException:
                env.close()
                raise
            self._env = env
        return self._env

    def _prepare(self, env: lmdb.Environment) -> None:
        file = self.path / "data.mdb"
        info = env.info()
        if file.stat().st_size < (info["last_pgno"] + 1) * env.stat()["psize"]:
            raise Damaged(f"{file.stat().st_size} bytes, page {info['last_pgno']} is missing")
        meta = env.open_db(b"meta")
        self._rows, self._keys = env.open_db(b"rows"), env.open_db(b"keys")
        with env.begin(write=True) as txn:
            version = txn.get(b"version", db=meta)
            if version is None:
                txn.put(b"version", VERSION, db=meta)
            elif int(version) > int(VERSION):
                raise StoreError(
                    f"{self.path}: has version {int(version)}, this program knows {int(VERSION)}: update it, or use "
                    "another folder"
                )
        self._meta = meta
        with env.begin() as txn, txn.cursor(meta) as cursor:
            self._tables = {name[2:].decode(): tag for name, tag in cursor if name.startswith(b"t ")}

    def _apply(self, batches: Sequence[Batch]) -> None:
        env = self._environment()
        made: dict[str, bytes] = {}
        with env.begin(write=True) as txn:
            for batch in batches:
                tag = self._tables.get(batch.table) or made.get(batch.table)
                if tag is None:
                    tag = made[batch.table] = (len(self._tables) + len(made) + 1).to_bytes(4)
                    txn.put(b"t " + batch.table.encode(), tag, db=self._meta)
                if batch.delete:
                    for key, _, _ in batch.rows:
                        moment = txn.pop(tag + key, db=self._keys)
                        if moment is not None:
                            txn.delete(tag + moment + key, db=self._rows)
                else:
                    self._put(txn, tag, batch.rows)
        self._tables |= made

    def _put(self, txn: lmdb.Transaction, tag: bytes, given: list[Row]) -> None:
        last = {row[0]: row for row in given}
        rows = list(last.values()) if len(last) < len(given) else given
        moments = [row[2].to_bytes(8) for row in rows]
        keys = [(tag + row[0], moment) for row, moment in zip(rows, moments, strict=True)]
        with txn.cursor(self._keys) as cursor:
            _, fresh = cursor.putmulti(keys, overwrite=False)
        if fresh < len(keys):
            for name, moment in keys:
                old = txn.replace(name, moment, db=self._keys)
                if old is not None and old != moment:
                    txn.delete(tag + old + name[4:], db=self._rows)
        with txn.cursor(self._rows) as cursor:
            cursor.putmulti([(tag + m + row[0], row[1]) for m, row in zip(moments, rows, strict=True)])

    def _evict(self, goal: int) -> None:
        """Removes rows until `goal` bytes of pages are free, or none is left; see `contract.Engine` for the order."""
        env = self._environment()
        first = self.used_bytes()
        while (missing := goal - (first - self.used_bytes())) > 0:
            size = 0
            gone: list[bytes] = []
            with env.begin() as txn:
                for _, name, length in self._victims(txn):
                    gone.append(name)
                    size += length + 2 * len(name) + 16
                    if size >= min(missing, CHUNK) or len(gone) == ROWS:
                        break
            if not gone:
                return
            with env.begin(write=True) as txn:
                for name in gone:
                    txn.delete(name, db=self._rows)
                    txn.delete(name[:4] + name[12:], db=self._keys)
            self.stats.evicted += len(gone)

    def _victims(self, txn: lmdb.Transaction) -> Iterator[tuple[bytes, bytes, int]]:
        """(time and key, name in `rows`, bytes of the value) in the order of eviction."""
        now = self._now_ms()
        limits = {
            tag: max(0, now - self._keep_ms.get(name, now)).to_bytes(8) for name, tag in self._tables.items()
        }
        yield from heapq.merge(*[self._range(txn, tag, tag, tag + limit) for tag, limit in limits.items()])
        ends = {tag: (int.from_bytes(tag) + 1).to_bytes(4) for tag in limits}
        yield from heapq.merge(
            *[self._range(txn, tag, tag + limit, ends[tag]) for tag, limit in limits.items()]
        )

    def _range(self, txn: Any, tag: bytes, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes, int]]:
        with txn.cursor(self._rows) as cursor:
            if cursor.set_range(start):
                for name, value in cursor:
                    if name >= stop:
                        return
                    yield name[4:], name, len(value)

    def _guarded(self, work: Callable[[], T]) -> T:
        """Does `work`; replaces a damaged file once. Raises StoreError for all that LMDB raises."""
        import lmdb

        bad = (
            Damaged,
            lmdb.CorruptedError,
            lmdb.PageNotFoundError,
            lmdb.InvalidError,
            lmdb.VersionMismatchError,
        )
        for again in (True, False):
            try:
                return work()
            except bad as error:
                self.close()
                if not again:
                    raise StoreError(f"{self.path}: damaged again, is the disk failing? ({error})") from error
                self._replace(str(error))
            except (lmdb.Error, OSError) as error:
                # After a failed write the environment may refuse all others until it is opened again.
                if not isinstance(error, lmdb.MapFullError):
                    self.close()
                raise StoreError(
                    f"{self.path}: {error}; is the disk full, or the folder not writable?"
                ) from error
        raise AssertionError

    def _replace(self, reason: str) -> None:
        """Sets the damaged file aside and copies what can be read into a new one."""
        from walle_pipeline.store.salvage import salvage_lmdb

        file = self.path / "data.mdb"
        aside = next(path for n in itertools.count(1) if not (path := Path(f"{file}.damaged-{n}")).exists())
        try:
            os.replace(file, aside)
            (self.path / "lock.mdb").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path}: damaged ({reason}), and cannot be renamed: {error}") from error
        self.stats.damaged += 1
        before = self.stats.salvaged
        work = self.path / "salvage"
        try:
            for table, rows in salvage_lmdb(aside, work, self._salvage_s):
                self._apply([Batch(table, rows)])
                self.stats.salvaged += len(rows)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        _log.warning(
            "%s: damaged (%s); kept as %s, %d rows copied",
            file,
            reason,
            aside.name,
            self.stats.salvaged - before,
        )


class Damaged(Exception):  # noqa: N818 - never leaves this module
    """The content of a file is not what LMDB wrote."""
