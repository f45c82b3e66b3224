"""Releases in a transaction: locked, stepped by `release.machine`, and written with all that follows.

Locks are taken in the order versions, releases, devices, installed, tasks, meta, and rows of a table by their keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from walle_deploy.release.events import (
    Effect,
    Finished,
    Ignored,
    Later,
    Offer,
    RolledBack,
    StageChanged,
)
from walle_deploy.release.gates import GateRegistry
from walle_deploy.release.judge import verdicts
from walle_deploy.release.machine import step
from walle_deploy.release.offers import per_minute
from walle_deploy.release.state import State, decode, encode
from walle_deploy.server.auditing import ITSELF, note, offers_changed
from walle_deploy.server.curves import Curve
from walle_deploy.server.database import Database
from walle_deploy.server.inputs import KEPT, short
from walle_deploy.server.schema import failures, releases, tasks

ACTIVE = ("running", "paused")
FAILURES = 1000  # reasons that are kept of a release
SKEW_S = 1.0  # by which workers' clocks may differ without being taken for a jump
SOONEST_S, TICK_S = 0.02, 30.0  # between two looks at a release, at least and at most
_COLUMNS = [releases.c[name] for name in releases.c.keys() if name != "plan"]  # noqa: SIM118


class Live:
    """A release whose row this transaction has locked.

    Attributes:
        row: as it was.
        state: as it is now.
        before: as it was.
        heard: reports that came, in all.
        reasons: of failures, to be kept: device, version, why.
        told: what has to be done for the steps.
    """

    def __init__(self, row: Mapping[str, Any], gates: GateRegistry | None) -> None:
        self.row, self._gates = row, gates
        self.state: State = decode(row["state"])
        self.before = self.state
        self.heard = int(row["heard"])
        self.reasons: list[tuple[str, str | None, str]] = []
        self.told: list[Effect] = []

    @property
    def id(self) -> int:
        """Of the release."""
        return int(self.row["id"])

    @property
    def task(self) -> str:
        """Whose release it is."""
        return str(self.row["task"])

    def at(self, now: float) -> float:
        """The time of an event: `now`, but not before what a worker whose clock is a little ahead has told."""
        return self.state.clock if 0 < self.state.clock - now < SKEW_S else now

    def send(self, event: Later) -> tuple[Effect, ...]:
        """Steps the release. Raises ReleaseError."""
        self.state, effects = step(self.state, event, self._gates)
        self.told += [effect for effect in effects if not isinstance(effect, Ignored | Offer)]
        return effects


def lock(
    found: Connection, where: sa.ColumnElement[bool], gates: GateRegistry | None, limit: int | None = None
) -> list[Live]:
    """Locks releases, by their ids."""
    query = sa.select(*_COLUMNS).where(where).order_by(releases.c.id).limit(limit).with_for_update()
    return [Live(dict(row), gates) for row in found.execute(query).mappings()]


def due(state: State, now: float, gates: GateRegistry) -> float:
    """When a release wants a Tick; infinite if never."""
    if state.status not in ACTIVE:
        return math.inf
    waits = [verdict.wait for _, verdict in verdicts(state, gates) if not verdict.met and verdict.wait]
    return now + max(SOONEST_S, min(TICK_S, state.plan.gap / 2, *waits))


def _next(live: Live, now: float, gates: GateRegistry) -> float:
    """When the release wants a Tick now. Reports tell it no time, so however many there are, they put it off by nothing."""
    wanted = due(live.state, now, gates)
    told = live.state.clock != live.before.clock
    return wanted if told or math.isinf(wanted) else min(wanted, float(live.row["due"]))


def save(
    found: Connection,
    database: Database,
    lives: Iterable[Live],
    now: float,
    gates: GateRegistry,
    who: str = ITSELF,
) -> set[str]:
    """Writes releases and what follows from their steps; returns the tasks of which something else is offered now.

    The caller passes these to `offers_changed` as the last thing in its transaction.
    """
    changed: set[str] = set()
    curve = Curve(found, now)
    for live in lives:
        row, state = live.row, live.state
        values: dict[str, Any] = {
            "state": encode(state),
            "status": state.status,
            "revision": row["revision"] + 1,
            "changed": now,
            "due": _next(live, now, gates),
            "heard": live.heard,
            "failed": row["failed"] + _keep_reasons(found, database, live, now),
            **curve.point(live.id, live.task, row, state),
        }
        found.execute(sa.update(releases).where(releases.c.id == live.id).values(values))
        _tell(found, live, now, who)
        if (live.before.status, live.before.stage) != (state.status, state.stage):
            changed.add(live.task)
    return changed


def change(
    found: Connection,
    database: Database,
    lives: Iterable[Live],
    now: float,
    gates: GateRegistry,
    who: str = ITSELF,
) -> None:
    """`save`, for a transaction that changes nothing else."""
    offers_changed(found, save(found, database, lives, now, gates, who))


def _tell(found: Connection, live: Live, now: float, who: str) -> None:
    state, what = live.state, f"release/{live.id}"
    for effect in live.told:
        if isinstance(effect, StageChanged):
            note(found, now, ITSELF, "stage", what, f"{effect.number + 1}: {effect.title}")
        elif isinstance(effect, RolledBack):
            note(found, now, who, state.status, what, effect.why)
        elif isinstance(effect, Finished):
            note(found, now, ITSELF, "finished", what, f"{state.version} is stable")
    mine = sa.update(tasks).where(tasks.c.name == live.task)
    if any(isinstance(effect, Finished) for effect in live.told):
        limited = per_minute(state.current) is not None
        found.execute(mine.values(stable=live.row["version"], release=live.id if limited else None))
    if any(isinstance(effect, RolledBack) for effect in live.told):
        found.execute(mine.where(tasks.c.release == live.id).values(release=None))


def _keep_reasons(found: Connection, database: Database, live: Live, now: float) -> int:
    first = int(live.row["failed"])
    rows = [
        {
            "release": live.id,
            "slot": number % FAILURES,
            "number": number,
            "at": now,
            "device": device,
            "version": version,
            "why": short(why, KEPT),
        }
        for number, (device, version, why) in enumerate(live.reasons, first + 1)
    ]
    if rows:
        statement = database.upsert(failures, ["number", "at", "device", "version", "why"])
        found.execute(statement, rows[-FAILURES:])
    return len(live.reasons)
