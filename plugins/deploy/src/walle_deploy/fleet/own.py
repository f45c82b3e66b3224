"""A platform for a fleet alone: a database of its own, a task with a version that all have, and a new one to release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from walle_deploy.fleet.beta import beta_of
from walle_deploy.fleet.population import Population
from walle_deploy.fleet.rules import Moment, Rules
from walle_deploy.manifest import File, Manifest
from walle_deploy.release.plan import Plan, plan_from
from walle_deploy.server.platform import Platform
from walle_deploy.server.types import DeviceReport, ReleaseInfo
from walle_deploy.trust import AnswerSigner, Director, new_key

TASK, OLD, NEW = "demo", 1, 2
SEGMENTS: Mapping[str, Any] = {
    name: {"user": {"groups": {"contains": name}}} for name in ("beta", "staff", "vip")
}
WHO = "the simulation"
_AT_ONCE: Mapping[str, Any] = {"stages": [{"kind": "full", "control": 0.0}], "watch": 0}
_FIRST = "first-device"
_BASE = "https://deploy.example/walle"


class Clock:
    """The simulated time in Unix seconds."""

    def __init__(self, start: float) -> None:
        self.now = start

    def __call__(self) -> float:
        """Now."""
        return self.now


@attrs.frozen
class Own:
    """The platform, and the release that goes on.

    Attributes:
        platform: to be asked.
        director: that signs its answers.
        release: id of the release of version NEW.
        plan: of it.
    """

    platform: Platform
    director: Director
    release: int
    plan: Plan

    def look(self) -> ReleaseInfo:
        """The release now; what only a person gives, it gets: the result of a simulation, and approvals."""
        platform = self.platform
        found = self._now()
        standing = found.standing
        missing = {gate.name for gate in standing.gates if not gate.met}
        if standing.status == "running" and standing.title == "simulation":
            platform.simulated(self.release, True, "nothing was recorded", WHO)
        elif "approval" in missing and standing.status == "running":
            gates = self.plan.stages[standing.stage - 1].gates
            wanted = next(gate for gate in gates if gate["kind"] == "approval")
            for number in range(wanted.get("approvers", 1)):
                platform.approve(self.release, f"{WHO} {number + 1}", wanted.get("role", ""))
        else:
            return found
        platform.refresh()
        return self._now()

    def _now(self) -> ReleaseInfo:
        return self.platform.releases(TASK, 1)[0]  # without its history

    def rules(self, population: Population) -> Rules:
        """What no device may be told."""
        return Rules(TASK, f"v{NEW}", f"v{OLD}", self.plan, beta_of(population, self.plan, SEGMENTS))


@contextmanager
def own_platform(folder: Path, plan: Mapping[str, Any], clock: Clock, **options: Any) -> Iterator[Own]:
    """A platform in a folder, closed at the end of the context.

    Args:
        folder: of its database.
        plan: by which version NEW is released.
        clock: of the platform.
        options: further ones of `Platform.open`.
    """
    key = new_key()
    opened = Platform.open(
        f"sqlite:///{folder / 'fleet.db'}",
        secret=bytes(32),
        signer=AnswerSigner(key),
        base_url=_BASE,
        clock=clock,
        **options,
    )
    with opened as platform:
        for name, policy in SEGMENTS.items():
            platform.set_segment(name, policy, WHO)
        platform.add_task(TASK, who=WHO)
        for number in (OLD, NEW):
            manifest = Manifest.of(TASK, f"v{number}", [File("main.py", f"{number:064x}", 1000)])
            commit = f"{number:040x}"
            platform.add_version(
                TASK, number, commit=commit, message="", signer=WHO, manifest=manifest.encode(), who=WHO
            )
            platform.published(TASK, number, WHO)
        platform.create_release(TASK, OLD, _AT_ONCE, WHO)
        platform.report(
            _FIRST, [DeviceReport(1, TASK, f"v{OLD}", failed=False)]
        )  # without one, no release is finished
        platform.refresh()
        release = platform.create_release(TASK, NEW, plan, WHO)
        yield Own(platform, Director((key.public,)), release, plan_from(plan))


def moment(release: ReleaseInfo) -> Moment:
    """Where a release stands, for the rules."""
    return Moment(release.standing.status, release.standing.stage - 1)
