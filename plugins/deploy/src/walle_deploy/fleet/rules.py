"""What no device may ever be told, computed from the plan alone and not from what the server says of itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import attrs

from walle_deploy.buckets import bucket
from walle_deploy.fleet.errors import BrokenRuleError
from walle_deploy.release.offers import draw
from walle_deploy.release.plan import BUCKETS, Plan, Stage

FINAL = ("rolled back", "revoked")


@attrs.frozen
class Moment:
    """Where the release stands: status, and the number of the stage from 0."""

    status: str
    stage: int


@attrs.define
class Rules:
    """Judges what a device is told about the task that is released.

    Args:
        task: that is released.
        version: likewise, as ``v2``.
        previous: the version before.
        plan: of the release.
        beta: whether a device, by its id, meets the policy of the beta stage.
        forbidden: versions that were revoked.
    """

    task: str
    version: str
    previous: str | None
    plan: Plan
    beta: Callable[[str], bool] = lambda _device: False
    forbidden: Collection[str] = ()
    judged: int = 0

    def judge(self, device: str, had: str | None, told: str | None, before: Moment, after: Moment) -> None:
        """Raises BrokenRuleError unless a device that had one version may be told another.

        Args:
            device: its id.
            had: the version that the device had.
            told: the one that it should have.
            before: a moment that was over for the server before it answered.
            after: one that came after the answer.
        """
        self.judged += 1
        if told in self.forbidden:
            raise BrokenRuleError(f"{device} is told to run {told}, which was revoked")
        if told not in {self.version, self.previous}:
            raise BrokenRuleError(f"{device} is told to run {told}, which nobody released")
        if told == self.version and had != self.version:
            self._may_get(device, before, after)
        if had == self.version and told != self.version and after.status not in FINAL:
            raise BrokenRuleError(f"{device} loses {had} for {told}, though the release is {after.status}")

    def _may_get(self, device: str, before: Moment, after: Moment) -> None:
        if before.status in FINAL:
            raise BrokenRuleError(f"{device} is told to run {self.version}, which was {before.status}")
        if before.status == after.status == "paused":
            raise BrokenRuleError(f"{device} is told to run {self.version}, though its release is paused")
        if after.status == "finished":
            return
        stages = self.plan.stages[: after.stage + 1]
        place = bucket(self.task, device)
        member = [stage for stage in stages if stage.kind == "beta" and self._beta(stage, device)]
        if place >= stages[-1].threshold and not member:
            raise BrokenRuleError(
                f"{device} is told to run {self.version}; its bucket {place} is not below {stages[-1].threshold} "
                f"({stages[-1].title}), and it is no beta device"
            )
        if self._drawn(place, [*member, stages[-1]]):
            raise BrokenRuleError(
                f"{device} is told to run {self.version}, though it is drawn for the control"
            )

    def keeps(self, device: str) -> bool:
        """Whether the device keeps the version before until the release is finished."""
        stages = self.plan.stages
        member = [stage for stage in stages if stage.kind == "beta" and self._beta(stage, device)]
        return self._drawn(bucket(self.task, device), [*member, stages[-1]])

    def _drawn(self, place: int, stages: Sequence[Stage]) -> bool:
        control = min(stage.control for stage in stages)
        return draw(place, self.version) < round(control * BUCKETS)

    def _beta(self, stage: Stage, device: str) -> bool:
        return device in stage.devices or (stage.policy is not None and self.beta(device))
