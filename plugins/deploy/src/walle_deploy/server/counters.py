"""Counters of answers: of two answers, whichever workers gave them, the later one has the larger counter.

They are near the time in microseconds, so that a database restored from a backup goes on above what devices have seen. On
SQLite all workers are on one machine and share its steady clock: the database holds what is added to it, and a bound
that no counter passes before it was raised durably; a machine that starts again begins above the bound. On PostgreSQL
workers may be on several machines, so the database gives every counter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from walle_deploy.server.database import Database
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.schema import counting
from walle_deploy.server.steady import clock_name, steady_us

AHEAD = 60_000_000  # microseconds by which the bound is raised
LATEST = 2**53 - 1


class Counters(Protocol):
    """Where the answers of a worker get their counters."""

    def next(self) -> int:
        """Above every counter that was given before. Raises BusyError."""

    def keep(self) -> None:
        """Called now and then, off the hot path."""

    def close(self) -> None:
        """Ends."""


class MachineCounters:
    """Of workers on one machine, from its steady clock."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        steady: Callable[[], int] = steady_us,
        name: str | None = None,
    ) -> None:
        self._database, self._steady = database, steady
        self._lock = threading.Lock()
        self._name = clock_name() if name is None else name
        self._last = 0
        self._offset, self._bound = database.write(lambda found: self._adopted(found, clock()))

    def next(self) -> int:
        """See Counters."""
        with self._lock:
            self._last = made = max(self._offset + self._steady(), self._last + 1)
            if made > self._bound:
                self._raise(made)
        return made

    def keep(self) -> None:
        """See Counters."""
        if self._offset + self._steady() > self._bound - AHEAD // 2:
            with self._lock:
                self._raise(self._offset + self._steady())

    def close(self) -> None:
        """See Counters."""

    def _raise(self, past: int) -> None:
        bound = past + AHEAD

        def work(found: Connection) -> None:
            higher = sa.update(counting).where(counting.c.counter < bound).values(counter=bound)
            found.execute(higher)

        self._database.write(work)
        self._bound = bound

    def _adopted(self, found: Connection, now: float) -> tuple[int, int]:
        row = found.execute(sa.select(counting.c.counter, counting.c.clock, counting.c.offset)).one()
        if row.clock == self._name:
            return row.offset, row.counter
        start = max(min(int(now * 1e6), LATEST // 2), row.counter + 1)
        offset, bound = start - self._steady(), start + AHEAD
        found.execute(sa.update(counting).values(counter=bound, clock=self._name, offset=offset))
        return offset, bound


class DatabaseCounters:
    """Of workers on any machines, from PostgreSQL and its clock.

    What the database server may forget in a crash is less than what every new connection adds.
    """

    _NEXT = (
        "UPDATE counting SET counter = GREATEST(counter + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) "
        "RETURNING counter"
    )

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._held: Any = None  # SQLAlchemy closes a connection that nobody holds
        self._connection: Any = None

    def next(self) -> int:
        """See Counters."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connect()
                return int(self._connection.execute(self._NEXT).fetchone()[0])
            except Exception as error:
                self._drop()
                raise BusyError(
                    f"the database gives no counter: {str(error)[:200]}; try again, and see that it runs"
                ) from error

    def keep(self) -> None:
        """See Counters."""

    def close(self) -> None:
        """See Counters."""
        with self._lock:
            self._drop()

    def _connect(self) -> None:
        def work(found: Connection) -> None:
            found.execute(sa.update(counting).values(counter=counting.c.counter + AHEAD))

        self._database.write(work)
        self._held = held = self._database.engine.raw_connection()
        held.detach()
        made: Any = held.dbapi_connection
        made.autocommit = True
        made.execute("SET synchronous_commit = off")
        made.execute("SET statement_timeout = 2000")
        self._connection = made

    def _drop(self) -> None:
        held, self._held, self._connection = self._held, None, None
        if held is not None:
            held.close()
