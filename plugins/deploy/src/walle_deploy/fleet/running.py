"""A fleet at a server in the caller's thread: for demonstrations and tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import attrs

from walle_deploy.fleet.fleet import Fleet, Nature, Tally
from walle_deploy.fleet.habits import Habits
from walle_deploy.fleet.load import Load, Way
from walle_deploy.fleet.mail import Post
from walle_deploy.fleet.outcomes import Shares
from walle_deploy.fleet.population import PREFIX, Population

STEP_S = 0.2  # between arrivals of reports


@attrs.frozen
class Now:
    """What a fleet does.

    Attributes:
        tally: what was done so far.
        installed: task -> version -> devices that have it.
    """

    tally: Tally
    installed: Mapping[str, Mapping[str, int]]


def run_fleet(
    server: str,
    enrol: str,
    devices: int = 200,
    versions: Shares | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[Now], object] = lambda _now: None,
    *,
    every: float = 1.0,
    start: Mapping[str, str] | None = None,
    reporting: float = 1.0,
    again: float = 1.0,
    seed: int = 0,
    prefix: str = PREFIX,
) -> Now:
    """Lets devices register, ask, install, run and report until `stop` is set. Blocks; any thread may call it.

    Args:
        server: its URL.
        enrol: enrolment secret.
        devices: how many.
        versions: ``v2``, or ``task v2`` -> share of runs that fails; 1 % for those that are not named.
        stop: ends it; None: it never ends by itself.
        on_progress: called twice a second, in this thread.
        every: seconds between two checks of a device, on average.
        start: task -> version that devices have at the beginning; nothing, if None.
        reporting: share of devices that report the first run of what they have installed,
        again: and this share of later ones.
        seed: which devices they are, and how their runs go.
        prefix: of their ids.

    Raises:
        FleetError: the server is not there, or refuses what devices send.
        BrokenRuleError: a device got an answer that is not for it, or older than one before.
    """
    nature = Nature(
        seed=seed,
        start=start or {},
        failing=versions or {},
        habits=Habits.eager(every),
        post=Post(late=0.02, late_s=10.0 * every, twice=0.02),
        reporting=reporting,
        again=again,
        install_s=(0.1 * every, 0.5 * every),
    )
    fleet = Fleet(Population(devices, seed, prefix), nature, step=STEP_S)
    load = Load(fleet, Way(url=server, enrol=enrol, connections=min(8, devices)))
    run_load(load, stop or threading.Event(), lambda _load: on_progress(now(fleet)))
    return now(fleet)


def run_load(load: Load, stop: threading.Event, on_progress: Callable[[Load], object]) -> None:
    """Runs a load on an event loop of its own."""
    loops: Any
    try:
        loops = import_module("uvloop")
    except ImportError:
        loops = asyncio
    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(load.run(stop, on_progress))


def now(fleet: Fleet) -> Now:
    """What a fleet does now."""
    counts = fleet.devices.counts()
    installed: dict[str, dict[str, int]] = {}
    for tasks, number in zip(fleet.devices.sets, counts, strict=True):
        for task, version in tasks.items():
            mine = installed.setdefault(task, {})
            mine[version] = mine.get(version, 0) + number
    return Now(attrs.evolve(fleet.tally), installed)
