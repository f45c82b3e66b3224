"""A simulation as it goes on: live on a terminal, a line now and then elsewhere; and its figures at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Self

import click
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from walle_core.cli.common import console, si
from walle_deploy.fleet.story import Scene, Story

STEP = 0.1  # of coverage between two lines
CURVE = 200  # scenes that JSON has
_COLORS = {"running": "cyan", "paused": "yellow", "finished": "green", "rolled back": "red", "revoked": "red"}


class Show:
    """Shows scenes, as long as the context lasts; with `silent`, nothing."""

    def __init__(self, silent: bool) -> None:
        live = not silent and sys.stdout.isatty()
        self._live = Live(console=console(), refresh_per_second=4) if live else None
        self._lines, self._said = not silent and not live, (0, "", 0.0)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, scene: Scene) -> None:
        """Shows the next scene."""
        if self._live is not None:
            self._live.update(picture(scene))
        elif self._lines:
            said = (scene.stage, scene.status, scene.coverage)
            if said[:2] != self._said[:2] or abs(said[2] - self._said[2]) >= STEP:
                click.echo(line(scene))
                self._said = said


def line(scene: Scene) -> str:
    """One moment for a log."""
    return (
        f"{hours(scene.at)} ({scene.took:.1f} s)  {scene.status}, {scene.title}: {scene.coverage:.1%} of {scene.living:,} "
        f"devices; failed: {_arm(scene, 0)} of the new version, {_arm(scene, 1)} of the control; {_speed(scene)}"
    )


def picture(scene: Scene) -> Table:
    """One moment for a terminal."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    steps = "●" * scene.stage + "○" * (scene.stages - scene.stage)
    table.add_row("time", f"{hours(scene.at)}, in {scene.took:.1f} s")
    table.add_row("status", Text(scene.status, style=_COLORS.get(scene.status, "")))
    table.add_row("stage", f"{steps} {scene.title}")
    table.add_row("coverage", f"{scene.coverage:.2%} of {scene.living:,} devices")
    table.add_row("", ProgressBar(total=1.0, completed=scene.coverage, width=50))
    table.add_row("failed, new", _arm(scene, 0))
    table.add_row("failed, control", _arm(scene, 1))
    table.add_row("checks", _speed(scene))
    return table


def rows(story: Story) -> Iterator[tuple[str, str]]:
    """The figures at the end: name and value."""
    last, tally = story.last, story.last.tally
    yield "devices", f"{story.devices:,}, {last.living:,} of them are left"
    yield "release", story.line
    yield "coverage", f"{last.coverage:.2%}, at most {story.peak:.2%}"
    yield "keep the old version", f"{last.kept:,} devices, drawn as the control of the last stage"
    yield "time", f"{hours(last.at)}, in {last.took:.1f} s"
    for name, arm in (("failed, new version", 0), ("failed, control", 1)):
        yield name, _arm(last, arm)
    yield (
        "checks by digest",
        f"{tally.digests:,}, to {tally.quiet / max(1, tally.digests):.1%} nothing was new",
    )
    yield "checks by profile", f"{tally.profiles:,}, {tally.answers:,} with an answer"
    yield "signatures verified", f"{story.verified:,}"
    yield "reports taken", f"{tally.reports:,}"
    yield "checks per second", si(tally.checks / max(last.took, 1e-9), "")
    yield "bytes up, down", f"{si(tally.up, 'B')}, {si(tally.down, 'B')}"
    yield "per device", f"{tally.up / story.devices:.0f} B up, {tally.down / story.devices:.0f} B down"
    yield "rules", f"held for {story.judged:,} answers"
    for name, value in story.extra.items():
        yield name.replace("_", " "), str(value)


def plain(story: Story) -> dict[str, Any]:
    """The story as JSON has it."""
    last = story.last
    step = max(1, len(story.scenes) // CURVE)
    some = [*story.scenes[:-1:step], last]
    return {
        "devices": story.devices,
        "living": last.living,
        "status": last.status,
        "line": story.line,
        "done": story.done,
        "coverage": last.coverage,
        "peak": story.peak,
        "kept": last.kept,
        "hours": last.at / 3600,
        "seconds": last.took,
        "tally": {
            name: getattr(last.tally, name) for name in last.tally.__slots__ if not name.startswith("_")
        },
        "judged": story.judged,
        "verified": story.verified,
        **story.extra,
        "curve": [
            {
                "hours": scene.at / 3600,
                "coverage": scene.coverage,
                "stage": scene.title,
                "status": scene.status,
                "reports": scene.reports,
                "failed": scene.failed,
            }
            for scene in some
        ],
    }


def hours(seconds: float) -> str:
    """3725 -> "1:02 h"."""
    minutes = int(seconds // 60)
    return (
        f"{minutes // 60}:{minutes % 60:02} h" if minutes >= 60 else f"{minutes}:{int(seconds % 60):02} min"
    )


def _arm(scene: Scene, arm: int) -> str:
    reports, failed = scene.reports[arm], scene.failed[arm]
    return f"{failed:,} of {reports:,} ({failed / reports:.2%})" if reports else "no reports"


def _speed(scene: Scene) -> str:
    return f"{scene.tally.checks / max(scene.took, 1e-9):,.0f} checks/s"
