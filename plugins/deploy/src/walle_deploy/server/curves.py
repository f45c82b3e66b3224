"""The curve of a release: at most one point a second of activity, and the older the fewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from walle_deploy.release.state import State
from walle_deploy.server.schema import installed, points

POINTS = 2000  # of one release
EVERY_S = 1.0
_VALUES = ("reached", "treated", "treated_failed", "control", "control_failed")


class Curve:
    """Adds points in a transaction."""

    def __init__(self, found: Connection, now: float) -> None:
        self._found, self._now = found, now

    def point(self, release: int, task: str, row: Mapping[str, Any], state: State) -> dict[str, Any]:
        """Adds one if there is something to show; returns what the row of the release says of its points then."""
        if 0 <= self._now - row["pointed"] < EVERY_S and state.status == row["status"]:
            return {}
        test = state.failures
        counts = (test.treatment.reports, test.treatment.failed, test.control.reports, test.control.failed)
        values = dict(zip(_VALUES, (self._reached(task, row["version"]), *counts), strict=True), at=self._now)
        if row["points"] and self._last(release, row["point"]) == tuple(values[name] for name in _VALUES):
            return {"pointed": self._now}
        number, left, step = row["point"] + 1, row["points"] + 1, row["step"]
        self._found.execute(sa.insert(points).values(release=release, number=number, **values))
        if left >= POINTS:
            step *= 2
            left -= self._thin(release, number, step)
        return {"point": number, "points": left, "pointed": self._now, "step": step}

    def _reached(self, task: str, version: int) -> int:
        query = sa.select(installed.c.count).where(installed.c.task == task, installed.c.number == version)
        return max(0, self._found.execute(query).scalar() or 0)

    def _last(self, release: int, number: int) -> tuple[int, ...]:
        query = sa.select(*(points.c[name] for name in _VALUES))
        row = self._found.execute(
            query.where(points.c.release == release, points.c.number == number)
        ).one_or_none()
        return () if row is None else tuple(row)

    def _thin(self, release: int, last: int, step: int) -> int:
        old = (points.c.release == release) & (points.c.number < last) & (points.c.number % step != 0)
        return self._found.execute(sa.delete(points).where(old)).rowcount
