# ruff: noqa: S608 - what is put into statements are numbers of tables
"""SQLite under the collective store: one file and its write-ahead log."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from walle_core.errors import InputError
from walle_pipeline.errors import StoreError
from walle_pipeline.store.contract import MIN_BYTES, Batch, EngineStats, Row

T = TypeVar("T")

VERSION = 1
PAGE = 8192  # bytes
GROUPS = (200, 20, 1)  # rows of one INSERT: starting a statement costs more than a row
PAGE_READ = 1 << 20  # bytes of rows that one `page` returns, at least one row
CHUNK = 4 << 20  # bytes that one transaction of an eviction removes
LOG_BYTES = 8 << 20  # the write-ahead log is cut to this after a checkpoint
_SETUP = f"""
PRAGMA page_size={PAGE};
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA locking_mode=EXCLUSIVE;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
PRAGMA cache_size=-16384;
PRAGMA journal_size_limit={LOG_BYTES};
"""
_log = logging.getLogger(__name__)


class SqliteEngine:
    """Keeps the tables in the file `path`; see `contract.Engine`.

    Durability: a committed transaction survives the death of the process (kill -9) at any point, because the log is in
    the hands of the operating system then. After a power loss or a crash of the system the file is intact, but the
    transactions since the last checkpoint (at most about 8 MB of log) may be gone: synchronous=NORMAL does not wait for
    the disk at every commit.

    Disk use: the file never exceeds `max_bytes`; the log beside it holds the largest transaction or `LOG_BYTES`,
    whichever is more. Removed rows free pages, which are used again; a file that is larger than the bound when it is
    opened is shrunk. `keep_ms` gives tables an age after which their rows are evicted before all others; until space
    is needed they stay and are read. `now_ms` is the clock for that, in ms since the epoch.

    A damaged file is renamed to ``<path>.damaged-<n>`` and what can be read from it within `salvage_s` seconds is
    copied to a new one. Damage is found when it is touched; files of up to `check_bytes` are checked when opened.
    """

    name = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int = 256 << 20,
        keep_ms: Mapping[str, int] | None = None,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        check_bytes: int = 64 << 20,
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
        self._check_bytes, self._salvage_s = check_bytes, salvage_s
        self._db: sqlite3.Connection | None = None
        self._tables: dict[str, int] = {}

    def open(self) -> None:
        """See `contract.Engine`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path}: the folder cannot be made: {error.strerror}") from error
        self._guarded(lambda: self._connection() and None)

    def close(self) -> None:
        """See `contract.Engine`."""
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error as error:
                _log.warning("%s: %s", self.path, error)

    def apply(self, batches: Sequence[Batch]) -> None:
        """See `contract.Engine`."""
        need = sum([batch.size for batch in batches]) * 5 // 4 + 16 * PAGE
        self._guarded(lambda: self._fit(need))
        try:
            self._guarded(lambda: self._apply(batches))
        except StoreError:
            # Half-empty pages may take more room than was reckoned; a full disk is not helped by removing rows.
            if self._db is None or self.used_bytes() + 2 * need < self.max_bytes:
                raise
            self._guarded(lambda: self._fit(need + self.max_bytes // 4))
            self._guarded(lambda: self._apply(batches))

    def get(self, table: str, key: bytes) -> tuple[bytes, int] | None:
        """See `contract.Engine`."""

        def read() -> tuple[bytes, int] | None:
            db = self._connection()
            number = self._tables.get(table)
            if number is None:
                return None
            row: tuple[bytes, int] | None = db.execute(
                f"SELECT value, time FROM rows_{number} WHERE key=?", (key,)
            ).fetchone()
            return row

        return self._guarded(read)

    def page(self, table: str, after: tuple[int, bytes] | None, start: int, stop: int) -> list[Row]:
        """See `contract.Engine`."""

        def read() -> list[Row]:
            db = self._connection()
            number = self._tables.get(table)
            if number is None:
                return []
            found: list[Row] = []
            size = 0
            cursor = db.execute(
                f"SELECT key, value, time FROM rows_{number} WHERE (time, key) > (?, ?) AND time >= ? AND time < ? "
                "ORDER BY time, key",
                (*(after or (-1, b"")), start, stop),
            )
            for row in cursor:
                found.append(row)
                size += len(row[1]) + 64
                if size >= PAGE_READ:
                    break
            cursor.close()
            return found

        return self._guarded(read)

    def used_bytes(self) -> int:
        """See `contract.Engine`."""
        pages, free = self._pages(self._connection())
        return (pages - free) * PAGE

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            fresh = not self.path.exists() or self.path.stat().st_size == 0
            db = sqlite3.connect(self.path, isolation_level=None, timeout=5, check_same_thread=False)
            try:
                self._prepare(db, fresh)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _prepare(self, db: sqlite3.Connection, fresh: bool) -> None:
        db.executescript(_SETUP)
        db.execute(f"PRAGMA max_page_count={self.max_bytes // PAGE}")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{self.path}: has version {version}, this program knows {VERSION}: update it, or use another file"
            )
        if not fresh and self.path.stat().st_size <= self._check_bytes:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise Damaged(found)
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS tables (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
        db.execute(f"PRAGMA user_version={VERSION}")
        self._tables = {name: number for number, name in db.execute("SELECT id, name FROM tables")}
        db.execute("COMMIT")
        pages, free = self._pages(db)
        if pages * PAGE > self.max_bytes:
            self._evict(db, max(0, (pages - free) * PAGE - self.max_bytes * 9 // 10))
            db.executescript("PRAGMA incremental_vacuum")  # a step per page, which `execute` does not do
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            db.execute(f"PRAGMA max_page_count={self.max_bytes // PAGE}")

    def _apply(self, batches: Sequence[Batch]) -> None:
        db = self._connection()
        made: dict[str, int] = {}
        db.execute("BEGIN IMMEDIATE")
        for batch in batches:
            number = self._tables.get(batch.table) or made.get(batch.table)
            if number is None:
                number = made[batch.table] = self._create(db, batch.table)
            if batch.delete:
                keys = [(key,) for key, _, _ in batch.rows]
                db.executemany(f"DELETE FROM rows_{number} WHERE key=?", keys)
                continue
            insert = f"INSERT OR REPLACE INTO rows_{number} (key, value, time) VALUES "
            flat = list(itertools.chain.from_iterable(batch.rows))
            at = 0
            for group in GROUPS:
                step = 3 * group
                stop = at + (len(flat) - at) // step * step
                if stop > at:
                    parts = [flat[i : i + step] for i in range(at, stop, step)]
                    db.executemany(insert + ",".join(["(?,?,?)"] * group), parts)
                at = stop
        db.execute("COMMIT")
        self._tables |= made

    @staticmethod
    def _create(db: sqlite3.Connection, table: str) -> int:
        """A table whose rows lie in the order of time, so that a scan and an eviction touch neighbouring pages."""
        number = db.execute("INSERT INTO tables (name) VALUES (?)", (table,)).lastrowid
        assert number is not None
        db.execute(
            f"CREATE TABLE rows_{number} (time INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, "
            "PRIMARY KEY (time, key)) WITHOUT ROWID"
        )
        db.execute(f"CREATE UNIQUE INDEX keys_{number} ON rows_{number} (key)")
        return number

    @staticmethod
    def _pages(db: sqlite3.Connection) -> tuple[int, int]:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        return pages, db.execute("PRAGMA freelist_count").fetchone()[0]

    def _fit(self, need: int) -> None:
        """Evicts if `need` more bytes would exceed the bound."""
        db = self._connection()
        used = self.used_bytes()
        if used + need > self.max_bytes:
            self._evict(db, used + need - self.max_bytes * 9 // 10)

    def _evict(self, db: sqlite3.Connection, goal: int) -> None:
        """Removes rows until `goal` bytes of pages are free, or none is left; see `contract.Engine` for the order."""
        first = self.used_bytes_of(db)
        while (missing := goal - (first - self.used_bytes_of(db))) > 0:
            last: dict[int, tuple[int, bytes]] = {}
            size = 0
            for moment, key, number, length in self._victims(db):
                last[number] = moment, key
                size += length + len(key) * 2 + 32
                if size >= min(missing, CHUNK):
                    break
            if not last:
                return
            db.execute("BEGIN IMMEDIATE")
            gone = 0
            for number, bound in last.items():
                gone += db.execute(f"DELETE FROM rows_{number} WHERE (time, key) <= (?, ?)", bound).rowcount
            db.execute("COMMIT")
            self.stats.evicted += gone

    def _victims(self, db: sqlite3.Connection) -> Iterator[tuple[int, bytes, int, int]]:
        """(time, key, number of the table, bytes of the value) in the order of eviction."""
        now = self._now_ms()
        query = "SELECT time, key, {0}, length(value) FROM rows_{0} WHERE time {1} ? ORDER BY time, key"
        limits = {number: now - self._keep_ms.get(name, now) for name, number in self._tables.items()}
        expired = [db.execute(query.format(number, "<"), (limit,)) for number, limit in limits.items()]
        yield from heapq.merge(*expired)
        fresh = [db.execute(query.format(number, ">="), (limit,)) for number, limit in limits.items()]
        yield from heapq.merge(*fresh)

    def used_bytes_of(self, db: sqlite3.Connection) -> int:
        """`used_bytes` of a connection that is being prepared."""
        pages, free = self._pages(db)
        return (pages - free) * PAGE

    def _guarded(self, work: Callable[[], T]) -> T:
        """Does `work`; replaces a damaged file once. Raises StoreError for all that SQLite raises."""
        try:
            return self._once(work)
        except Damaged as damage:
            self._replace(str(damage))
        try:
            return self._once(work)
        except Damaged as damage:
            raise StoreError(f"{self.path}: damaged again, is the disk failing? ({damage})") from damage

    def _once(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            self._rollback()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise Damaged(str(error)) from error
            hint = {
                sqlite3.SQLITE_FULL: "; free some space",
                sqlite3.SQLITE_IOERR: "; is the disk full or failing?",
                sqlite3.SQLITE_BUSY: "; another process or store uses it",
                sqlite3.SQLITE_CANTOPEN: "; is the folder writable?",
            }.get(code, "")
            raise StoreError(f"{self.path}: {error}{hint}") from error

    def _rollback(self) -> None:
        if self._db is not None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()  # opening again recovers from the log

    def _replace(self, reason: str) -> None:
        """Sets the damaged file aside and copies what can be read into a new one."""
        self.close()
        aside = next(
            path for n in itertools.count(1) if not (path := Path(f"{self.path}.damaged-{n}")).exists()
        )
        try:
            for tail in ("-wal", "-shm", ""):
                if Path(f"{self.path}{tail}").exists():
                    os.replace(f"{self.path}{tail}", f"{aside}{tail}")
        except OSError as error:
            raise StoreError(f"{self.path}: damaged ({reason}), and cannot be renamed: {error}") from error
        self.stats.damaged += 1
        before = self.stats.salvaged
        deadline = time.monotonic() + self._salvage_s
        for table, rows in salvage(aside, deadline):
            self._once(lambda t=table, r=rows: self._apply([Batch(t, r)]))  # type: ignore[misc]
            self.stats.salvaged += len(rows)
        _log.warning(
            "%s: damaged (%s); kept as %s, %d rows copied",
            self.path,
            reason,
            aside.name,
            self.stats.salvaged - before,
        )


class Damaged(Exception):  # noqa: N818 - never leaves this module
    """The content of a file is not what SQLite wrote."""


def salvage(path: Path, deadline: float) -> Iterator[tuple[str, list[Row]]]:
    """What can be read of a damaged file until `deadline` (time.monotonic), some rows at a time. Raises nothing."""
    try:
        complete(path)
        db = sqlite3.connect(path, isolation_level=None, timeout=1)
    except (sqlite3.Error, OSError):
        return
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        tables = db.execute("SELECT id, name FROM tables").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        tables = []
    for number, name in tables:
        for rows in _salvage_table(db, f"rows_{number}", f"keys_{number}", deadline):
            yield name, rows
    db.close()


def _salvage_table(db: sqlite3.Connection, table: str, index: str, deadline: float) -> Iterator[list[Row]]:
    """From the front and, at damage, from the back; then one by one what the index of keys still knows."""
    done: set[bytes] = set()
    for order in ("", " DESC"):
        query = f"SELECT key, value, time FROM {table} ORDER BY time{order}, key{order}"
        ends, rows = _read(db, query, (), deadline)
        for at in range(0, len(rows), 1000):
            yield rows[at : at + 1000]
        if ends:
            return
        done.update(row[0] for row in rows)
    for order in ("", " DESC"):
        query = f"SELECT key, x'', time FROM {table} INDEXED BY {index} ORDER BY key{order}"
        for key, _, moment in _read(db, query, (), deadline)[1]:
            if key not in done and time.monotonic() < deadline:
                done.add(key)
                query = f"SELECT key, value, time FROM {table} WHERE time=? AND key=?"
                if rows := _read(db, query, (moment, key), deadline)[1]:
                    yield rows


def complete(path: Path) -> None:
    """Lengthens a file that was cut short to what its header says, because SQLite reads nothing of a shorter one."""
    with path.open("rb") as file:
        head = file.read(100)
    page = int.from_bytes(head[16:18])
    size = (65536 if page == 1 else page) * int.from_bytes(head[28:32])
    if path.stat().st_size < size <= 1 << 40:
        os.truncate(path, size)


def _read(
    db: sqlite3.Connection, query: str, values: tuple[object, ...], deadline: float
) -> tuple[bool, list[Row]]:
    """Whether the end was reached, and the rows until there; the rest of a damaged table is read from its other end."""
    rows: list[Row] = []
    try:
        for key, value, moment in db.execute(query, values):
            if type(key) is bytes and type(value) is bytes and type(moment) is int and moment >= 0:
                rows.append((key, value, moment))
            if time.monotonic() > deadline:
                return True, rows
    except (sqlite3.Error, UnicodeDecodeError, OverflowError):
        return False, rows
    return True, rows
