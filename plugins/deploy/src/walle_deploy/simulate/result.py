"""What a simulation found, for programs and for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self

import attrs
import msgspec

from walle_deploy.simulate.again import Repeated
from walle_deploy.simulate.counts import Arm, Example, Failures
from walle_deploy.simulate.limits import Limits
from walle_deploy.simulate.verdict import Verdict
from walle_deploy.simulate.work import Part

Row = tuple[str, str, str]


@attrs.define
class Simulation:
    """A finished simulation.

    Attributes:
        task: name of the task.
        limits: what it had to show.
        part: what its runs came to.
        again: the runs that were made again.
        verdict: passed, failed or no data.
        why: the verdict is so.
        notes: for people.
        seconds: that it took.
    """

    task: str
    limits: Limits = Limits()  # noqa: RUF009  frozen
    part: Part = attrs.field(factory=Part)
    again: Repeated = attrs.field(factory=Repeated)
    verdict: Verdict = "no data"
    why: str = ""
    notes: list[str] = attrs.field(factory=list)
    seconds: float = 0.0

    def ended(self, verdict: Verdict, why: str) -> Self:
        """Itself, with its verdict."""
        self.verdict, self.why = verdict, why
        return self

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return self.verdict == "passed"

    @property
    def new(self) -> Arm:
        """Runs of the version."""
        return self.part.new

    @property
    def old(self) -> Arm | None:
        """Runs of the baseline on the same matches; None without one."""
        return self.part.old if self.part.pairs.count else None

    @property
    def examples(self) -> list[Example]:
        """The first failure of each sort, for `replay`."""
        return [sort.first for sort in self.new.sorts.values()]

    # -- for people ---------------------------------------------------------------------------------------------------

    def table(self) -> list[Row]:
        """(what, the version, the baseline); the latter is "" without one."""
        return [(what, new, old) for what, new, old in self._rows() if new or old]

    def _rows(self) -> Iterator[Row]:
        for what, tell in _facts(self.new, self.old):
            yield what, tell(self.new), tell(self.old) if self.old else ""

    def lines(self) -> list[str]:
        """All of it as text: the verdict, the table, failures with their examples, the comparison, what could not be read."""
        part = self.part
        rows = self.table() if self.new.runs else []
        wide = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        head = ["", "new", "old"] if self.old else ["", "new", ""]
        return [
            f"simulation of {self.task}: {self.verdict}",
            f"  {self.why}",
            f"  {part.events:,} events of {part.logs:,} logs, {_mb(part.size)}, {self.seconds:.1f} s",
            *(f"  {a:{wide[0]}}  {b:{wide[1]}}  {c}".rstrip() for a, b, c in ([head, *rows] if rows else [])),
            *self._compared(),
            *(line for sort in self.new.sorts.values() for line in _told(sort)),
            *self._noted(),
        ]

    def _compared(self) -> Iterator[str]:
        pairs = self.part.pairs
        if not pairs.count:
            return
        yield (
            f"  of {pairs.count:,} matches {pairs.new_only} failed only now, {pairs.old_only} only before, {pairs.both} in both"
            f" (p = {pairs.p_value:.2g} that it is no worse)"
        )
        if pairs.ratios:
            yield f"  a run takes {pairs.ratios.quantile(0.5):.2f} times as long as before"
        if pairs.neither:
            yield f"  {pairs.disagree:,} of {pairs.neither:,} results differ ({pairs.disagree / pairs.neither:.2%})"
        for name, one in pairs.outputs.items():
            if one.differ:
                decided = f", {one.decisions:,} in their largest element" if one.decisions else ""
                moved = (
                    f", by {one.distance.mean:.3g} in the mean and {one.most:.3g} at most" if one.most else ""
                )
                sided = (
                    f"; {one.higher:,} higher, {one.lower:,} lower (p = {one.p_value:.2g} that it is chance)"
                )
                leans = sided if one.higher or one.lower else ""
                yield f"    {name}: {one.differ:,}{decided}{moved}{leans}"

    def _noted(self) -> Iterator[str]:
        part, again = self.part, self.again
        if again.runs:
            yield f"  {again.differ} of {again.runs} runs gave another result when they were made again"
        yield from (f"  note: {note}" for note in [*self.notes, part.unpaired] if note)
        if part.damages:
            yield f"  {part.damages} places of the logs could not be read, the first:"
            yield from (f"    {text}" for text in part.told)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    # -- for programs -------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """As values of JSON. What depends on the clock is under ``times``; all else is the same the next time."""
        part = self.part
        return {
            "task": self.task,
            "verdict": self.verdict,
            "passed": self.passed,
            "why": self.why,
            "limits": msgspec.to_builtins(self.limits),
            "logs": {
                "count": part.logs,
                "bytes": part.size,
                "events": part.events,
                "damages": part.damages,
                "told": part.told,
            },
            "new": _plain(self.new),
            "old": _plain(self.old) if self.old else None,
            "pairs": part.pairs.plain() if part.pairs.count else None,
            "again": attrs.asdict(self.again),
            "notes": [note for note in [*self.notes, part.given_up, part.unpaired] if note],
            "times": {
                "seconds": self.seconds,
                "new": _times(self.new),
                "old": _times(self.old) if self.old else None,
                "ratio_p50": _number(part.pairs.ratios.quantile(0.5)),
            },
        }


def _facts(new: Arm, old: Arm | None) -> Iterator[tuple[str, Callable[[Arm], str]]]:
    yield "runs", lambda arm: f"{arm.runs:,}"
    yield "failed", lambda arm: f"{arm.failed:,} ({arm.failed / arm.runs:.2%})" if arm.runs else ""
    for kind in _kinds(new, old):
        yield f"  {kind}", lambda arm, kind=kind: f"{arm.of_kind(kind):,}"  # type: ignore[misc]
    for share in (50, 99):
        yield f"time, p{share}", lambda arm, q=share: _ms(arm.times.quantile(q / 100))  # type: ignore[misc]
    yield "memory, most", lambda arm: f"{arm.memory_mb:.1f} MB" if arm.runs else ""
    yield "not confident", lambda arm: f"{arm.unsure / len(arm.times):.2%}" if len(arm.times) else ""
    for share in (50, 99):
        yield f"features, p{share}", lambda arm, q=share: _bytes(arm.features.quantile(q / 100))  # type: ignore[misc]
    for name in new.outputs:
        yield f"output {name}", lambda arm, name=name: str(arm.outputs.get(name, ""))  # type: ignore[misc]


def _kinds(new: Arm, old: Arm | None) -> list[str]:
    return list(dict.fromkeys([*new.by_kind, *(old.by_kind if old else ())]))


def _told(sort: Failures) -> Iterator[str]:
    yield f"  {sort.count:,} × {sort.kind}: {sort.first.why}"
    alone = {True: "fails alone, too", False: "does not fail alone", None: "not tried alone"}[
        sort.first.again
    ]
    yield f"    first at {sort.first} ({alone})"


def _plain(arm: Arm) -> dict[str, Any]:
    return {
        "runs": arm.runs,
        "failed": arm.failed,
        "kinds": arm.by_kind,
        "failures": [
            {"kind": s.kind, "what": s.what, "count": s.count, "first": attrs.asdict(s.first)}
            for s in arm.sorts.values()
        ],
        "unsure": arm.unsure,
        "features": {f"p{q}": _number(arm.features.quantile(q / 100)) for q in (50, 99)},
        "outputs": {name: held.plain() for name, held in arm.outputs.items()},
    }


def _times(arm: Arm) -> dict[str, Any]:
    quantiles = {f"p{q}_ms": _number(arm.times.quantile(q / 100)) for q in (50, 90, 99)}
    return {**quantiles, "memory_mb": arm.memory_mb}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _ms(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g} ms"


def _bytes(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0f} B"


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
