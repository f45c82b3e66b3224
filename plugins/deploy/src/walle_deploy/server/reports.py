"""Reports of devices: which arm they are of, and the steps that they are for their releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from walle_deploy.buckets import bucket
from walle_deploy.profile import Profile
from walle_deploy.release.events import ArmName, Ignored, Report
from walle_deploy.release.offers import offer
from walle_deploy.release.state import State
from walle_deploy.server.choice import betas
from walle_deploy.server.inputs import finite
from walle_deploy.server.snapshot import Snapshot
from walle_deploy.server.stepping import Live
from walle_deploy.server.types import DeviceReport


class Reported(Protocol):
    """What one device sent."""

    @property
    def device(self) -> str:
        """Who."""

    @property
    def reports(self) -> Sequence[DeviceReport]:
        """What."""


def devices_to_know(jobs: Iterable[Reported], lives: Mapping[str, Live]) -> set[str]:
    """Devices whose profile decides about an arm, because their release has a beta policy."""
    asking = {task for task, live in lives.items() if betas(live.state)}
    if not asking:
        return set()
    return {job.device for job in jobs if any(each.task in asking for each in job.reports)}


def take(
    jobs: Iterable[Reported],
    lives: Mapping[str, Live],
    profiles: Mapping[str, bytes],
    snapshot: Snapshot,
    now: float,
) -> None:
    """Steps releases (by task) with all reports; `profiles` are those of `devices_to_know`."""
    for job in jobs:
        for each in job.reports:
            live = lives.get(each.task)
            if live is None:
                continue
            live.heard += 1
            if not live.state.active:  # a report before this one has ended it
                continue
            beta = False
            if policies := betas(live.state):
                known = profiles.get(job.device)
                beta = known is not None and snapshot.beta(Profile.read(known), policies)
            mine = arm(live.state, job.device, live.task, each.version, beta=beta)
            if mine is None:
                continue
            event = Report(
                at=now,
                device=job.device,
                number=each.number,
                version=each.version,
                arm=mine,
                failed=each.failed,
                values=finite(each.values) if each.values else each.values,
            )
            effects = live.send(event)
            if each.failed and not any(isinstance(effect, Ignored) for effect in effects):
                live.reasons.append((job.device, each.version, each.why))


def arm(state: State, device: str, task: str, running: str | None, *, beta: bool) -> ArmName | None:
    """Which arm a device that runs this version belongs to, None if to none; what it says itself does not count."""
    made = offer(state, device, bucket(task, device), running=running, beta=beta)
    if running == state.version:
        return made.arm if made.version == state.version else None
    return "control" if running == state.previous and made.arm == "control" else None
