"""A release to a fleet in one process, hours in seconds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from walle_deploy.fleet.court import Court
from walle_deploy.fleet.direct import Direct
from walle_deploy.fleet.fleet import Fleet, Nature
from walle_deploy.fleet.habits import HOUR
from walle_deploy.fleet.own import NEW, TASK, Clock, moment, own_platform
from walle_deploy.fleet.population import Population
from walle_deploy.fleet.story import Scene, Story
from walle_deploy.memory import settled

STEP_S = 30.0  # of the simulated clock
BEGIN = 1_800_000_000.0


def simulate(
    population: Population,
    nature: Nature,
    plan: Mapping[str, Any],
    *,
    hours: float = 6.0,
    until: float = 0.99,
    step: float = STEP_S,
    folder: Path | None = None,
    on_scene: Callable[[Scene], object] = lambda _scene: None,
    asked: Callable[[Any], Mapping[str, Any]] = lambda _platform: {},
) -> Story:
    """Releases a version to devices until it is everywhere, is rolled back everywhere, or time is over.

    Args:
        population: the devices.
        nature: what they are like.
        plan: of the release.
        hours: simulated ones after which it ends.
        until: share of the devices that shall have the version.
        step: seconds by which the clock goes on.
        folder: for the database; None: one that is gone afterwards.
        on_scene: called after each step.
        asked: called with the platform at the end; what it returns becomes `Story.extra`.

    Raises:
        BrokenRuleError: a device was told what it may not be told.
        DeployError: the plan cannot work.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="walle-fleet-") as made:
            return simulate(population, nature, plan, hours=hours, until=until, step=step, folder=Path(made),
                            on_scene=on_scene, asked=asked)  # fmt: skip
    clock, began = Clock(BEGIN), time.perf_counter()
    with own_platform(folder, plan, clock, lease=60.0) as own, settled():
        court = Court(own.rules(population))
        fleet = Fleet(population, nature, own.director, court, step)
        direct, scenes, at = Direct(own.platform, clock, fleet), [], 0.0
        court.look(at, moment(own.look()))
        while at < hours * HOUR:
            at += step
            direct.advance(at)
            found = own.look()
            court.look(at, moment(found))
            took, having = time.perf_counter() - began, fleet.having(TASK, f"v{NEW}")
            scenes.append(Scene.of(at, took, found.standing, fleet.living, having, fleet.kept, fleet.tally))
            on_scene(scenes[-1])
            if scenes[-1].done(until):
                break
        heard = fleet.devices.heard
        return Story(
            len(population),
            scenes,
            found.standing.line,
            scenes[-1].done(until),
            court.rules.judged,
            heard.answers,
            heard.verified,
            dict(asked(own.platform)),
        )
