"""Why a release stands where it stands, and why a device gets what it gets: plain values for a page, a command or a log."""

from __future__ import annotations

import math

import msgspec

from walle_deploy.release.events import Offer
from walle_deploy.release.gates import GateRegistry, default_gates
from walle_deploy.release.judge import verdicts
from walle_deploy.release.means import Means
from walle_deploy.release.offers import control_of, draw, in_control, offer
from walle_deploy.release.plan import BUCKETS
from walle_deploy.release.sequential import Failures
from walle_deploy.release.state import State


class GateLine(msgspec.Struct, frozen=True):
    """One thing that the stage waits for; `until` is the server's time at which only time was missing."""

    name: str
    met: bool
    why: str
    until: float | None


class TestLine(msgspec.Struct, frozen=True):
    """One comparison with the control.

    Args:
        name: "failures" or the metric's.
        treatment: reports of the new version, and failures or the mean.
        control: of the old one.
        e_value: evidence that the new version is worse.
        p_value: always valid.
        alpha: the level at which the release is rolled back.
        low: of what is not refuted: odds ratios of failures, or by how much a metric is worse.
        high: likewise; None for infinity.
    """

    name: str
    treatment: tuple[int, float]
    control: tuple[int, float]
    e_value: float
    p_value: float
    alpha: float
    low: float
    high: float | None


class Standing(msgspec.Struct, frozen=True):
    """A release, explained.

    Args:
        line: all of it in one sentence.
        version: that is released.
        previous: that it replaces.
        status: running, paused, finished, rolled back or revoked.
        stage: its number, from 1.
        stages: how many there are.
        title: of the stage.
        share: of all devices that may take part.
        control: share of those that keep the old version.
        lasted: seconds in this stage.
        gates: what it waits for.
        next_at: the server's time at which the next stage may begin, if only time is missing.
        reports: of treatment and control in this stage.
        failed: how many of these say that the task failed.
        repeated: reports that came twice.
        again: reports of devices that had counted.
        jumps: of the clock.
        tests: the comparisons.
    """

    line: str
    version: str
    previous: str | None
    status: str
    stage: int
    stages: int
    title: str
    share: float
    control: float
    lasted: float
    gates: tuple[GateLine, ...]
    next_at: float | None
    reports: tuple[int, int]
    failed: tuple[int, int]
    repeated: int
    again: int
    jumps: int
    tests: tuple[TestLine, ...]


class DeviceStanding(msgspec.Struct, frozen=True):
    """A device in a release: the offer, and every number that led to it."""

    offer: Offer
    bucket: int
    threshold: int
    control_draw: int
    control_threshold: int
    stage: int
    title: str
    share: float
    drawn_for_control: bool


def explain(state: State, gates: GateRegistry | None = None) -> Standing:
    """Where the release stands and why."""
    gates = gates if gates is not None else default_gates()
    lines = _gates(state, gates) if state.active else ()
    waits = [line.until for line in lines if not line.met]
    times = [until for until in waits if until is not None]
    next_at = max(times) if times and len(times) == len(waits) else None
    return Standing(
        _line(state, lines, next_at),
        state.version,
        state.previous,
        state.status,
        state.stage + 1,
        len(state.plan.stages),
        state.current.title,
        0.0 if state.final else state.current.threshold / BUCKETS,
        state.current.control if state.active else 0.0,
        state.elapsed - state.entered,
        lines,
        next_at,
        state.counted,
        state.failed,
        state.repeated,
        state.again,
        state.jumps,
        tuple(_tests(state, gates)),
    )


def explain_device(
    state: State, device: str, bucket: int, *, running: str | None = None, beta: bool = False
) -> DeviceStanding:
    """Why the device gets what it gets, or does not."""
    stage = state.current
    control = control_of(state, device, beta=beta)
    return DeviceStanding(
        offer(state, device, bucket, running=running, beta=beta),
        bucket,
        stage.threshold,
        draw(bucket, state.version),
        round(control * BUCKETS),
        state.stage + 1,
        stage.title,
        stage.threshold / BUCKETS,
        in_control(state, bucket, control),
    )


def _gates(state: State, gates: GateRegistry) -> tuple[GateLine, ...]:
    return tuple(
        GateLine(name, verdict.met, verdict.why, None if verdict.wait is None else state.clock + verdict.wait)
        for name, verdict in verdicts(state, gates)
    )


def _line(state: State, lines: tuple[GateLine, ...], next_at: float | None) -> str:
    if state.final:
        return f"{state.version} was {state.status}: {state.why}; {state.previous or 'nothing'} runs instead"
    if state.status == "finished":
        return f"{state.version} is released"
    missing = "; ".join(line.why for line in lines if not line.met) or "nothing is missing"
    when = f"; next stage at {next_at:.0f} or later" if next_at is not None else ""
    where = f"stage {state.stage + 1} of {len(state.plan.stages)}, {state.current.title}"
    return f"{state.version} is {state.status}, {where}: {missing}{when}"


def _tests(state: State, gates: GateRegistry) -> list[TestLine]:
    found = [_failures(state.failures, state.plan.alpha)]
    for name, (_, gate) in state.plan.metrics(gates).items():
        if name in state.metrics:
            found.append(_means(name, state.metrics[name].test, gate.alpha))
    return found


def _failures(test: Failures, alpha: float) -> TestLine:
    low, high = test.interval(alpha)
    return TestLine(
        "failures",
        (test.treatment.reports, float(test.treatment.failed)),
        (test.control.reports, float(test.control.failed)),
        test.e_value,
        test.p_value,
        alpha,
        low,
        None if math.isinf(high) else high,
    )


def _means(name: str, test: Means, alpha: float) -> TestLine:
    low, high = test.by()
    mine, other = test.treatment, test.control
    return TestLine(
        name,
        (mine.reports, mine.mean if mine.reports else 0.0),
        (other.reports, other.mean if other.reports else 0.0),
        test.e_value,
        test.p_value,
        alpha,
        low,
        high,
    )
