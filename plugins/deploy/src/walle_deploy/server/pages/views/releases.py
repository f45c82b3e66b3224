"""One release: where it stands and why, how far it got, and whether it is worse than what it replaces."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from walle_deploy.release.explain import TestLine
from walle_deploy.server.pages import words
from walle_deploy.server.pages.asking import Ask, Page, whole
from walle_deploy.server.pages.views import charts
from walle_deploy.server.pages.views.acting import possible
from walle_deploy.server.pages.views.rows import line, plan_of
from walle_deploy.server.types import FailureLine

HISTORY, REASONS = 16, 8  # entries that are shown


def release(ask: Ask) -> Page:
    """GET /releases/ID."""
    found = ask.platform.release(whole(ask.path["release"], "release"))
    points = ask.platform.curve(found.id)
    plan = plan_of(ask, found)
    values = {
        "release": found,
        "version": f"v{found.version}",
        "plan": plan,
        "standing": found.standing,
        "line": line(found, ask.now),
        "actions": [action for action in possible(found) if ask.operator.may(action.right)],
        "charts": charts.charts(found, points),
        "table": charts.table(points),
        "tests": [test(one) for one in found.standing.tests],
        "reasons": reasons(found.failures),
        "history": found.history[-HISTORY:][::-1],
        "earlier": max(0, len(found.history) - HISTORY),
    }
    return Page("release.html", values, live=f"release={found.id}")


def reasons(failures: Sequence[FailureLine]) -> list[tuple[int, str, str]]:
    """The most frequent reasons: how often, which, and a device that had it."""
    device: dict[str, str] = {}
    for one in failures:
        device.setdefault(one.why, one.device)
    counted = Counter(one.why for one in failures)
    return [(times, why, device[why]) for why, times in counted.most_common(REASONS)]


def test(one: TestLine) -> dict[str, object]:
    """A comparison as a row of the table."""
    limit = 1 / one.alpha
    rate = one.name == "failures"
    low, high = words.number(one.low), words.number(one.high)
    return {
        "name": one.name,
        "treatment": _arm(*one.treatment, rate=rate),
        "control": _arm(*one.control, rate=rate),
        "e_value": words.number(one.e_value),
        "limit": words.number(limit),
        "part": f"{_part(one.e_value, limit):.3f}",
        "reached": one.p_value <= one.alpha,
        "p_value": words.number(one.p_value, 2),
        "interval": f"{low} to {high} times the odds" if rate else f"worse by {low} to {high}",
    }


def _part(e_value: float, limit: float) -> float:
    """How far the evidence is on its way from 1 to the limit; it grows by factors."""
    return min(max(math.log(max(e_value, 1.0)) / math.log(limit), 0.0), 1.0)


def _arm(reports: int, value: float, *, rate: bool) -> str:
    if not reports:
        return "no reports"
    if rate:
        return f"{words.count(value)} of {words.count(reports)} ({words.share(value / reports)})"
    return f"{words.number(value, 4)} in {words.count(reports)} reports"
