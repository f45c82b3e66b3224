"""What a release still waits for, and whether its reports refute it."""

from __future__ import annotations

from walle_deploy.release.gates import GateRegistry, Verdict, View
from walle_deploy.release.state import State

ARMS = ("the new version", "the control")


def verdicts(state: State, gates: GateRegistry) -> list[tuple[str, Verdict]]:
    """Everything that the stage waits for, by name: what every stage needs first, then its gates in order."""
    stage = state.current
    found = []
    if state.status == "paused":
        found.append(("pause", Verdict(False, "paused")))
    if stage.kind == "simulation":
        found.append(_simulation(state))
    else:
        found.append(_data(state))
    view = view_of(state)
    for values in stage.gates:
        found.append((values["kind"], gates.gate(values, f"stages[{state.stage}].gates").check(view)))
    if stage.kind == "full":
        left = state.plan.watch - view.elapsed
        why = f"compared for {view.elapsed:.0f} s of {state.plan.watch:g} s after full"
        found.append(("watch", Verdict(left <= 0, why, max(left, 0.0) or None)))
    return found


def view_of(state: State) -> View:
    """What gates may look at."""
    return View(
        state.elapsed - state.entered,
        state.counted,
        state.failures,
        {name: (measured.test, measured.counts) for name, measured in state.metrics.items()},
        state.approvals,
    )


def _simulation(state: State) -> tuple[str, Verdict]:
    if state.simulated is None:
        return "simulation", Verdict(False, "the simulation has not ended")
    return "simulation", Verdict(state.simulated[0], state.simulated[1] or "the simulation passed")


def _data(state: State) -> tuple[str, Verdict]:
    needed = 2 if state.current.control else 1
    for arm, count, heard in list(zip(ARMS, state.counted, state.heard, strict=True))[:needed]:
        silent = state.elapsed - heard
        if silent > state.current.silence:
            return "data", Verdict(False, f"no data of {arm} for {silent:.0f} s")
        if not count:
            return "data", Verdict(False, f"no data of {arm} in this stage")
    return "data", Verdict(True, f"{state.counted[0]} and {state.counted[1]} reports")


def refuted(state: State, gates: GateRegistry) -> str | None:
    """Why the release must be rolled back; None as long as it need not be."""
    test, plan = state.failures, state.plan
    if test.worse(plan.alpha):
        return (
            f"failures: {test.treatment.failed} of {test.treatment.reports} against {test.control.failed} of "
            f"{test.control.reports} of the control, p = {test.p_value:.2g} (always valid, alpha {plan.alpha:g})"
        )
    if not state.metrics:
        return None
    for name, (_, gate) in plan.metrics(gates).items():
        if name in state.metrics and (metric := state.metrics[name].test).worse(gate.alpha):
            return (
                f"{name}: {metric.treatment.mean:.4g} against {metric.control.mean:.4g} of the control, {gate.worse} is "
                f"worse, p = {metric.p_value:.2g} (always valid, alpha {gate.alpha:g}, margin {gate.margin:g})"
            )
    return None
