# ruff: noqa: S608 - what is put into statements are numbers of tables
"""SQLite under the collective store: one file and its write-ahead log."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from walle_pipeline.errors import StoreError
from walle_pipeline.store.contract import Batch, Row
from walle_pipeline.store.files import Damaged, FileEngine, unused_name, wall_clock_ms
from walle_pipeline.store.salvage_sqlite import salvage_sqlite

VERSION = 1
PAGE = 8192  # bytes
GROUPS = (200, 20, 1)  # rows of one INSERT: starting a statement costs more than a row
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


class SqliteEngine(FileEngine):
    """Keeps the tables in the file `path`; see `contract.Engine`.

    Durability: a committed transaction survives the death of the process (kill -9) at any point, because the log is in
    the hands of the operating system then. After a power loss or a crash of the system the file is intact, but the
    transactions since the last checkpoint (at most about 8 MB of log) may be gone: synchronous=NORMAL does not wait for
    the disk at every commit.

    Disk use: the file never exceeds `max_bytes`; the log beside it holds the largest transaction or `LOG_BYTES`,
    whichever is more. Removed rows free pages, which are used again; a file that is larger than the bound when it is
    opened is shrunk. `keep_ms` gives tables an age after which their rows are evicted before all others; until space
    is needed they stay and are read. `now_ms` is the clock for that, in ms since the epoch.

    Keys in no order change a page of the index of keys each: a larger `flush_count` of the store lets rows share pages.

    A damaged file is renamed to ``<path>.damaged-<n>`` and what can be read from it within `salvage_s` seconds is
    copied to a new one. Damage is found when it is touched; files of up to `check_bytes` are checked when opened.
    """

    name = "sqlite"
    _chunk = 4 << 20, 1 << 62

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_bytes: int = 256 << 20,
        keep_ms: Mapping[str, int] | None = None,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        check_bytes: int = 64 << 20,
        salvage_s: float = 10.0,
    ) -> None:
        """Touches no file. Raises InputError if `max_bytes` is less than `MIN_BYTES`."""
        super().__init__(path, max_bytes, keep_ms, now_ms, salvage_s)
        self._check_bytes = check_bytes
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """See `contract.Engine`."""
        db, self._connection = self._connection, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error as error:
                _log.warning("%s: %s", self.path, error)

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _load(self) -> None:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = not self.path.exists() or self.path.stat().st_size == 0
            self._connection = sqlite3.connect(
                self.path, isolation_level=None, timeout=1, check_same_thread=False
            )
            try:
                self._prepare(self._connection, fresh)
            except BaseException:
                self.close()
                raise

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
            self._evict(max(0, (pages - free) * PAGE - self.max_bytes * 9 // 10))
            db.executescript("PRAGMA incremental_vacuum")  # a step per page, which `execute` does not do
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            db.execute(f"PRAGMA max_page_count={self.max_bytes // PAGE}")

    def _used(self) -> int:
        pages, free = self._pages(self._db)
        return (pages - free) * PAGE

    def _write(self, batches: Sequence[Batch]) -> None:
        made: dict[str, int] = {}
        with self._transaction() as db:
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

    def _find(self, number: int, key: bytes) -> tuple[bytes, int] | None:
        row: tuple[bytes, int] | None = self._db.execute(
            f"SELECT value, time FROM rows_{number} WHERE key=?", (key,)
        ).fetchone()
        return row

    def _ordered(
        self, number: int, after: tuple[int, bytes] | None, start: int, stop: int
    ) -> Generator[Row, None, None]:
        query = (
            f"SELECT key, value, time FROM rows_{number} WHERE (time, key) > (?, ?) AND time >= ? AND time < ? "
            "ORDER BY time, key"
        )
        cursor = self._db.execute(query, (*(after or (-1, b"")), start, stop))
        with contextlib.closing(cursor):
            yield from cursor

    def _remove(self, bounds: Mapping[int, tuple[int, bytes]]) -> int:
        gone = 0
        with self._transaction() as db:
            for number, bound in bounds.items():
                gone += db.execute(f"DELETE FROM rows_{number} WHERE (time, key) <= (?, ?)", bound).rowcount
        return gone

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            try:
                if db.in_transaction:
                    db.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()  # opening again recovers from the log
            raise

    def _crowded(self, error: Exception, need: int) -> bool:
        # Half-empty pages may take more room than was reckoned; a full disk is not helped by removing rows.
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        return full and self._connection is not None and self._used() + 2 * need >= self.max_bytes

    def _meaning(self, error: Exception) -> Damaged | StoreError | None:
        if not isinstance(error, (sqlite3.Error, OSError)):
            return None
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return Damaged(str(error))
        hint = {
            sqlite3.SQLITE_FULL: "; free some space",
            sqlite3.SQLITE_IOERR: "; is the disk full or failing?",
            sqlite3.SQLITE_BUSY: "; another process or store uses it",
            sqlite3.SQLITE_CANTOPEN: "; is it a file, and the folder writable?",
            sqlite3.SQLITE_READONLY: "; is the folder writable?",
        }.get(code, "")
        return StoreError(f"{self.path}: {error}{hint}")

    def _set_aside(self) -> Path:
        aside = unused_name(self.path)
        for tail in ("-wal", "-shm", ""):
            if Path(f"{self.path}{tail}").exists():
                os.replace(f"{self.path}{tail}", f"{aside}{tail}")
        return aside

    def _salvage(self, aside: Path) -> Generator[tuple[str, list[Row]], None, None]:
        return salvage_sqlite(aside, time.monotonic() + self._salvage_s)
