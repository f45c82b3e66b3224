"""What the cloud's side keeps: how far each device's samples are answered, the answers, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects import postgresql

from walle_deploy.cloud.values import CloudAnswer
from walle_deploy.cloud.work import Outcome
from walle_deploy.errors import CloudError
from walle_deploy.server.database import Database, engines

SCHEMA = 1
LOCK = 0x57414C4C46  # PostgreSQL's advisory lock: answers get their numbers in the order in which they can be seen
DAY_S = 86_400
PAGE = 500  # keys of one statement

metadata = MetaData()
_Big = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows of INTEGER keys only
_Float = Float(53)
_Key = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

_meta = Table(
    "cloud_meta",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("schema", Integer, nullable=False),
    Column("told", BigInteger, nullable=False),  # number of the last answer that the application was told of
)
_positions = Table(
    "cloud_positions",
    metadata,
    Column("stream", _Key, primary_key=True),
    Column("device", _Key, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)
_attempts = Table(
    "cloud_attempts",  # samples that a model was given, and of which nothing has come yet
    metadata,
    Column("stream", _Key, primary_key=True),
    Column("device", _Key, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
)
_answers = Table(
    "cloud_answers",
    metadata,
    Column("number", _Big, primary_key=True),
    Column("device", _Key, nullable=False),
    Column("stream", _Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("task", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("received", _Float, nullable=False),
    Column("answered", _Float, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("why", Text, nullable=False),
    Index("cloud_answers_once", "device", "stream", "seq", unique=True),
    Index("cloud_answers_of_device", "device", "number"),
    Index("cloud_answers_by_time", "answered"),
    sqlite_autoincrement=True,  # a number is never used twice, also after answers were deleted
)
counts = Table(
    "cloud_counts",
    metadata,
    Column("task", _Key, primary_key=True),
    Column("version", _Key, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # since 1970
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("runs", "unsure", "samples", "aside", "bytes_up", "bytes_down")
    ),
    *(Column(name, _Float, nullable=False) for name in ("ms", "cpu_ms")),
)
_COUNTED = ("runs", "unsure", "samples", "aside", "bytes_up", "bytes_down", "ms", "cpu_ms")
Key = tuple[str, int]  # device, seq; of one stream


class CloudStore:
    """A database, SQLite or PostgreSQL; see `open`. Every method is one transaction, durable when it returns.

    They may be called from any thread, and raise DeployError: BusyError if it is to be tried again.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        try:
            database.write(self._create)
        except BaseException:
            database.close()
            raise

    @classmethod
    def open(cls, url: str, clock: Callable[[], float] = time.time) -> Self:
        """Opens a database, ``sqlite:///path`` or ``postgresql://…``, which may be the deployment server's."""
        try:
            return cls(Database(*engines(url)), clock)
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise CloudError(f"the cloud's database cannot be opened: {first[:300]}") from error

    def _create(self, found: sa.Connection) -> None:
        self._lock(found)
        if sa.inspect(found).has_table(_meta.name):
            schema = found.execute(sa.select(_meta.c.schema)).scalar_one()
            if schema != SCHEMA:
                raise CloudError(
                    f"the cloud's tables have version {schema}, this program wants {SCHEMA}; update it"
                )
            return
        metadata.create_all(found)
        found.execute(sa.insert(_meta).values(one=1, schema=SCHEMA, told=0))

    def _lock(self, found: sa.Connection) -> None:
        if self._database.postgres:
            found.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))

    def close(self) -> None:
        """Closes all connections."""
        self._database.close()

    # samples

    def positions(self, stream: str) -> dict[str, int]:
        """Device -> seq up to which its samples are dealt with."""
        wanted = sa.select(_positions.c.device, _positions.c.seq).where(_positions.c.stream == stream)
        with self._database.read() as found:
            return {device: seq for device, seq in found.execute(wanted)}

    def begin(self, stream: str, keys: Sequence[Key]) -> dict[Key, int]:
        """Those that nothing has come of, and how often they were begun before; they are now begun once more."""

        def begun(found: sa.Connection) -> dict[Key, int]:
            done = self._among(found, _answers, (_answers.c.device, _answers.c.seq), stream, keys)
            new = [key for key in dict.fromkeys(keys) if key not in done]
            columns = (_attempts.c.device, _attempts.c.seq, _attempts.c.count)
            before = self._among(found, _attempts, columns, stream, new)
            if new:
                rows = [{"stream": stream, "device": device, "seq": seq, "count": 1} for device, seq in new]
                found.execute(self._database.upsert(_attempts, (), ("count",)), rows)
            return {key: before.get(key, (0,))[0] for key in new}

        return self._database.write(begun)

    def again(self, stream: str, keys: Sequence[Key]) -> None:
        """What was begun was given up for no fault of the samples."""

        def undone(found: sa.Connection) -> None:
            for part in _parts(keys):
                found.execute(sa.delete(_attempts).where(_attempts.c.stream == stream, _in(_attempts, part)))

        self._database.write(undone)

    def finish(
        self,
        stream: str,
        outcomes: Mapping[Key, tuple[Outcome, int, float]],
        positions: Mapping[str, int],
    ) -> None:
        """Keeps what came of samples, and how far the devices' are dealt with.

        Args:
            stream: of all of them.
            outcomes: (device, seq) -> outcome, bytes of the sample, and when it was received.
            positions: device -> seq.
        """
        now = self._clock()

        def finished(found: sa.Connection) -> None:
            self._lock(found)
            rows = [
                {
                    "device": device, "stream": stream, "seq": seq, "task": made.task, "version": made.version,
                    "run": made.run, "time": made.time, "received": received, "answered": now, "ok": made.ok,
                    "answer": made.answer, "why": made.why,
                }
                for (device, seq), (made, _, received) in outcomes.items()
            ]  # fmt: skip
            if rows:
                insert = self._database._insert(_answers).on_conflict_do_nothing(
                    index_elements=["device", "stream", "seq"]
                )
                kept = found.execute(insert.returning(_answers.c.device, _answers.c.seq), rows).all()
                self._count(found, [outcomes[device, seq] for device, seq in kept], int(now // DAY_S))
            if positions:
                raised = [
                    {"stream": stream, "device": device, "seq": seq} for device, seq in positions.items()
                ]
                found.execute(self._database.upsert(_positions, ("seq",)), raised)
            for part in _parts(list(outcomes)):
                found.execute(sa.delete(_attempts).where(_attempts.c.stream == stream, _in(_attempts, part)))

        self._database.write(finished)

    def _count(self, found: sa.Connection, kept: Iterable[tuple[Outcome, int, float]], day: int) -> None:
        added: dict[tuple[str, str], dict[str, float]] = {}
        for made, size, _ in kept:
            row = added.setdefault((made.task, made.version), dict.fromkeys(_COUNTED, 0))
            for name, value in (
                ("samples", 1), ("aside", not made.ok), ("bytes_up", size), ("bytes_down", len(made.answer)),
                ("ms", made.ms), ("cpu_ms", made.cpu_ms),
            ):  # fmt: skip
                row[name] += value
        self._add(found, added, day)

    def _add(
        self, found: sa.Connection, added: Mapping[tuple[str, str], Mapping[str, float]], day: int
    ) -> None:
        if added:
            rows = [
                {"task": task, "version": version, "day": day, **row}
                for (task, version), row in added.items()
            ]
            found.execute(self._database.upsert(counts, (), _COUNTED), rows)

    def count_runs(
        self, stream: str, runs: Mapping[tuple[str, str], tuple[int, int]], positions: Mapping[str, int]
    ) -> None:
        """Adds runs on devices by (task, version): all, and those that were not confident. `positions` as in `finish`."""
        day = int(self._clock() // DAY_S)
        zero = dict.fromkeys(_COUNTED, 0)
        added = {key: zero | {"runs": number, "unsure": unsure} for key, (number, unsure) in runs.items()}

        def counted(found: sa.Connection) -> None:
            self._add(found, added, day)
            if positions:
                raised = [
                    {"stream": stream, "device": device, "seq": seq} for device, seq in positions.items()
                ]
                found.execute(self._database.upsert(_positions, ("seq",)), raised)

        self._database.write(counted)

    # answers

    def answers(
        self, device: str | None = None, since: int = 0, limit: int = 256, most_bytes: int = 1 << 20
    ) -> list[CloudAnswer]:
        """Answers with higher numbers than `since`, in order: to one device, or to all. At least one, if there is any."""
        wanted = sa.select(_answers).where(_answers.c.number > since).order_by(_answers.c.number).limit(limit)
        if device is not None:
            wanted = wanted.where(_answers.c.device == device)
        made: list[CloudAnswer] = []
        with self._database.read() as found:
            for row in found.execute(wanted):
                most_bytes -= len(row.answer) + len(row.why) + 200
                if most_bytes < 0 and made:
                    break
                made.append(CloudAnswer(**row._mapping))
        return made

    def told(self) -> int:
        """Number of the last answer that the application was told of."""
        with self._database.read() as found:
            return int(found.execute(sa.select(_meta.c.told)).scalar_one())

    def tell(self, number: int) -> None:
        """The application was told of all answers up to this one."""
        self._database.write(lambda found: found.execute(sa.update(_meta).values(told=number)))

    def forget(self, before: float) -> int:
        """Deletes answers that were made before a time, in Unix seconds; how many. What they cost stays counted."""
        gone = sa.delete(_answers).where(_answers.c.answered < before)
        return int(self._database.write(lambda found: found.execute(gone).rowcount))

    def counted(self, first_day: int = 0) -> list[Any]:
        """Rows of `counts` from a day on (days since 1970), added up by task and version."""
        sums = [sa.func.sum(counts.c[name]).label(name) for name in _COUNTED]
        wanted = (
            sa.select(counts.c.task, counts.c.version, *sums)
            .where(counts.c.day >= first_day)
            .group_by(counts.c.task, counts.c.version)
            .order_by(counts.c.task, counts.c.version)
        )
        with self._database.read() as found:
            return list(found.execute(wanted))

    @staticmethod
    def _among(
        found: sa.Connection, table: Table, columns: Sequence[Any], stream: str, keys: Sequence[Key]
    ) -> dict[Key, tuple[Any, ...]]:
        made: dict[Key, tuple[Any, ...]] = {}
        for part in _parts(keys):
            wanted = sa.select(*columns).where(table.c.stream == stream, _in(table, part))
            made |= {(row[0], row[1]): tuple(row[2:]) for row in found.execute(wanted)}
        return made


def _in(table: Table, keys: Sequence[Key]) -> Any:
    return sa.tuple_(table.c.device, table.c.seq).in_(list(keys))


def _parts(keys: Sequence[Key]) -> Iterable[Sequence[Key]]:
    return (keys[at : at + PAGE] for at in range(0, len(keys), PAGE))
