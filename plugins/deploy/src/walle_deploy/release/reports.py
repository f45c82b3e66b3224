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
    treated = report.arm == "treatment"
    if state.current.kind == "simulation":
        return state, (Ignored("no device has the version yet"),)
    if report.version != (state.version if treated else state.previous):
        return state, (Ignored(f"the {report.arm} does not run {report.version}"),)
    if state.repeats(report.device, report.number):
        return replace(state, repeated=state.repeated + 1), (Ignored("repeated"),)
    heard = (state.elapsed, state.heard[1]) if treated else (state.heard[0], state.elapsed)
    state = replace(state.remember(report.device, report.number), heard=heard)
    if state.elapsed - state.since >= state.plan.round:
        state = replace(state, seen=b"", since=state.elapsed)
    marked = state.marked(report.device)
    if marked is None:
        return replace(state, again=state.again + 1), (Ignored("the device counted in this round"),)
    if not state.current.control:  # nothing beside it to be compared with
        return replace(marked, counted=(marked.counted[0] + treated, marked.counted[1] + (not treated))), ()
    metrics = dict(marked.metrics)
    for name, value in report.values.items():
        if name in metrics and math.isfinite(value):
            mine, other = metrics[name].counts
            metrics[name] = Measured(
                metrics[name].test.add(value, treated=treated), (mine + treated, other + (not treated))
            )
    return replace(
        marked,
        counted=(marked.counted[0] + treated, marked.counted[1] + (not treated)),
        failures=marked.failures.add(treated=treated, failed=report.failed),
        metrics=metrics,
    ), ()
