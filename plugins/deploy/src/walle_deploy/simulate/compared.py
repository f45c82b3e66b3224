"""Two versions on the same matches: failures of one and not of the other, and outputs that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from walle_deploy.agent.contained import Run
from walle_deploy.simulate.exact import differs, worse
from walle_deploy.simulate.sums import Histogram, Moments
from walle_deploy.task.config import TaskConfig

RELATIVE, ABSOLUTE = 1e-3, 1e-6  # up to which two numbers are one


@attrs.define
class Difference:
    """How an output of the new version differs from the old one's, over the matches of which both have it.

    Attributes:
        pairs: how many.
        differ: of them, more than RELATIVE and ABSOLUTE allow.
        decisions: of them, whose largest element is another one; for tensors of two elements and more.
        distance: of two elements, mean over an output's.
        most: largest distance of two elements.
        higher, lower: of the pairs that differ, whose last element is; for outputs of one or two elements.
    """

    pairs: int = 0
    differ: int = 0
    decisions: int = 0
    distance: Moments = attrs.field(factory=Moments)
    most: float = 0.0
    higher: int = 0
    lower: int = 0

    def add(self, new: Any, old: Any) -> bool:
        """One more pair; whether it differs."""
        self.pairs += 1
        ours, theirs = _numbers(new), _numbers(old)
        if ours is None or theirs is None or len(ours) != len(theirs):
            other = new != old if ours is None and theirs is None else True
            self.differ += other
            return other
        other = not all(map(_same, ours, theirs))
        self.differ += other
        if len(ours) > 1 and ours.index(max(ours)) != theirs.index(max(theirs)):
            self.decisions += 1
        gaps = [a - b for a, b in zip(ours, theirs, strict=True) if math.isfinite(a) and math.isfinite(b)]
        if gaps:
            self.distance.add(math.fsum(map(abs, gaps)) / len(gaps))
            self.most = max(self.most, max(map(abs, gaps)))
            if other and len(ours) <= 2:
                self.higher += gaps[-1] > 0
                self.lower += gaps[-1] < 0
        return other

    def merge(self, later: Difference) -> None:
        """Adds the pairs of a later part."""
        self.pairs += later.pairs
        self.differ += later.differ
        self.decisions += later.decisions
        self.distance.merge(later.distance)
        self.most = max(self.most, later.most)
        self.higher += later.higher
        self.lower += later.lower

    @property
    def p_value(self) -> float:
        """Of "as often higher as lower"."""
        return differs(self.higher, self.lower)

    def plain(self) -> dict[str, Any]:
        """As values of JSON."""
        found = {
            name: getattr(self, name) for name in ("pairs", "differ", "decisions", "most", "higher", "lower")
        }
        return {**found, "distance": self.distance.mean, "p": self.p_value}


@attrs.define
class Pairs:
    """All matches that both versions ran.

    Attributes:
        both, new_only, old_only, neither: how many of them failed in both versions, in one, in none.
        disagree: of `neither`, how many have another output.
        ratios: the new version's time by the old one's.
        outputs: differences by output.
    """

    both: int = 0
    new_only: int = 0
    old_only: int = 0
    neither: int = 0
    disagree: int = 0
    ratios: Histogram = attrs.field(factory=Histogram)
    outputs: dict[str, Difference] = attrs.field(factory=dict)

    def add(self, new: Run, old: Run, config: TaskConfig) -> None:
        """One more match; `config` is the new version's."""
        if new.failed or old.failed:
            self.both += new.failed and old.failed
            self.new_only += new.failed and not old.failed
            self.old_only += old.failed and not new.failed
            return
        self.neither += 1
        self.disagree += self._differ(new.result, old.result, config)
        if new.ms > 0 and old.ms > 0:
            self.ratios.add(new.ms / old.ms)

    def _differ(self, new: Mapping[str, Any], old: Mapping[str, Any], config: TaskConfig) -> bool:
        found = False
        for name in config.outputs:
            if name in old:
                found |= self.outputs.setdefault(name, Difference()).add(new[name], old[name])
        return found

    def merge(self, later: Pairs) -> None:
        """Adds the matches of a later part."""
        for name in ("both", "new_only", "old_only", "neither", "disagree"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.ratios.merge(later.ratios)
        for name, difference in later.outputs.items():
            self.outputs.setdefault(name, Difference()).merge(difference)

    @property
    def count(self) -> int:
        """Matches that both ran."""
        return self.both + self.new_only + self.old_only + self.neither

    @property
    def p_value(self) -> float:
        """Of "the new version fails no more than the old one"."""
        return worse(self.new_only, self.old_only)

    def plain(self) -> dict[str, Any]:
        """As values of JSON, without times."""
        names = ("both", "new_only", "old_only", "neither", "disagree")
        outputs = {name: difference.plain() for name, difference in self.outputs.items()}
        return {**{name: getattr(self, name) for name in names}, "p": self.p_value, "outputs": outputs}


def _numbers(value: Any) -> list[float] | None:
    """All elements of a tensor, or a number; None for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
        while isinstance(value, list) and value and isinstance(value[0], list):
            value = [each for part in value for each in part]
        value = value if isinstance(value, list) else [value]
    elif isinstance(value, (int, float)):
        value = [value]
    else:
        return None
    return [float(each) for each in value]


def _same(one: float, other: float) -> bool:
    return (
        one == other
        or abs(one - other) <= ABSOLUTE + RELATIVE * abs(other)
        or (one != one and other != other)
    )
