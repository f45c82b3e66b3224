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


def in_control(state: State, bucket: int, control: float) -> bool:
    """Whether the device is drawn for a control of this share."""
    return draw(bucket, state.version) < round(control * BUCKETS)


def control_of(state: State, device: str, *, beta: bool) -> float:
    """Share of those like the device that keep the old version: beta devices keep the beta stage's, if that is smaller."""
    stages = [stage for stage in state.plan.stages[: state.stage + 1] if _in_beta(stage, device, beta=beta)]
    return min(stage.control for stage in (*stages, state.current))


def _in_beta(stage: Stage, device: str, *, beta: bool) -> bool:
    return stage.kind == "beta" and (device in stage.devices or (beta and stage.policy is not None))


def belongs(state: State, device: str, bucket: int, *, beta: bool) -> str | None:
    """Why the device takes part in the release now; None if it does not."""
    for stage in state.plan.stages[: state.stage + 1]:
        if _in_beta(stage, device, beta=beta):
            named = device in stage.devices
            return "named as a beta device" if named else f"meets the beta policy {stage.policy}"
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
    control = control_of(state, device, beta=beta)
    if in_control(state, bucket, control):
        return Offer(state.previous, "control", f"{why}; drawn for the control, {control:.4g} of all")
    made = _admitted(state, running, why)
    if made.arm == "treatment" and not control:  # nothing drawn beside it: it is no fair comparison
        return msgspec.structs.replace(made, arm="outside")
    return made


def _admitted(state: State, running: str | None, why: str) -> Offer:
    if running == state.version:
        return Offer(state.version, "treatment", f"{why}; runs it already")
    if state.status == "paused":
        return Offer(state.previous, "outside", f"{why}; but the release is paused and admits nobody")
    rate = per_minute(state.current)
    if rate is not None and refilled(state).tokens < 1:
        return Offer(state.previous, "outside", f"{why}; but this minute's {rate} admissions are used up")
    return Offer(state.version, "treatment", why, admits=True)
