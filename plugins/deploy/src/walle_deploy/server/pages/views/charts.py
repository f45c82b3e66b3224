"""The curves of a release: how far it got, and how often either arm failed."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from walle_deploy.server.pages import words
from walle_deploy.server.pages.curve import Chart, Line, thinned
from walle_deploy.server.types import Point, ReleaseInfo

ROWS = 24  # of the table that says the same
ENOUGH = 30  # reports of an arm, from which on its share of failures says where the axis ends


@attrs.frozen
class TableRow:
    """One time."""

    at: float
    reached: int
    arms: tuple[tuple[int, int], tuple[int, int]]


def charts(release: ReleaseInfo, points: Sequence[Point]) -> list[Chart]:
    """Coverage, and failures of the new version and the control."""
    version = f"v{release.version}"
    marks = stage_marks(release)
    return [_coverage(release, version, points, marks), _failures(version, points, marks)]


def stage_marks(release: ReleaseInfo) -> list[tuple[float, str]]:
    """When a stage after the first began, and its number."""
    found: list[tuple[float, str]] = []
    for one in release.history:
        number = one.text.partition(":")[0]
        if one.action == "stage" and number.isdigit():
            found.append((one.at, number))
    return found


def _coverage(
    release: ReleaseInfo, version: str, points: Sequence[Point], marks: Sequence[tuple[float, str]]
) -> Chart:
    reached = [(one.at, float(one.reached)) for one in points]
    told = f"No device has told yet that it has {version}."
    if points:
        most, now = max(one.reached for one in points), release.reached
        told = f"{words.count(now)} devices have {version} now"
        told += f"; at most {words.count(most)} had it." if most > now else "."
    line = Line(f"devices with {version}", "reach", reached, steps=True)
    return Chart("coverage", "Coverage, in devices", told, [line], marks, words.compact, _times(points))


def _failures(version: str, points: Sequence[Point], marks: Sequence[tuple[float, str]]) -> Chart:
    new = [(one.at, one.treated_failed / one.treated) for one in points if one.treated]
    old = [(one.at, one.control_failed / one.control) for one in points if one.control]
    told = "No report was counted yet."
    if new or old:
        last = points[-1]
        told = f"Of {version}, {_rate(last.treated_failed, last.treated)}; of the control, {_rate(last.control_failed, last.control)}."
    settled = [one.treated_failed / one.treated for one in points if one.treated >= ENOUGH]
    settled += [one.control_failed / one.control for one in points if one.control >= ENOUGH]
    settled += [line[-1][1] for line in (new, old) if line]
    lines = [Line(version, "new", new), Line("control", "old", old)]
    most = max([*settled, 0.01]) * 1.1
    return Chart(
        "failures-curve",
        "Failed runs, in percent of all so far",
        told,
        lines,
        marks,
        words.share,
        _times(points),
        most,
    )


def _times(points: Sequence[Point]) -> tuple[float, float]:
    return (points[0].at, points[-1].at) if points else (0.0, 0.0)


def _rate(failed: int, reports: int) -> str:
    if not reports:
        return "no run was reported"
    return f"{words.count(failed)} of {words.count(reports)} runs failed ({words.share(failed / reports)})"


def table(points: Sequence[Point]) -> list[TableRow]:
    """The same in numbers, at some of the times."""
    kept = {
        at
        for at, _ in thinned([(float(number), float(one.reached)) for number, one in enumerate(points)], ROWS)
    }
    return [
        TableRow(one.at, one.reached, ((one.treated_failed, one.treated), (one.control_failed, one.control)))
        for number, one in enumerate(points)
        if number in kept
    ]
