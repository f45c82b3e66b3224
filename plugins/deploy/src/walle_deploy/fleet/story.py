"""What happened to a fleet and a release, scene by scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import attrs

from walle_deploy.fleet.fleet import Tally
from walle_deploy.release.explain import Standing

ENDED = ("finished", "rolled back", "revoked")


class Seen(Protocol):
    """A release, as the platform and the client of a server describe it."""

    @property
    def standing(self) -> Standing:
        """Where it stands."""


@attrs.frozen(kw_only=True)
class Scene:
    """One moment.

    Attributes:
        at: seconds since the beginning, as devices feel them.
        took: real seconds since then.
        status: of the release.
        stage: its number, from 1.
        stages: how many there are.
        title: of the stage.
        share: of all devices that may take part.
        control: share of these that keep the old version.
        living: devices that are not gone.
        covered: of these, those that have the new version.
        kept: devices that keep the old version until the release is finished.
        reports: that counted so far, of the new version and the control.
        failed: likewise.
        tally: what was done.
    """

    at: float
    took: float
    status: str
    stage: int
    stages: int
    title: str
    share: float
    control: float
    living: int
    covered: int
    kept: int
    reports: tuple[int, int]
    failed: tuple[int, int]
    tally: Tally

    @classmethod
    def of(
        cls, at: float, took: float, standing: Standing, living: int, covered: int, kept: int, tally: Tally
    ) -> Scene:
        """From where a release stands and what a fleet counts."""
        test = next((test for test in standing.tests if test.name == "failures"), None)
        arms = ((0, 0.0), (0, 0.0)) if test is None else (test.treatment, test.control)
        return cls(
            at=at,
            took=took,
            status=standing.status,
            stage=standing.stage,
            stages=standing.stages,
            title=standing.title,
            share=standing.share,
            control=standing.control,
            living=living,
            covered=covered,
            kept=kept,
            reports=(arms[0][0], arms[1][0]),
            failed=(int(arms[0][1]), int(arms[1][1])),
            tally=attrs.evolve(tally),
        )

    @property
    def coverage(self) -> float:
        """Share of the devices that live which have the new version."""
        return self.covered / self.living if self.living else 0.0

    @property
    def full(self) -> bool:
        """Whether the release is in its last stage."""
        return self.stage == self.stages

    def done(self, until: float) -> bool:
        """Whether this share of the devices that are no control has the version; nobody has it any more after a rollback."""
        if self.status in {"rolled back", "revoked"}:
            return self.coverage <= 1 - until
        kept = 0 if self.status == "finished" else self.kept
        return self.full and self.covered >= until * (self.living - kept)


@attrs.frozen
class Story:
    """All scenes, and what was found out.

    Attributes:
        devices: of the fleet.
        scenes: in their order.
        line: the release at the end, in one sentence.
        done: whether it ended before its time was over: covered, or rolled back from all.
        judged: answers that were held against the rules; none broke one.
        answers: that devices got.
        verified: of these, those whose signature was checked.
        extra: further figures.
    """

    devices: int
    scenes: Sequence[Scene]
    line: str
    done: bool
    judged: int
    answers: int
    verified: int
    extra: dict[str, Any] = attrs.field(factory=dict)

    @property
    def last(self) -> Scene:
        """The last scene."""
        return self.scenes[-1]

    @property
    def peak(self) -> float:
        """The largest coverage."""
        return max(scene.coverage for scene in self.scenes)
