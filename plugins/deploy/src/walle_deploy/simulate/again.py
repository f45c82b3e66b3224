"""Makes runs again, to see whether a failure is the match's own, and whether the task gives the same for the same."""

from __future__ import annotations

import attrs

from walle_deploy.simulate.counts import Arm, Failures, packed
from walle_deploy.simulate.prepared import Prepared
from walle_deploy.simulate.running import Runs
from walle_deploy.simulate.work import KEPT, Sample
from walle_deploy.task.packing import unpack

TRIED = 10  # sorts of failures


@attrs.define
class Repeated:
    """What runs that went well gave when they were made again, in another process and another order.

    Attributes:
        runs: how many were.
        differ: of them, that gave another result, or failed.
    """

    runs: int = 0
    differ: int = 0

    @property
    def share(self) -> float:
        """Of them that differ; 0 if none was made."""
        return self.differ / self.runs if self.runs else 0.0


def confirm(version: Prepared, arm: Arm, start_s: float) -> None:
    """Notes for the first failure of each sort whether the match alone, in a new process, fails in the same way."""
    for sort in list(arm.sorts.values())[:TRIED]:
        if sort.events:
            sort.first = attrs.evolve(sort.first, again=_fails(version, sort, start_s))


def _fails(version: Prepared, sort: Failures, start_s: float) -> bool:
    with Runs(version, start_s) as runs:
        return runs.run(unpack(sort.events)).kind == sort.kind


def repeat(version: Prepared, samples: list[Sample], start_s: float) -> Repeated:
    """Makes the samples' runs again."""
    found = Repeated()
    if samples:
        with Runs(version, start_s) as runs:
            for sample in samples:
                run = runs.run(unpack(sample.events))
                found.runs += 1
                found.differ += run.failed or packed(run.result, KEPT) != sample.result
    return found
