"""What the runs of one version come to, in a size that does not grow with them; counts of parts can be added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from walle_deploy.agent.cloud import confident
from walle_deploy.agent.contained import Run
from walle_deploy.errors import TaskError
from walle_deploy.simulate.sums import Distribution, Histogram
from walle_deploy.task.config import TaskConfig
from walle_deploy.task.packing import pack

GROUPS = 40  # of failures that are told apart
MEASURED = 64  # elements of one output whose values are counted; of more, every n-th
OTHER = "other failures"


@attrs.frozen
class Example:
    """A match and what a run of it did, so that `replay` can do it again.

    Attributes:
        log: name of the log.
        number: of the match in that log, from 0.
        position: of the match's first event among those that the pipeline took from that log, from 0.
        key: whose events.
        start, time: of the first and last event, milliseconds.
        why: the run failed; "" if it did not.
        again: whether a run of this match alone, in a new process, failed in the same way; None: not tried.
    """

    log: str
    number: int
    position: int
    key: str
    start: int
    time: int
    why: str = ""
    again: bool | None = None

    def __str__(self) -> str:
        return f"{self.log}, match {self.number}: event {self.position} of {self.key!r}, {self.start} to {self.time} ms"


@attrs.define
class Failures:
    """Failures of one sort.

    Attributes:
        kind: one of `agent.contained.KINDS`.
        what: where and how, the same for all of them.
        count: of runs.
        first: of them.
        events: of the first, packed, to try again.
    """

    kind: str
    what: str
    count: int
    first: Example
    events: bytes = attrs.field(repr=False, default=b"")


@attrs.define
class Arm:
    """All runs of one version.

    Attributes:
        runs: how many.
        sorts: failures by sort, in the order of their first ones.
        times: milliseconds of runs that returned.
        memory_mb: the most that a process grew.
        unsure: results of which the task was not confident.
        features: bytes of the features of a result, packed.
        outputs: values by output.
    """

    runs: int = 0
    sorts: dict[str, Failures] = attrs.field(factory=dict)
    times: Histogram = attrs.field(factory=Histogram)
    memory_mb: float = 0.0
    unsure: int = 0
    features: Histogram = attrs.field(factory=Histogram)
    outputs: dict[str, Distribution] = attrs.field(factory=dict)

    @property
    def failed(self) -> int:
        """Runs that failed."""
        return sum(sort.count for sort in self.sorts.values())

    def of_kind(self, *kinds: str) -> int:
        """Runs that failed in one of these ways."""
        return sum(sort.count for sort in self.sorts.values() if sort.kind in kinds)

    @property
    def by_kind(self) -> dict[str, int]:
        """Failed runs by kind."""
        return {kind: self.of_kind(kind) for kind in dict.fromkeys(s.kind for s in self.sorts.values())}

    def add(self, run: Run, example: Example, events: bytes, config: TaskConfig) -> None:
        """One more run."""
        self.runs += 1
        self.memory_mb = max(self.memory_mb, run.memory_mb)
        if run.failed:
            self._fail(Failures(run.kind, what(run), 1, attrs.evolve(example, why=run.why), events))
            return
        self.times.add(run.ms)
        self.unsure += (
            run.result.get("confident") is False
            if config.cloud is None
            else not confident(config.cloud, run.result)
        )
        if features := run.result.get("features"):
            self.features.add(len(pack(features)))
        for name in config.outputs:
            held = self.outputs.setdefault(name, Distribution())
            for value in values(run.result.get(name)):
                held.add(value)

    def _fail(self, one: Failures) -> None:
        sort = f"{one.kind}: {one.what}"
        if sort not in self.sorts and len(self.sorts) >= GROUPS:
            sort = OTHER
        known = self.sorts.setdefault(sort, attrs.evolve(one, count=0))
        known.count += one.count

    def merge(self, other: Arm) -> None:
        """Adds the runs of a later part."""
        self.runs += other.runs
        self.memory_mb = max(self.memory_mb, other.memory_mb)
        self.unsure += other.unsure
        self.times.merge(other.times)
        self.features.merge(other.features)
        for one in other.sorts.values():
            self._fail(one)
        for name, held in other.outputs.items():
            self.outputs.setdefault(name, Distribution()).merge(held)


def what(run: Run) -> str:
    """Where and how a run failed, without what differs from run to run."""
    if run.kind in ("time", "memory"):
        return {"time": "took too long", "memory": "took too much memory"}[run.kind]
    parts = run.why.split(": ", 2)
    return ": ".join(parts[: 2 if ":" in parts[0] else 1]) if run.kind == "raised" else run.why[:120]


def values(output: Any) -> list[Any]:
    """The elements of an output that are looked at: all of a small one."""
    if hasattr(output, "tolist"):
        found = _flat(output.tolist())
        return found if len(found) <= MEASURED else found[:: -(-len(found) // MEASURED)]
    return [output]


def _flat(value: Any) -> list[Any]:
    return [each for part in value for each in _flat(part)] if isinstance(value, list) else [value]


def packed(value: Mapping[str, Any] | list[Any], limit: int) -> bytes:
    """`value` in MessagePack; empty if it has more bytes than that."""
    try:
        data = pack(value)
    except TaskError:
        return b""
    return data if len(data) <= limit else b""
