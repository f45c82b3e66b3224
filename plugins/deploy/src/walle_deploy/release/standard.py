"""Plans to begin with: the careful one, and one for a fix that cannot wait; and any plan as TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from walle_deploy.task.toml import dumps

HOUR = 3600.0
LEAST = 20  # reports of each arm in a stage, or devices in an arm of it, below which it shows nothing
UNKNOWN = 100  # devices a minute, where the size of the fleet is not known
HALF = 50.0
_GRAY = ((1.0, 0.5, 200, 0.5 * HOUR), (10.0, 0.5, 1000, HOUR), (HALF, 0.2, 2000, 4 * HOUR))


def standard(
    *,
    first: bool = False,
    beta_devices: Sequence[str] = (),
    beta_policy: str | None = None,
    fleet: int | None = None,
    simulation: bool = True,
) -> dict[str, Any]:
    """The careful plan: simulation, beta, 1 %, 10 %, 50 %, all; someone approves before half of the fleet gets it.

    Args:
        first: whether the task has no version before this one. Nothing can be compared then: no share of the devices is a
            control, someone approves after the beta, and a budget slows the rest.
        beta_devices: who goes first, by id; without them or a policy there is no beta stage.
        beta_policy: the segment that goes first.
        fleet: devices, if known: with few of them stages wait for fewer reports, and those that would show nothing are
            left out.
        simulation: whether recorded events are replayed first.
    """
    stages: list[dict[str, Any]] = [{"kind": "simulation"}] if simulation else []
    if beta_devices or beta_policy:
        stages.append(_beta(beta_devices, beta_policy, alone=first))
    if first:
        # Instead of steps: a twelfth of the fleet in an hour.
        gate = {"kind": "budget", "per_minute": UNKNOWN if fleet is None else max(1, fleet // 720)}
        _approved(stages)
        return {"watch": 0, "stages": [*stages, {"kind": "full", "control": 0.0, "gates": [gate]}]}
    for percent, control, reports, seconds in _GRAY:
        if percent == HALF:
            _approved(stages)
        arm = None if fleet is None else int(fleet * percent / 100 * min(control, 1 - control))
        if arm is not None and arm < LEAST:
            continue
        wanted = reports if arm is None else max(LEAST, min(reports, arm // 2))
        gates = [{"kind": "sample", "reports": wanted}, {"kind": "time", "seconds": seconds}]
        stages.append({"kind": "gray", "percent": percent, "control": control, "gates": gates})
    return {"stages": [*stages, {"kind": "full", "control": 0.05}]}


def _approved(stages: list[dict[str, Any]]) -> None:
    """The last stage so far, if there is one, waits for somebody's approval too."""
    if stages:
        stages[-1].setdefault("gates", []).append({"kind": "approval", "approvers": 1})


def fast(*, first: bool = False) -> dict[str, Any]:
    """All devices at once but one in ten, which keeps the old version for an hour: failures still end the release."""
    if first:
        return {"watch": 0, "stages": [{"kind": "full", "control": 0.0}]}
    return {"watch": HOUR, "stages": [{"kind": "full", "control": 0.1}]}


def to_toml(plan: Mapping[str, Any]) -> str:
    """A plan's values as people edit them: a table for each stage and gate."""
    parts = [_plain(plan, "stages")]
    for stage in plan["stages"]:
        parts.append("[[stages]]\n" + _plain(stage, "gates"))
        parts += ["[[stages.gates]]\n" + _plain(gate, "") for gate in stage.get("gates", ())]
    return "\n".join(part for part in parts if part.strip())


def _plain(values: Mapping[str, Any], without: str) -> str:
    return dumps({name: value for name, value in values.items() if name != without})


def _beta(devices: Sequence[str], policy: str | None, *, alone: bool) -> dict[str, Any]:
    stage: dict[str, Any] = {"kind": "beta"}
    if devices:
        stage["devices"] = list(devices)
    if policy:
        stage["policy"] = policy
    compared = policy is not None and not alone
    stage["control"] = 0.5 if compared else 0.0
    stage["gates"] = [{"kind": "time", "seconds": 0.5 * HOUR}]
    if compared:
        stage["gates"].append({"kind": "sample", "reports": LEAST})
    return stage
