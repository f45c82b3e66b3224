"""SQLite as the server's sink: one file, durable per write, for one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from walle_pipeline.errors import StoreError
from walle_pipeline.tunnel.contract import Record

T = TypeVar("T")

PAGE = 256  # records that `records` reads at once
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL, received REAL NOT NULL,
    PRIMARY KEY (device, stream, seq));
CREATE TABLE IF NOT EXISTS high_water (
    device TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (device, stream)) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


class SqliteSink:
    """Stores records in `path`; see `contract.Sink`.

    The high water has a table of its own, written in the same transaction, so a consumer may delete records that it is
    done with. Several processes may write one file. `synchronous`: FULL, or NORMAL where losing the last moments at a
    power loss is acceptable: acknowledged records are then gone.
    """

    name = "sqlite"

    def __init__(self, path: str | os.PathLike[str], *, synchronous: str = "FULL") -> None:
        self.path = Path(path)
        self._synchronous = synchronous
        self._worker: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None
        self._known_marks: dict[str, tuple[tuple[int, int], dict[str, int]]] = {}

    async def open(self) -> None:
        """See `contract.Sink`."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="tunnel-sqlite")
        try:
            await self._call(self._open)
        except BaseException:
            self._worker.shutdown()
            self._worker = None
            raise

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path}: the folder cannot be made: {error.strerror}") from error
        db = sqlite3.connect(self.path, isolation_level=None, timeout=10, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={'NORMAL' if self._synchronous == 'NORMAL' else 'FULL'}")
            db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
        self._db = db

    async def close(self) -> None:
        """See `contract.Sink`. Closing again does nothing."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            await asyncio.get_running_loop().run_in_executor(worker, self._close)
            worker.shutdown()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
            self._known_marks.clear()

    async def write(self, records: Sequence[Record]) -> None:
        """See `contract.Sink`."""
        await self._call(lambda: self._write(records))

    def _write(self, records: Sequence[Record]) -> None:
        db = self._open_db()
        rows = [(r.device, r.stream, r.seq, r.payload, r.received) for r in records]
        rows.sort(key=lambda row: row[:3])
        db.execute("BEGIN IMMEDIATE")
        try:
            for (device, stream), group in groupby(rows, key=lambda row: row[:2]):
                old = high = self._high(device, stream)
                new = [row for row in group if row[2] > old]
                db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?)", new)
                gap = False
                for row in new:
                    if row[2] == high + 1:
                        high += 1
                    elif row[2] > high:
                        gap = True
                if high > old:
                    # Records stored behind a gap that is filled now count from now on.
                    while (gap or self._beyond(device, stream, high)) and self._has(device, stream, high + 1):
                        high += 1
                    db.execute("INSERT OR REPLACE INTO high_water VALUES (?, ?, ?)", (device, stream, high))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _high(self, device: str, stream: str) -> int:
        row = (
            self._open_db()
            .execute("SELECT seq FROM high_water WHERE device=? AND stream=?", (device, stream))
            .fetchone()
        )
        return row[0] if row else 0

    def _beyond(self, device: str, stream: str, seq: int) -> bool:
        last = (
            self._open_db()
            .execute("SELECT max(seq) FROM records WHERE device=? AND stream=?", (device, stream))
            .fetchone()[0]
        )
        return last is not None and last > seq

    def _has(self, device: str, stream: str, seq: int) -> bool:
        found = self._open_db().execute(
            "SELECT 1 FROM records WHERE device=? AND stream=? AND seq=?", (device, stream, seq)
        )
        return found.fetchone() is not None

    async def high_water(self, device: str) -> Mapping[str, int]:
        """See `contract.Sink`."""
        return await self._call(
            lambda: dict(
                self._open_db()
                .execute("SELECT stream, seq FROM high_water WHERE device=?", (device,))
                .fetchall()
            )
        )

    async def marks(self, stream: str) -> Mapping[str, int]:
        """See `contract.Followed`."""
        return await self._call(lambda: self._marks(stream))

    def _marks(self, stream: str) -> Mapping[str, int]:
        db = self._open_db()
        # The first number changes with commits of other connections, the second with those of this one.
        state = (db.execute("PRAGMA data_version").fetchone()[0], db.total_changes)
        known = self._known_marks.get(stream)
        if known is None or known[0] != state:
            query = "SELECT device, seq FROM high_water WHERE stream=?"
            known = self._known_marks[stream] = (state, dict(db.execute(query, (stream,)).fetchall()))
        return known[1]

    async def read(
        self, stream: str, spans: Sequence[tuple[str, int, int]], each: int = 64
    ) -> Sequence[Record]:
        """See `contract.Followed`."""
        query = (
            "SELECT device, stream, seq, payload, received FROM records WHERE device=? AND stream=? AND seq>? AND seq<=? "
            "ORDER BY seq LIMIT ?"
        )

        def work() -> list[Record]:
            db = self._open_db()
            found = [db.execute(query, (device, stream, after, upto, each)) for device, after, upto in spans]
            return [Record(*row) for rows in found for row in rows.fetchall()]

        return await self._call(work)

    async def records(self, device: str | None = None, stream: str | None = None) -> AsyncIterator[Record]:
        """See `contract.Sink`. What is written meanwhile may or may not come."""
        where = "(device, stream, seq) > (?, ?, ?)"
        fixed = [
            (f" AND {name}=?", value)
            for name, value in (("device", device), ("stream", stream))
            if value is not None
        ]
        query = "SELECT device, stream, seq, payload, received FROM records WHERE " + where  # noqa: S608
        query += "".join(text for text, _ in fixed) + " ORDER BY device, stream, seq LIMIT ?"
        last: tuple[str, str, int] = (device or "", stream or "", -1)
        while True:
            arguments = (*last, *(value for _, value in fixed), PAGE)
            page = await self._call(lambda a=arguments: self._open_db().execute(query, a).fetchall())  # type: ignore[misc]
            for row in page:
                yield Record(*row)
            if len(page) < PAGE:
                return
            last = page[-1][:3]

    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self.path}: the sink is not open")
        return self._db

    async def _call(self, work: Callable[[], T]) -> T:
        if self._worker is None:
            raise StoreError(f"{self.path}: the sink is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except sqlite3.Error as error:
            hint = (
                "; free some space"
                if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
                else ""
            )
            raise StoreError(f"{self.path}: {error}{hint}") from error
