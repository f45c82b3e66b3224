"""A release as a pure function: what a state and an event lead to. No I/O and no clock; whoever calls it stores the state."""

from __future__ import annotations

import math
from typing import assert_never

import msgspec

from walle_deploy.errors import ReleaseError
from walle_deploy.release.events import (
    Admit,
    AnyEvent,
    Approve,
    Created,
    Effect,
    Finished,
    Held,
    Ignored,
    Later,
    Pause,
    Report,
    Resume,
    Revoke,
    Rollback,
    RolledBack,
    Simulated,
    StageChanged,
    Tick,
)
from walle_deploy.release.gates import GateRegistry, default_gates
from walle_deploy.release.judge import refuted, verdicts
from walle_deploy.release.offers import burst, offer, per_minute, refilled
from walle_deploy.release.plan import BUCKETS, plan_from
from walle_deploy.release.reports import counted
from walle_deploy.release.sequential import Failures
from walle_deploy.release.state import APPROVALS, Measured, State, Status

Step = tuple[State, tuple[Effect, ...]]
replace = msgspec.structs.replace
TEXT = 500  # characters of a reason or name that are kept


def step(state: State | None, event: AnyEvent, gates: GateRegistry | None = None) -> Step:
    """The state after `event`, and what the platform has to do. Raises ReleaseError for an event that cannot be.

    Args:
        state: before; None for the event that creates the release.
        event: what happened; its order with other devices' events does not matter for what may be offered.
        gates: the kinds that plans may name; this package's if None.
    """
    gates = gates if gates is not None else default_gates()
    if not math.isfinite(event.at):
        raise ReleaseError(f"{type(event).__name__}.at: {event.at} is no time")
    if isinstance(event, Created):
        if state is not None:
            raise ReleaseError(f"the release of {state.version} was created already")
        return _created(event, gates)
    if state is None:
        raise ReleaseError(f"{type(event).__name__}: the release was not created; Created comes first")
    if not isinstance(event, Report):  # devices' reports come late and in any order: they are no clock
        state = state.tell(event.at)
    before = state.status
    state, effects = _handled(state, event)
    if state.active and (why := refuted(state, gates)) is not None:
        state, more = _ended(state, "rolled back", why)
        effects += more
    if state.status in {"running", "paused"}:
        state, more = _advanced(state, gates)
        effects += more
    elif before != state.status:
        state = replace(state, hold="")
    return state, effects


def _created(event: Created, gates: GateRegistry) -> Step:
    plan = plan_from(event.plan, gates)
    if not event.version or event.version == event.previous or len(event.version) > TEXT:
        raise ReleaseError(
            f"version {event.version[:TEXT]!r} must have a name of at most {TEXT} characters, and another than the previous"
        )
    state = State(
        version=event.version,
        previous=event.previous,
        plan=plan,
        clock=event.at,
        failures=Failures(margin=plan.margin),
    )
    state, effects = _entered(state, 0, gates)
    state, more = _advanced(state, gates)
    return state, effects + more


def _handled(state: State, event: Later) -> Step:
    if isinstance(event, Admit):
        return _admit(state, event)
    if isinstance(event, Revoke):
        who = f"revoked by {event.who}: {event.why}" if event.who else event.why
        return (
            (state, (Ignored("revoked already"),))
            if state.status == "revoked"
            else _ended(state, "revoked", who)
        )
    if isinstance(event, Tick):
        return state, ()
    if state.final:
        return state, (Ignored(f"{state.version} was {state.status}, which is final"),)
    if isinstance(event, Rollback):
        return _ended(state, "rolled back", f"by {event.who}: {event.why}")
    if state.status == "finished":
        return state, (Ignored("the release is finished"),)
    if isinstance(event, Report):
        return counted(state, event)
    if isinstance(event, Simulated):
        return _simulated(state, event)
    if isinstance(event, Approve):
        return _approved(state, event)
    if isinstance(event, Pause):
        return replace(state, status="paused"), ()
    if isinstance(event, Resume):
        return replace(state, status="running"), ()
    assert_never(event)


def _admit(state: State, event: Admit) -> Step:
    if not 0 <= event.bucket < BUCKETS:
        raise ReleaseError(f"bucket {event.bucket} of {event.device} must be from 0 to {BUCKETS - 1}")
    state = refilled(state)
    made = offer(state, event.device, event.bucket, running=event.running, beta=event.beta)
    if made.admits and per_minute(state.current) is not None:
        state = replace(state, tokens=state.tokens - 1)
    return state, (made,)


def _simulated(state: State, event: Simulated) -> Step:
    if state.current.kind != "simulation":
        return state, (Ignored(f"the release is past its simulation, in {state.current.title}"),)
    if not event.passed:
        return _ended(state, "rolled back", f"the simulation failed: {event.why}")
    return replace(state, simulated=(True, event.why[:TEXT])), ()


def _approved(state: State, event: Approve) -> Step:
    given = (event.who[:TEXT], event.role[:TEXT])
    if not event.who:
        raise ReleaseError("an approval says who gave it")
    if given in state.approvals:
        return state, (Ignored(f"{event.who} approved already"),)
    if len(state.approvals) >= APPROVALS:
        return state, (Ignored(f"{APPROVALS} approvals were given already"),)
    return replace(state, approvals=(*state.approvals, given)), ()


def _ended(state: State, status: Status, why: str) -> Step:
    why = why[:TEXT]
    ended = replace(state, status=status, why=why, seen=b"", recent=b"", place=0)
    return ended, (RolledBack(why, state.version, state.previous),)


def _entered(state: State, number: int, gates: GateRegistry) -> Step:
    stage, metrics = state.plan.stages[number], dict(state.metrics)
    for name, (first, gate) in state.plan.metrics(gates).items():
        if first == number:
            metrics[name] = Measured(gate.test())
    rate = per_minute(stage)
    entered = replace(
        state,
        stage=number,
        entered=state.elapsed,
        approvals=(),
        metrics={name: Measured(measured.test) for name, measured in metrics.items()},
        counted=(0, 0),
        failed=(0, 0),
        heard=(state.elapsed, state.elapsed),
        seen=b"",
        since=state.elapsed,
        tokens=0.0 if rate is None else min(burst(rate), state.tokens),
        filled=state.elapsed,
        hold="",
    )
    return entered, (StageChanged(number, stage.title),)


def _advanced(state: State, gates: GateRegistry) -> Step:
    """One stage further, if nothing is missing; else the reason, when it is another one than before."""
    missing = [(name, verdict) for name, verdict in verdicts(state, gates) if not verdict.met]
    if missing:
        hold = ", ".join(dict.fromkeys(name for name, _ in missing))
        if hold == state.hold:
            return state, ()
        why = "; ".join(verdict.why for _, verdict in missing)
        return replace(state, hold=hold), (Held(f"{state.current.title}: {why}"),)
    if state.stage + 1 < len(state.plan.stages):
        return _entered(state, state.stage + 1, gates)
    return replace(state, status="finished", hold="", seen=b"", recent=b"", place=0), (Finished(),)
