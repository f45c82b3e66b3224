"""Releases as lists show them."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from walle_deploy.release.plan import Plan, plan_from
from walle_deploy.server.pages import words
from walle_deploy.server.pages.asking import Ask
from walle_deploy.server.types import ReleaseInfo

UNDER_WAY = ("running", "paused")


@attrs.frozen
class Row:
    """A release in a list; `plan` only where the list has room for its stages."""

    id: int
    task: str
    version: str
    status: str
    line: str
    changed: float
    reached: int
    stage: int
    plan: Plan | None = None


def rows(ask: Ask, releases: Iterable[ReleaseInfo]) -> list[Row]:
    """As lists show them."""
    return [row(ask, release) for release in releases]


def row(ask: Ask, release: ReleaseInfo) -> Row:
    """One of them."""
    plan = None if release.plan is None else plan_of(ask, release)
    stage = release.standing.stage - 1
    return Row(
        release.id, release.task, f"v{release.version}", release.status, line(release, ask.now), release.changed,
        release.reached, stage, plan,
    )  # fmt: skip


def plan_of(ask: Ask, release: ReleaseInfo) -> Plan:
    """The plan of a release that was asked for by its id."""
    return plan_from(release.plan or {}, ask.gates)


def line(release: ReleaseInfo, now: float) -> str:
    """Where the release stands, with a time that people can read."""
    standing = release.standing
    if standing.next_at is None:
        return standing.line
    ending = f"; next stage at {standing.next_at:.0f} or later"
    told = standing.line.removesuffix(ending)
    if told == standing.line:
        return told
    left = standing.next_at - now
    return f"{told}; next stage {f'in {words.span(left)}' if left >= 1 else 'now'} or later"
