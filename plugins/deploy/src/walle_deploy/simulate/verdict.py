"""Whether a simulation passes, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from walle_deploy.simulate.exact import tail

if TYPE_CHECKING:
    from walle_deploy.simulate.again import Repeated
    from walle_deploy.simulate.limits import Limits
    from walle_deploy.simulate.work import Part

Verdict = Literal["passed", "failed", "no data"]
TEXT = 500  # characters of a reason; a release keeps as many


def judge(part: Part, again: Repeated, limits: Limits, time_ms: float) -> tuple[Verdict, str]:
    """The verdict of a finished simulation, and why.

    Args:
        part: all runs.
        again: those that were made again.
        limits: what must be shown.
        time_ms: that walle.toml allows for a run.
    """
    bad = list(_failed(part, again, limits, time_ms))
    if bad:
        return "failed", "; ".join([*bad, *_worst(part)])[:TEXT]
    runs = part.new.runs
    if runs < limits.runs:
        damaged = (
            f", and {part.damages} places of them could not be read: {part.told[0]}" if part.told else ""
        )
        read = f"{part.events:,} events of {part.logs} logs"
        return "no data", f"no data: {runs} runs, at least {limits.runs} are wanted; {read}{damaged}"[:TEXT]
    return "passed", _good(part, limits)[:TEXT]


def _failed(part: Part, again: Repeated, limits: Limits, time_ms: float) -> Iterator[str]:
    new, pairs = part.new, part.pairs
    if part.given_up:
        yield f"given up: {part.given_up}"
    if not new.runs:
        return
    share, allowed = new.failed / new.runs, limits.failures
    enough = new.runs >= limits.runs
    if share > allowed and (enough or tail(new.failed, new.runs, allowed) <= limits.alpha):
        yield f"{new.failed} of {new.runs} runs failed ({share:.2%}), {allowed:.2%} are allowed"
    misfits = new.of_kind("outputs", "features")
    if misfits > limits.misfits * new.runs:
        yield f"{misfits} of {new.runs} results are not as declared"
    if pairs.count and (p := pairs.p_value) <= limits.alpha:
        yield (
            f"worse than the baseline: {pairs.new_only} matches failed only now, {pairs.old_only} only before "
            f"(p = {p:.2g}, refused at {limits.alpha:g})"
        )
    if not enough:
        return
    longest = limits.p99_ms if limits.p99_ms is not None else time_ms
    if (p99 := new.times.quantile(0.99)) > longest:
        yield f"too slow: 99 of 100 runs take up to {p99:.4g} ms, {longest:g} are allowed"
    if (good := new.runs - new.failed) and new.unsure > limits.unsure * good:
        yield f"not confident of {new.unsure / good:.2%} of its results, {limits.unsure:.2%} are allowed"
    if pairs.neither and pairs.disagree > limits.disagree * pairs.neither:
        rate = pairs.disagree / pairs.neither
        yield f"{rate:.2%} of the results differ from the baseline's, {limits.disagree:.2%} are allowed"
    if again.share > limits.unstable:
        yield f"{again.differ} of {again.runs} runs gave another result when they were made again"


def _worst(part: Part) -> Iterator[str]:
    if sorts := part.new.sorts.values():
        worst = max(sorts, key=lambda sort: sort.count)
        yield f"most often: {worst.first.why}, first at {worst.first}"


def _good(part: Part, limits: Limits) -> str:
    new, pairs = part.new, part.pairs
    text = (
        f"{new.runs} runs, {new.failed} failed ({new.failed / new.runs:.2%}, {limits.failures:.2%} are allowed), "
        f"p99 {new.times.quantile(0.99):.3g} ms"
    )
    if pairs.count:
        text += f"; not worse than the baseline (p = {pairs.p_value:.2g}), {pairs.disagree} results differ"
    return text
