"""A database, SQLite or PostgreSQL, and its two kinds of transactions: of one moment for reading, durable for writing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from walle_deploy.errors import DeployError
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.schema import SCHEMA, counting, installed, meta, metadata

WAIT_S = 10.0  # for another writer's transaction
TRIES = 6
POOL = 6  # connections that are kept, and others beside them while they are needed
CACHE_KIB, WRITING_KIB = 4 << 10, 32 << 10  # of SQLite's pages: of a connection, and of the one that writes
CHECKPOINT = 16_000  # pages of SQLite's log
LOCK = 0x57414C4C45  # of PostgreSQL's advisory locks: while tables are made, and the next one for `alone`
TOGETHER = 64  # rows of one statement
_SIZES = (1, 8, 64, 500)
_MOST = _SIZES[-1]  # keys of one query
_AGAIN = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock timeout

_OUTSIDE = (
    sa.exc.OperationalError,
    sa.exc.InternalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
)  # no fault of this program

T = TypeVar("T")


class Database:
    """See `open`. Any thread may use it."""

    def __init__(self, engine: Engine, writing: Engine | None = None) -> None:
        self.engine, self.writing = engine, writing or engine
        self.postgres = engine.dialect.name == "postgresql"
        self._insert: Any = postgresql.insert if self.postgres else sqlite.insert

    @classmethod
    def open(cls, url: str) -> Self:
        """Opens a database, and makes its tables if there are none. Raises DeployError if it cannot be used.

        Args:
            url: ``sqlite:///path``, ``postgresql://user:password@host/name``, or what SQLAlchemy takes for psycopg.
        """
        try:
            made = cls(*engines(url))
        except ImportError as error:
            raise DeployError(
                f"database {_shown(url)}: needs more packages ({error}): pip install 'walle-deploy[postgres]'"
            ) from error
        except sa.exc.SQLAlchemyError as error:
            raise DeployError(f"database {_shown(url)}: {_first_line(error)}; see its address") from error
        try:
            made.write(lambda found: _create(found, postgres=made.postgres))
        except sa.exc.DatabaseError as error:
            made.close()
            raise DeployError(
                f"database {_shown(url)}: {_first_line(error)}; take it from a backup, or name another one"
            ) from error
        except BusyError as error:
            made.close()
            raise DeployError(
                f"database {_shown(url)}: {error.__cause__ and _first_line(error.__cause__)}; see its address, its rights, and that it runs"
            ) from error
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()
        self.writing.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one moment. Raises DeployError."""
        with _meant(), self.engine.connect() as found:
            level = {"isolation_level": "REPEATABLE READ"} if self.postgres else {}
            yield found.execution_options(**level)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, after what it did is durable. It may be called again, after a deadlock. Raises DeployError."""
        tries = 0
        while True:
            try:
                with self.writing.connect() as found:
                    with found.execution_options(walle_write=True).begin():
                        made = work(found)
                    return made
            except _OUTSIDE as error:
                tries += 1
                if tries >= TRIES or not _again(error):
                    raise _failure(error) from error
                time.sleep(random.uniform(0, 0.02) * tries)  # noqa: S311

    def alone(self, found: Connection) -> None:
        """Until the transaction ends, no other one gets past its own call: for what must not change side by side."""
        if self.postgres:
            found.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK + 1)))

    def upsert(self, table: sa.Table, columns: Sequence[str], add: Sequence[str] = ()) -> Any:
        """A statement that inserts rows, or replaces `columns` and adds to `add` where the key is there."""
        made = self._insert(table)
        values = {name: made.excluded[name] for name in columns}
        values |= {name: table.c[name] + made.excluded[name] for name in add}
        keys = [column.name for column in table.primary_key.columns]
        if not values:
            return made.on_conflict_do_nothing(index_elements=keys)
        return made.on_conflict_do_update(index_elements=keys, set_=values)

    def replace(self, found: Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Inserts whole rows, in the order of their columns, or replaces those whose key is there."""
        names = table.columns.keys()
        keys = [column.name for column in table.primary_key.columns]
        if self.postgres:
            values = [name for name in names if name not in keys]
            found.execute(self.upsert(table, values), [dict(zip(names, row, strict=True)) for row in rows])
            return
        several, one = _replacing(table.name, tuple(names), tuple(keys))
        whole = len(rows) - len(rows) % TOGETHER
        for start in range(0, whole, TOGETHER):
            found.exec_driver_sql(several, tuple(chain.from_iterable(rows[start : start + TOGETHER])))
        if whole < len(rows):
            found.exec_driver_sql(one, list(rows[whole:]))

    def locked(self, found: Connection, table: sa.Table, keys: Sequence[str]) -> list[Any]:
        """The rows with some of these keys, which no other transaction changes until this one ends."""
        (column,) = table.primary_key.columns
        made: list[Any] = []
        for start in range(0, len(keys), _MOST):
            some = keys[start : start + _MOST]
            if self.postgres:
                query = sa.select(table).where(column.in_(some)).order_by(column).with_for_update()
                made += found.execute(query).all()
            else:  # few texts for any number of keys: SQLite remembers what it has made of them
                size = next(size for size in _SIZES if size >= len(some))
                text = _selecting(table.name, tuple(table.columns.keys()), column.name, size)
                made += found.exec_driver_sql(text, (*some, *[some[-1]] * (size - len(some)))).all()
        return made


@lru_cache
def _replacing(table: str, names: Sequence[str], keys: Sequence[str]) -> tuple[str, str]:
    """SQLite's statement for TOGETHER rows, which takes it half the time that as many for one take, and that for one."""
    row = f"({', '.join('?' * len(names))})"
    update = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    begin = f"INSERT INTO {table} ({', '.join(names)}) VALUES "  # noqa: S608
    end = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {update}"
    return f"{begin}{', '.join([row] * TOGETHER)}{end}", f"{begin}{row}{end}"


@lru_cache
def _selecting(table: str, names: Sequence[str], key: str, size: int) -> str:
    return f"SELECT {', '.join(names)} FROM {table} WHERE {key} IN ({', '.join('?' * size)})"  # noqa: S608


def engines(url: str) -> list[Engine]:
    """One for all, or one for reading and one with a single connection for writing, whose pages stay in its memory."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, pool_size=POOL, max_overflow=POOL, pool_pre_ping=True)

        @event.listens_for(engine, "connect")
        def _patient(connection: Any, _record: Any) -> None:
            connection.execute(f"SET lock_timeout = {int(WAIT_S * 1000)}")
            connection.commit()

        return [engine]
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise DeployError(f"database {_shown(url)}: wanted sqlite:///path or postgresql://…")
    if parsed.database in {None, "", ":memory:"}:
        raise DeployError(f"database {_shown(url)}: it needs a file, which several workers can open")
    return [
        _sqlite(parsed, CACHE_KIB, pool_size=POOL, max_overflow=POOL),
        _sqlite(parsed, WRITING_KIB, pool_size=1, max_overflow=0, pool_timeout=WAIT_S),
    ]


def _sqlite(url: sa.URL, cache: int, **pool: Any) -> Engine:
    arguments = {"check_same_thread": False, "timeout": WAIT_S}
    engine = sa.create_engine(url, connect_args=arguments, **pool)

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin as `_begun` says
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"cache_size=-{cache}",
            f"wal_autocheckpoint={CHECKPOINT}",
            "journal_size_limit=67108864",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(found: Connection) -> None:
        write = found.get_execution_options().get("walle_write")
        found.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _create(found: Connection, *, postgres: bool) -> None:
    if postgres:
        found.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    if sa.inspect(found).has_table(meta.name):
        schema = found.execute(sa.select(meta.c.schema)).scalar_one()
        if schema != SCHEMA:
            raise DeployError(
                f"the database has tables of version {schema}, this program wants {SCHEMA}; use the program that made "
                "them, or another database"
            )
        return
    metadata.create_all(found)
    found.execute(sa.insert(meta).values(one=1, schema=SCHEMA, epoch=1))
    found.execute(sa.insert(installed).values(task="", number=0, count=0))
    found.execute(sa.insert(counting).values(one=1, counter=0, clock="", offset=0))


@contextmanager
def _meant() -> Iterator[None]:
    try:
        yield
    except _OUTSIDE as error:
        raise _failure(error) from error


def _again(error: sa.exc.SQLAlchemyError) -> bool:
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _AGAIN  # nothing of these was done


def _failure(error: sa.exc.SQLAlchemyError) -> DeployError:
    return BusyError(f"the database: {_first_line(error)}; try again, and see that it runs and has room")


def _first_line(error: BaseException) -> str:
    found = getattr(error, "orig", None) or error
    return (str(found).splitlines() or [type(found).__name__])[0][:300]


def _shown(url: str) -> str:
    try:
        return sa.make_url(url).render_as_string(hide_password=True)[:200]
    except sa.exc.ArgumentError:
        return "(no address of a database)"
