"""What an agent must not forget, in one SQLite file: reports that wait to be sent, runs that are done, and single facts.

WAL with synchronous=FULL: what a call has written is on the disk when it returns. Numbers of reports are never used twice,
and a file that is begun anew, perhaps because the old one was damaged, begins with higher ones than any before it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from walle_deploy.agent.errors import AgentError

MAX_WAITING = 50_000  # reports; of more, the oldest are lost, and counted
KEPT_NAMES = 20_000  # of runs that are done
MAX_WHY = 500  # characters
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reports (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS done (place INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
"""
_log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How a run went, as it is sent.

    Attributes:
        number: the device's own count; a report that is repeated has the same.
        task: its name.
        version: ``v7``; None if none ran.
        failed: whether it went wrong.
        values: measured numbers by name, all finite.
        why: what went wrong.
    """

    number: int
    task: str
    version: str | None
    failed: bool
    values: dict[str, float] = {}
    why: str = ""


class Journal:
    """The file. Any thread may call any method.

    Args:
        path: of the file; made if it is not there. A damaged one is kept beside it as ``.damaged-N``.
        clock: seconds since the epoch, for the first number of a new file.

    Attributes:
        damaged: where a damaged file was put; None if it was whole.
        lost: reports given up since the start, because too many waited.

    Raises AgentError if the file cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.damaged: Path | None = None
        self.lost = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise AgentError(f"{path}: the agent's journal cannot be opened: {error}") from error
            self._set_aside(error)
            try:
                self._db = self._open()
            except sqlite3.Error as again:
                raise AgentError(f"{path}: the agent's journal cannot be made: {again}") from again

    def _open(self) -> sqlite3.Connection:
        with contextlib.ExitStack() as undo:
            self._make()
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
            undo.callback(db.close)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                error = sqlite3.DatabaseError(found)
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error
            db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            if db.execute("SELECT count(*) FROM sqlite_sequence WHERE name='reports'").fetchone()[0] == 0:
                first = max(int(self._clock() * 1000), 0)
                db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('reports', ?)", (first,))
            db.execute("COMMIT")
            self._count = int(db.execute("SELECT count(*) FROM reports").fetchone()[0])
            undo.pop_all()
        return db

    def _make(self) -> None:
        """Nobody else may read it: the device's token is in it. SQLite gives its other files the same mode."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise AgentError(
                f"{self.path}: the agent's journal cannot be opened: {error.strerror}"
            ) from error

    def _set_aside(self, error: sqlite3.Error) -> None:
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        self.path.replace(target)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{target}{suffix}")
        self.damaged = target
        _log.warning("%s is damaged (%s); kept as %s, a new one is begun", self.path, error, target)

    def close(self) -> None:
        """Closes the file; calling it again does nothing."""
        with self._lock:
            self._db.close()

    # -- reports ------------------------------------------------------------------------------------------------------

    def record(
        self,
        task: str,
        version: str | None,
        failed: bool,
        values: Mapping[str, float] | None = None,
        why: str = "",
        name: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> int:
        """Keeps a report, that the run called `name` is done, and facts: all or nothing. The report's number.

        Raises AgentError if the disk takes nothing.
        """
        why = why.encode("utf-8", "replace").decode()[:MAX_WHY]
        body = msgspec.msgpack.encode((task, version, failed, dict(values or {}), why))
        with self._writing() as db:
            number = db.execute("INSERT INTO reports (body) VALUES (?)", (body,)).lastrowid
            if name:
                db.execute("INSERT OR IGNORE INTO done (name) VALUES (?)", (name,))
                db.execute("DELETE FROM done WHERE place <= (SELECT max(place) FROM done) - ?", (KEPT_NAMES,))
            for fact, value in (facts or {}).items():
                self._put(db, fact, value)
            excess = self._count + 1 - MAX_WAITING
            if excess > 0:
                db.execute(
                    "DELETE FROM reports WHERE number IN (SELECT number FROM reports ORDER BY number LIMIT ?)",
                    (excess,),
                )
        with self._lock:
            self._count += 1 - max(excess, 0)
            self.lost += max(excess, 0)
        for listener in tuple(self._listeners):
            listener()
        return int(number or 0)

    def waiting(self, limit: int) -> list[Outcome]:
        """The oldest reports that are to be sent. Raises AgentError."""
        with self._lock, self._errors():
            rows = self._db.execute(
                "SELECT number, body FROM reports ORDER BY number LIMIT ?", (limit,)
            ).fetchall()
        return [Outcome(number, *msgspec.msgpack.decode(body)) for number, body in rows]

    def delivered(self, numbers: list[int]) -> None:
        """Forgets reports: they are durable elsewhere. Raises AgentError."""
        with self._writing() as db:
            found = db.executemany("DELETE FROM reports WHERE number=?", [(n,) for n in numbers]).rowcount
        with self._lock:
            self._count -= max(found, 0)

    def is_done(self, name: str) -> bool:
        """Whether a run of this name was recorded, among the latest ones. Raises AgentError."""
        with self._lock, self._errors():
            return self._db.execute("SELECT 1 FROM done WHERE name=?", (name,)).fetchone() is not None

    def __len__(self) -> int:
        return self._count

    def on_record(self, listener: Callable[[], None]) -> None:
        """Calls `listener` after each report that was kept, in the thread that did."""
        self._listeners.append(listener)

    # -- facts --------------------------------------------------------------------------------------------------------

    def get(self, name: str, default: Any = None) -> Any:
        """What was put under a name. Raises AgentError."""
        with self._lock, self._errors():
            row = self._db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return default if row is None else msgspec.msgpack.decode(row[0])

    def put(self, name: str, value: Any) -> None:
        """Keeps a plain value. Raises AgentError if the disk does not take it."""
        with self._writing() as db:
            self._put(db, name, value)

    @staticmethod
    def _put(db: sqlite3.Connection, name: str, value: Any) -> None:
        db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, msgspec.msgpack.encode(value)))

    # -- SQLite -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise AgentError(f"{self.path}: {error}; is the disk full?") from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
