"""Admissions under a minute's budget: one for each device and release, given in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from walle_deploy.buckets import bucket
from walle_deploy.profile import Profile
from walle_deploy.release.events import Admit, Offer
from walle_deploy.release.offers import offer, per_minute, refilled
from walle_deploy.server.choice import betas
from walle_deploy.server.snapshot import Snapshot
from walle_deploy.server.stepping import Live

LONGEST_S = 1.0  # that a worker does not ask again after a budget was used up


class Asked(Protocol):
    """A device that asks."""

    @property
    def profile(self) -> Profile:
        """Of the device."""

    @property
    def releases(self) -> Mapping[str, int]:
        """Task -> release that it asks."""


def admit(
    job: Asked, lives: Mapping[int, Live], held: Collection[int], snapshot: Snapshot, now: float
) -> tuple[dict[str, str], list[int], dict[str, float]]:
    """Task -> version that the device gets, releases that admitted it just now, and task -> seconds to wait if none did.

    `held`: releases that admitted it before; a device is charged once, however often it asks until it has the version.
    """
    given: dict[str, str] = {}
    granted: list[int] = []
    waits: dict[str, float] = {}
    for task, release in job.releases.items():
        live = lives.get(release)
        if live is None:
            continue
        state, device = live.state, job.profile.id
        beta = bool(policies := betas(state)) and snapshot.beta(job.profile, policies)
        place = bucket(task, device)
        if release in held:
            running = state.version if state.status != "paused" else None
            made = offer(state, device, place, running=running, beta=beta)
        else:
            running = job.profile.installed.get(task)
            asked = Admit(at=live.at(now), device=device, bucket=place, running=running, beta=beta)
            made = next(effect for effect in live.send(asked) if isinstance(effect, Offer))
            if made.admits:
                granted.append(release)
        if made.version == state.version:
            given[task] = state.version
        elif (rate := per_minute(live.state.current)) is not None and refilled(live.state).tokens < 1:
            waits[task] = min(LONGEST_S, (1 - live.state.tokens) * 60 / rate)
    return given, granted, waits
