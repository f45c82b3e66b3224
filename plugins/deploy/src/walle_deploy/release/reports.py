"""How a device's report counts: once a stage and round for each device, so that reports of the comparison are independent.

A device on which a task fails fails again and again; the draw into arms is by device, so devices are what is compared. A
report that is repeated later than RECENT others and after its round counts, at most, once for its device in the new round.
"""

from __future__ import annotations

import math

import msgspec

from walle_deploy.release.events import Effect, Ignored, Report
from walle_deploy.release.state import Measured, State

replace = msgspec.structs.replace


def counted(state: State, report: Report) -> tuple[State, tuple[Effect, ...]]:
    """The state with the report in its tests, or why it changes nothing."""
    stage, treated = state.current, report.arm != "control"
    if stage.kind == "simulation":
        return state, (Ignored("no device has the version yet"),)
    if report.version != (state.version if treated else state.previous):
        return state, (Ignored(f"{report.arm}: its devices do not run {report.version}"),)
    if stage.control and report.arm == "outside":
        return state, (Ignored("the device is outside the comparison"),)
    if state.repeats(report.device, report.number):
        return replace(state, repeated=state.repeated + 1), (Ignored("repeated"),)
    heard = (state.elapsed, state.heard[1]) if treated else (state.heard[0], state.elapsed)
    state = replace(state.remember(report.device, report.number), heard=heard)
    if state.elapsed - state.since >= state.plan.round:
        state = replace(state, seen=b"", since=state.elapsed)
    marked = state.marked(report.device)
    if marked is None:
        return replace(state, again=state.again + 1), (Ignored("the device counted in this round"),)
    bad = treated and report.failed, not treated and report.failed
    state = replace(
        marked,
        counted=(state.counted[0] + treated, state.counted[1] + (not treated)),
        failed=(state.failed[0] + bad[0], state.failed[1] + bad[1]),
    )
    return (_compared(state, report, treated=treated) if stage.control else state), ()


def _compared(state: State, report: Report, *, treated: bool) -> State:
    metrics = dict(state.metrics)
    for name, value in report.values.items():
        if name in metrics and math.isfinite(value):
            mine, other = metrics[name].counts
            test = metrics[name].test.add(value, treated=treated)
            metrics[name] = Measured(test, (mine + treated, other + (not treated)))
    failures = state.failures.add(treated=treated, failed=report.failed)
    return replace(state, failures=failures, metrics=metrics)
