"""Which version a device gets: by its bucket, the stage, a second draw for the control, and the minute's budget.

Anybody may recompute it: a device belongs to a gray stage if its bucket is below the stage's threshold, and to the control
if the mixed bucket is below the control's share; thresholds only rise and control shares only fall.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from walle_deploy.release.events import Offer
from walle_deploy.release.gates import Budget
from walle_deploy.release.plan import BUCKETS, Stage
from walle_deploy.release.state import State


def draw(bucket: int, version: str) -> int:
    """A second bucket, independent of the first one, that another version shuffles anew."""
    data = bucket.to_bytes(4, "little") + version.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=4).digest(), "little")


def in_control(state: State, bucket: int) -> bool:
    """Whether the device is drawn for the control while it belongs to the stage."""
    return draw(bucket, state.version) < round(state.current.control * BUCKETS)


def belongs(state: State, device: str, bucket: int, *, beta: bool) -> str | None:
    """Why the device takes part in the release now; None if it does not."""
    for stage in state.plan.stages[: state.stage + 1]:
        if stage.kind == "beta":
            if device in stage.devices:
                return "named as a beta device"
            if beta and stage.policy:
                return f"meets the beta policy {stage.policy}"
    if bucket < state.current.threshold:
        return f"bucket {bucket} is below {state.current.threshold} ({state.current.title})"
    return None


def per_minute(stage: Stage) -> int | None:
    """Devices that a minute may admit; None for any number."""
    found = [values["per_minute"] for values in stage.gates if values["kind"] == Budget.kind]
    return int(found[0]) if found else None


def burst(rate: int) -> float:
    """Admissions that can be saved up: a second's, and at least one; no minute has more than the rate and these."""
    return max(1.0, rate / 60)


def refilled(state: State) -> State:
    """With the admissions that the time since the last count has brought."""
    rate = per_minute(state.current)
    if rate is None:
        return state
    tokens = min(burst(rate), state.tokens + (state.elapsed - state.filled) * rate / 60)
    return msgspec.structs.replace(state, tokens=tokens, filled=state.elapsed)


def offer(state: State, device: str, bucket: int, *, running: str | None = None, beta: bool = False) -> Offer:
    """What the device should run; the same for the same state. An offer that `admits` needs an Admit event to be made."""
    if state.final:
        return Offer(state.previous, "outside", f"{state.version} was {state.status}: {state.why}")
    if state.status == "finished":
        return _admitted(state, running, f"{state.version} is released")
    if state.current.kind == "simulation":
        return Offer(state.previous, "outside", f"{state.version} is in simulation")
    why = belongs(state, device, bucket, beta=beta)
    if why is None:
        threshold = state.current.threshold
        reason = f"bucket {bucket} is not below {threshold}" if threshold else "not a beta device"
        return Offer(state.previous, "outside", f"{reason} ({state.current.title})")
    if in_control(state, bucket):
        return Offer(
            state.previous, "control", f"{why}; drawn for the control, {state.current.control:.4g} of all"
        )
    return _admitted(state, running, why)


def _admitted(state: State, running: str | None, why: str) -> Offer:
    if running == state.version:
        return Offer(state.version, "treatment", f"{why}; runs it already")
    if state.status == "paused":
        return Offer(state.previous, "outside", f"{why}; but the release is paused and admits nobody")
    rate = per_minute(state.current)
    if rate is not None and refilled(state).tokens < 1:
        return Offer(state.previous, "outside", f"{why}; but this minute's {rate} admissions are used up")
    return Offer(state.version, "treatment", why, admits=True)
