"""A release at a server, and a fleet that asks it through sockets."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from walle_deploy.client.api import DeployClient
from walle_deploy.fleet.crowd import Crowd, split
from walle_deploy.fleet.errors import FleetError
from walle_deploy.fleet.fleet import Nature
from walle_deploy.fleet.load import Way
from walle_deploy.fleet.own import moment
from walle_deploy.fleet.population import PREFIX
from walle_deploy.fleet.story import Scene, Story
from walle_deploy.fleet.worker import Part, Status
from walle_deploy.server.types import ReleaseInfo
from walle_deploy.trust.answer import Director

LOOK_S = 0.5
BEGIN_S = 60.0  # for all processes to make their devices


@attrs.frozen(kw_only=True)
class Aim:
    """What is released at the server.

    Attributes:
        task: that is released.
        version: of it, released by `plan`; None: the release that goes on is followed.
        plan: stages and gates.
    """

    task: str
    version: int | None = None
    plan: Mapping[str, Any] | None = None


def simulate_at(
    client: DeployClient,
    aim: Aim,
    size: int,
    nature: Nature,
    way: Way,
    *,
    workers: int = 1,
    seconds: float = 600.0,
    until: float = 0.99,
    step: float = 1.0,
    prefix: str = PREFIX,
    director: Director | None = None,
    on_scene: Callable[[Scene], object] = lambda _scene: None,
) -> Story:
    """Lets devices ask a server until a version is everywhere, is rolled back everywhere, or time is over.

    Args:
        client: of the server, with an operator's token; it approves nothing.
        aim: what is released.
        size: devices.
        nature: what they are like; what they have at the beginning is the task's stable version, if it says nothing.
        way: how they ask.
        workers: processes.
        seconds: real ones, from when all processes are ready.
        until: share of the devices that shall have the version.
        step: seconds of the fleet between two arrivals of reports.
        prefix: of ids.
        director: who signs answers; None: devices believe all.
        on_scene: called after each look.

    Raises FleetError, BrokenRuleError, ServerError.
    """
    task = client.task(aim.task)
    if not nature.start and task.stable is not None:
        nature = attrs.evolve(nature, start={aim.task: f"v{task.stable}"})
    release = client.release(_release(client, aim))
    version, plan = f"v{release.version}", release.plan
    segments = {name: client.segment(name) for name in _segments(plan)}
    whole = Part(
        size=size,
        first=0,
        last=size,
        prefix=prefix,
        nature=nature,
        way=way,
        task=aim.task,
        version=version,
        previous=None if release.previous is None else f"v{release.previous}",
        plan=plan,
        segments=segments,
        director=[] if director is None else [key.raw for key in director.keys],
        epoch=0 if director is None else director.epoch,
        step=step,
    )
    parts = [msgspec.structs.replace(whole, first=first, last=last) for first, last in split(size, workers)]
    scenes: list[Scene] = []
    with Crowd(parts) as crowd:
        _wait(crowd)
        began = time.time()
        crowd.look(began, moment(client.release(release.id)))
        while not scenes or (scenes[-1].took < seconds and not scenes[-1].done(until)):
            time.sleep(LOOK_S)
            asked, release = time.time(), client.release(release.id)
            crowd.look(asked, moment(release))
            if (found := crowd.status()) is not None:
                scenes.append(_scene(release, found, time.time() - began, way.speed))
                on_scene(scenes[-1])
        release = client.release(release.id)
        crowd.look(time.time(), moment(release))
        time.sleep(2 * LOOK_S)
        crowd.end()
        found = crowd.status()
        assert found is not None
        # the last scene has what came after the last look too
        scenes.append(_scene(release, found, time.time() - began, way.speed))
        on_scene(scenes[-1])
    return Story(
        size, scenes, release.standing.line, scenes[-1].done(until), found.judged, found.tally.answers, found.verified,
        {"delay_ms": list(found.delays), "not judged": found.waiting},
    )  # fmt: skip


def director_of(url: str) -> Director:
    """The director that a server's root metadata names: believed as it comes, as there is no device that was made with it.

    Raises FleetError.
    """
    address = f"{url.rstrip('/')}/walle/images/metadata/1.root.json"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310
            return Director.from_root(json.loads(answer.read(1 << 20))["signed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{address}: no root metadata: {error}") from error


def names(client: DeployClient, aim: Aim) -> tuple[str, str]:
    """The version that is released, or will be, and the one before: as texts. Raises FleetError, ServerError."""
    if aim.version is not None:
        return f"v{aim.version}", f"v{client.task(aim.task).stable}"
    found = client.release(_release(client, aim))
    return f"v{found.version}", f"v{found.previous}"


def _wait(crowd: Crowd) -> None:
    """Until all processes are ready to begin. Raises FleetError."""
    end = time.monotonic() + BEGIN_S
    while crowd.status() is None:
        if time.monotonic() > end:
            raise FleetError(
                f"the processes of the fleet were not ready within {BEGIN_S:.0f} s; take fewer devices"
            )
        time.sleep(0.02)


def _release(client: DeployClient, aim: Aim) -> int:
    if aim.version is not None:
        if aim.plan is None:
            raise FleetError(f"{aim.task} v{aim.version}: a release needs a plan; give --plan")
        return client.create_release(aim.task, aim.version, aim.plan)
    found = client.releases(aim.task, 1)
    if not found:
        raise FleetError(f"{aim.task} has no release to follow; begin one with `walle task release`")
    return found[0].id


def _segments(plan: Mapping[str, Any] | None) -> set[str]:
    return {stage["policy"] for stage in (plan or {}).get("stages", ()) if stage.get("policy")}


def _scene(release: ReleaseInfo, found: Status, took: float, speed: float) -> Scene:
    return Scene.of(
        took * speed, took, release.standing, found.living, found.covered, found.kept, found.tally
    )
