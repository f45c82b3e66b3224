"""PostgreSQL as the server's sink; needs the extra `postgres`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from walle_core.errors import InputError
from walle_pipeline.errors import StoreError
from walle_pipeline.tunnel.contract import Record

if TYPE_CHECKING:
    from psycopg import AsyncConnection

T = TypeVar("T")

PAGE = 256  # records that `records` reads at once
VERSION = 1
_LOCK = 7_743_153  # of the schema's creation; any number that nobody else takes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS walle_records (
    device text COLLATE "C" NOT NULL, stream text COLLATE "C" NOT NULL, seq bigint NOT NULL, payload bytea NOT NULL,
    received double precision NOT NULL, PRIMARY KEY (device, stream, seq));
CREATE TABLE IF NOT EXISTS walle_high_water (
    device text COLLATE "C" NOT NULL, stream text COLLATE "C" NOT NULL, seq bigint NOT NULL,
    PRIMARY KEY (device, stream));
CREATE INDEX IF NOT EXISTS walle_high_water_stream ON walle_high_water (stream);
CREATE TABLE IF NOT EXISTS walle_schema (version integer PRIMARY KEY);
INSERT INTO walle_schema SELECT {version} WHERE NOT EXISTS (SELECT FROM walle_schema);
"""
# Locks the high waters in one order, so that writers of the same streams wait for each other and never in a circle.
_LOCK_MARKS = """
INSERT INTO walle_high_water AS high (device, stream, seq)
SELECT device, stream, 0 FROM unnest(%s::text[], %s::text[]) AS given (device, stream)
ORDER BY device COLLATE "C", stream COLLATE "C"
ON CONFLICT (device, stream) DO UPDATE SET seq = high.seq RETURNING device, stream, seq
"""
_INSERT = """
INSERT INTO walle_records (device, stream, seq, payload, received)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bytea[], %s::double precision[])
ON CONFLICT DO NOTHING
"""
_RAISE_MARKS = """
UPDATE walle_high_water AS high SET seq = given.seq
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS given (device, stream, seq)
WHERE high.device = given.device AND high.stream = given.stream
"""
_READ = """
SELECT r.device, r.stream, r.seq, r.payload, r.received
FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS span (device, after, upto)
CROSS JOIN LATERAL (
    SELECT * FROM walle_records WHERE device = span.device AND stream = %s AND seq > span.after AND seq <= span.upto
    ORDER BY seq LIMIT %s) AS r
"""


class PostgresSink:
    """Stores records in the tables ``walle_records`` and ``walle_high_water``; see `contract.Sink`.

    Several servers may write at the same time. The high water is raised in the transaction that stores the records, so
    consumers may delete records they are done with. A record that leaves a gap is refused with StoreError.

    Durable as far as the server's ``synchronous_commit`` is on, which is its default. A lost connection is opened again
    by the next call. `connections` is how many are used at the same time; `timeout` in seconds, for connecting and for
    every statement.
    """

    name = "postgres"

    def __init__(self, conninfo: str, *, connections: int = 4, timeout: float = 10.0) -> None:
        """`conninfo`: a ``postgresql://`` URL or ``key=value`` words. Raises InputError."""
        if connections < 1 or timeout <= 0:
            raise InputError(f"connections {connections}, timeout {timeout}: must be positive")
        self._conninfo, self._size, self._timeout = conninfo, connections, timeout
        self._free: asyncio.LifoQueue[AsyncConnection[Any] | None] | None = None

    async def open(self) -> None:
        """See `contract.Sink`."""
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise StoreError("psycopg is not installed: pip install 'walle-pipeline[postgres]'") from error
        self._free = asyncio.LifoQueue()
        for _ in range(self._size):
            self._free.put_nowait(None)
        try:
            await self._call(self._prepare)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See `contract.Sink`. Waits for calls in progress."""
        free, self._free = self._free, None
        if free is not None:
            for _ in range(self._size):
                db = await free.get()
                if db is not None:
                    await db.close()

    async def write(self, records: Sequence[Record]) -> None:
        """See `contract.Sink`. One transaction, three statements whatever the number of records."""
        if records:
            await self._call(lambda db: self._write(db, records))

    async def high_water(self, device: str) -> Mapping[str, int]:
        """See `contract.Sink`."""

        async def read(db: AsyncConnection[Any]) -> dict[str, int]:
            query = "SELECT stream, seq FROM walle_high_water WHERE device = %s AND seq > 0"
            return dict(await (await db.execute(query, (device,))).fetchall())

        return await self._call(read)

    async def marks(self, stream: str) -> Mapping[str, int]:
        """See `contract.Followed`; it is read each time."""

        async def read(db: AsyncConnection[Any]) -> dict[str, int]:
            query = "SELECT device, seq FROM walle_high_water WHERE stream = %s AND seq > 0"
            return dict(await (await db.execute(query, (stream,))).fetchall())

        return await self._call(read)

    async def read(
        self, stream: str, spans: Sequence[tuple[str, int, int]], each: int = 64
    ) -> Sequence[Record]:
        """See `contract.Followed`."""
        columns = [[span[n] for span in spans] for n in range(3)]

        async def read(db: AsyncConnection[Any]) -> list[tuple[Any, ...]]:
            return await (await db.execute(_READ, (*columns, stream, each), binary=True)).fetchall()

        return [Record(row[0], row[1], row[2], bytes(row[3]), row[4]) for row in await self._call(read)]

    async def records(self, device: str | None = None, stream: str | None = None) -> AsyncIterator[Record]:
        """See `contract.Sink`. What is written meanwhile may or may not come."""
        query = (
            "SELECT device, stream, seq, payload, received FROM walle_records WHERE (device, stream, seq) > (%s, %s, %s) "
            "AND (%s::text IS NULL OR device = %s) AND (%s::text IS NULL OR stream = %s) "
            "ORDER BY device, stream, seq LIMIT %s"
        )
        last: tuple[str, str, int] = (device or "", "", -1)
        while True:
            values = (*last, device, device, stream, stream, PAGE)

            async def read(
                db: AsyncConnection[Any], values: tuple[Any, ...] = values
            ) -> list[tuple[Any, ...]]:
                return await (await db.execute(query, values, binary=True)).fetchall()

            page = await self._call(read)
            for row in page:
                yield Record(row[0], row[1], row[2], bytes(row[3]), row[4])
            if len(page) < PAGE:
                return
            last = page[-1][0], page[-1][1], page[-1][2]

    async def _prepare(self, db: AsyncConnection[Any]) -> None:
        async with db.transaction():
            await db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await db.execute(_SCHEMA.format(version=VERSION).encode())
            (version,) = (await (await db.execute("SELECT max(version) FROM walle_schema")).fetchone()) or (
                0,
            )
            if version > VERSION:
                raise StoreError(
                    f"PostgreSQL: the tables have version {version}, this program knows {VERSION}: update it, or use "
                    "another database"
                )

    async def _write(self, db: AsyncConnection[Any], records: Sequence[Record]) -> None:
        by_stream: dict[tuple[str, str], dict[int, Record]] = {}
        for record in records:
            by_stream.setdefault((record.device, record.stream), {}).setdefault(record.seq, record)
        names = sorted(by_stream)
        async with db.transaction():
            cursor = await db.execute(_LOCK_MARKS, ([n[0] for n in names], [n[1] for n in names]))
            marks = {(device, stream): seq for device, stream, seq in await cursor.fetchall()}
            new: list[Record] = []
            raised: list[tuple[str, str, int]] = []
            for name in names:
                last = marks[name]
                for seq in sorted(seq for seq in by_stream[name] if seq > marks[name]):
                    if seq != last + 1:
                        raise StoreError(f"{name[0]}/{name[1]}: seq {seq} leaves a gap after {last}")
                    new.append(by_stream[name][seq])
                    last = seq
                if last > marks[name]:
                    raised.append((*name, last))
            if not new:
                return
            async with db.pipeline():
                await db.execute(
                    _INSERT,
                    (
                        [r.device for r in new],
                        [r.stream for r in new],
                        [r.seq for r in new],
                        [r.payload for r in new],
                        [r.received for r in new],
                    ),
                )
                await db.execute(
                    _RAISE_MARKS, ([r[0] for r in raised], [r[1] for r in raised], [r[2] for r in raised])
                )

    async def _call(self, work: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
        """The result of `work` with a connection. Raises StoreError for all that psycopg raises."""
        import psycopg

        free = self._free
        if free is None:
            raise StoreError("the PostgreSQL sink is not open")
        db = await free.get()
        good = False
        try:
            if db is None or db.closed:
                db = await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True, connect_timeout=max(2, round(self._timeout))
                )
                await db.execute(f"SET statement_timeout = {round(self._timeout * 1000)}".encode())
            result = await asyncio.wait_for(work(db), self._timeout * 2)
            good = True
        except StoreError:
            good = True
            raise
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise StoreError(f"PostgreSQL: {str(error).strip() or type(error).__name__}") from error
        finally:
            if not good and db is not None:
                await db.close()
                db = None
            free.put_nowait(db)
        return result
