"""Gates: what a stage waits for before the next one; kinds are added to a registry, by this package as by others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

import attrs
import msgspec

from walle_deploy.errors import ReleaseError
from walle_deploy.release.means import Interval, Means
from walle_deploy.release.sequential import Failures

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]


@attrs.frozen
class Verdict:
    """Whether a gate is met, why, and when it may be if only time is missing (seconds from now)."""

    met: bool
    why: str
    wait: float | None = None


@attrs.frozen
class View:
    """What a gate may look at.

    Args:
        elapsed: seconds that the stage has lasted, as far as they were watched.
        reports: of treatment and control, counted in this stage.
        failures: the test of failures over the whole release.
        metrics: tests of values by name, and how many values this stage brought to treatment and control.
        approvals: who approved in this stage, and in which role.
    """

    elapsed: float
    reports: tuple[int, int]
    failures: Failures
    metrics: Mapping[str, tuple[Means, tuple[int, int]]]
    approvals: tuple[tuple[str, str], ...]


class Gate(Protocol):
    """A kind of gate: a msgspec, attrs or data class whose fields are what a plan says of it."""

    kind: ClassVar[str]

    def check(self, view: View) -> Verdict:
        """Whether it is met now; asked after every event."""


class _Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gates of plans are plain values of these fields."""


class Time(_Values, frozen=True, forbid_unknown_fields=True):
    """The stage lasts at least so long."""

    kind: ClassVar[str] = "time"
    seconds: Positive

    def check(self, view: View) -> Verdict:
        """See Gate."""
        left = self.seconds - view.elapsed
        if left <= 0:
            return Verdict(True, f"lasted {view.elapsed:.0f} s of {self.seconds:g} s")
        return Verdict(False, f"{left:.0f} s of {self.seconds:g} s are left", left)


class Sample(_Values, frozen=True, forbid_unknown_fields=True):
    """Each arm has at least so many reports in this stage."""

    kind: ClassVar[str] = "sample"
    reports: Annotated[int, msgspec.Meta(ge=1)]

    def check(self, view: View) -> Verdict:
        """See Gate."""
        treated, control = view.reports
        why = f"{treated} reports of the new version and {control} of the control, {self.reports} of each wanted"
        return Verdict(min(view.reports) >= self.reports, why)


class Approval(_Values, frozen=True, forbid_unknown_fields=True):
    """So many different people approve, each in one of the roles, if any are named."""

    kind: ClassVar[str] = "approval"
    approvers: Annotated[int, msgspec.Meta(ge=1, le=32)] = 1
    roles: tuple[str, ...] = ()

    def check(self, view: View) -> Verdict:
        """See Gate."""
        who = sorted({name for name, role in view.approvals if not self.roles or role in self.roles})
        roles = f" as {' or '.join(self.roles)}" if self.roles else ""
        given = f", by {', '.join(who)}" if who else ""
        return Verdict(len(who) >= self.approvers, f"{len(who)} of {self.approvers} approvals{roles}{given}")


class Metric(_Values, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value that devices report is not worse than the control's by more than the margin.

    From its stage on, the release is rolled back once the values refute that at level alpha, which adds to the plan's.
    With `proven`, the stage also waits until the interval of the difference lies within the margin.
    """

    kind: ClassVar[str] = "metric"
    name: str
    worse: Literal["higher", "lower"]
    low: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
    high: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
    margin: Annotated[float, msgspec.Meta(ge=0)]
    alpha: Share = 0.003
    reports: Annotated[int, msgspec.Meta(ge=1)] = 1
    proven: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low >= self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if not self.margin < self.high - self.low:
            raise ValueError(f"margin {self.margin} must be below the range, {self.high - self.low}")

    def test(self) -> Means:
        """The test, without values."""
        sign = 1 if self.worse == "higher" else -1
        return Means(self.low, self.high, self.margin, sign, Interval(self.alpha))

    def check(self, view: View) -> Verdict:
        """See Gate."""
        if self.name not in view.metrics:
            return Verdict(False, f"{self.name}: no values")
        test, counts = view.metrics[self.name]
        low, high = test.by()
        worse = f"worse by {low:.4g} to {high:.4g}, {self.margin:g} is harmless"
        if min(counts) < self.reports:
            return Verdict(
                False, f"{self.name}: {counts[0]} and {counts[1]} values, {self.reports} of each wanted"
            )
        if test.worse(self.alpha):
            return Verdict(False, f"{self.name}: {worse}")
        return Verdict(not self.proven or high <= self.margin, f"{self.name}: {worse}")


class Budget(_Values, frozen=True, forbid_unknown_fields=True):
    """So many devices a minute get the new version; the state machine keeps it, the next stage does not wait for it."""

    kind: ClassVar[str] = "budget"
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]

    def check(self, view: View) -> Verdict:
        """See Gate."""
        return Verdict(True, f"at most {self.per_minute} devices a minute")


class GateRegistry:
    """Kinds of gates by name."""

    def __init__(self) -> None:
        self.kinds: dict[str, Callable[..., Gate]] = {}

    def add(self, kind: type[Gate]) -> Self:
        """Makes `kind` known to plans. Raises ReleaseError if the name is taken."""
        if kind.kind in self.kinds:
            raise ReleaseError(
                f"there is a kind of gate {kind.kind!r} already; give the new one another name"
            )
        self.kinds[kind.kind] = kind
        return self

    def gate(self, values: Mapping[str, Any], path: str) -> Gate:
        """The gate that a plan's values describe. Raises ReleaseError, beginning with `path`."""
        fields = dict(values)
        kind = fields.pop("kind", None)
        if kind not in self.kinds:
            raise ReleaseError(f"{path}.kind: no gate {kind!r}; there are {', '.join(sorted(self.kinds))}")
        try:
            made: Gate = msgspec.convert(fields, self.kinds[kind])
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise ReleaseError(f"{path} ({kind}): {error}") from error
        return made


def register_gates(registry: GateRegistry) -> None:
    """Adds the kinds of this package."""
    for kind in (Time, Sample, Approval, Metric, Budget):
        registry.add(kind)


@cache
def default_gates() -> GateRegistry:
    """The kinds of this package; those of plugins too are in `offered.installed_gates`."""
    registry = GateRegistry()
    register_gates(registry)
    return registry
