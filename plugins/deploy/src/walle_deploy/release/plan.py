"""Release plans: which stages a version goes through, and what each waits for; from TOML, JSON or other plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from walle_deploy.errors import ReleaseError
from walle_deploy.release.gates import Budget, GateRegistry, Metric, Positive, Sample, Share, default_gates

BUCKETS = 1 << 32
COUNTED = 1 << 17  # devices told apart in a stage; of two that fall together only the first counts
FIRST_CONTROL, LAST_CONTROL = 0.5, 0.05
ORDER = ("simulation", "beta", "gray", "full")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Control = Annotated[float, msgspec.Meta(ge=0, le=0.9)]


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One stage.

    Args:
        kind: what admits a device: nothing (simulation), the beta list or policy, its bucket (gray), anything (full).
        percent: of all buckets, in a gray stage; steps of 0.0001 % and less.
        devices: the beta devices, by id.
        policy: name of the policy that beta devices meet.
        control: share of the stage's devices, drawn at random, that keep the old version for comparison; if a plan
            does not say, as in the stage before, half of them in the first, and at most LAST_CONTROL in the full one; none
            in a beta stage that names all its devices.
        gates: what the next stage waits for, each with its `kind`.
        silence: seconds without a report of either arm after which the release is held.
    """

    kind: Literal["simulation", "beta", "gray", "full"]
    percent: Annotated[float, msgspec.Meta(gt=0, le=100)] | None = None
    devices: Annotated[tuple[Name, ...], msgspec.Meta(max_length=1000)] = ()
    policy: Name | None = None
    control: Control = FIRST_CONTROL
    gates: Annotated[tuple[dict[str, Any], ...], msgspec.Meta(max_length=32)] = ()
    silence: Positive = 600.0

    @property
    def threshold(self) -> int:
        """Buckets below it belong to the stage."""
        if self.kind == "gray" and self.percent is not None:
            return round(self.percent / 100 * BUCKETS)
        return BUCKETS if self.kind == "full" else 0

    @property
    def title(self) -> str:
        """For people."""
        return f"gray {self.percent:g} %" if self.kind == "gray" else self.kind


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A release's stages, and the test that may end it.

    Args:
        stages: simulation, beta, gray steps, full, in this order; any may be missing but the last.
        alpha: at most this share of harmless releases is ever rolled back for failures; metrics add theirs.
        margin: the odds ratio of failures up to which a release is harmless.
        watch: seconds that the comparison goes on after the last stage has begun.
        round: seconds after which a device's next report counts again in the same stage.
        gap: seconds that one event may let pass at most; beyond it the clock jumped, or nobody looked.
    """

    stages: Annotated[tuple[Stage, ...], msgspec.Meta(min_length=1, max_length=64)]
    alpha: Share = 0.007
    margin: Annotated[float, msgspec.Meta(ge=1, le=16)] = 1.0
    watch: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 86400.0
    round: Positive = 86400.0
    gap: Positive = 60.0

    def metrics(self, gates: GateRegistry) -> dict[str, tuple[int, Metric]]:
        """Metric gates by name, with the first stage that has one; from that stage on it is tested."""
        found: dict[str, tuple[int, Metric]] = {}
        for at, stage in enumerate(self.stages):
            for values in stage.gates:
                if values.get("kind") == Metric.kind:
                    gate = gates.gate(values, f"stages[{at}].gates")
                    assert isinstance(gate, Metric)
                    found.setdefault(gate.name, (at, gate))
        return found


def plan_from(values: Mapping[str, Any], gates: GateRegistry | None = None) -> Plan:
    """The plan that plain values describe. Raises ReleaseError, which says where and why, if it cannot work."""
    gates = gates if gates is not None else default_gates()
    try:
        plan = msgspec.convert(_filled(values), Plan)
    except msgspec.ValidationError as error:
        raise ReleaseError(f"release plan: {error}") from error
    for at, stage in enumerate(plan.stages):
        _check_stage(stage, f"stages[{at}]", gates)
    _check_order(plan)
    _check_metrics(plan, gates)
    return plan


def _filled(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """With each stage's control; what is no plan is left as it is, to be refused."""
    if not isinstance(values, Mapping) or not isinstance(values.get("stages"), list | tuple):
        return values
    stages, control = [], FIRST_CONTROL
    for stage in values["stages"]:
        if isinstance(stage, Mapping):
            named = stage.get("kind") == "beta" and not stage.get("policy")
            most = LAST_CONTROL if stage.get("kind") == "full" else 0.0 if named else 1.0
            stage = {"control": min(control, most), **stage}
            if isinstance(stage["control"], int | float) and stage.get("kind") != "beta":
                control = stage["control"]
        stages.append(stage)
    return {**values, "stages": stages}


def _refuse(path: str, why: str) -> None:
    raise ReleaseError(f"release plan: {path}: {why}")


def _check_stage(stage: Stage, path: str, gates: GateRegistry) -> None:
    if (stage.kind == "gray") != (stage.percent is not None):
        _refuse(f"{path}.percent", "a gray stage has one, and only a gray stage")
    if stage.kind == "gray" and not stage.threshold:
        _refuse(f"{path}.percent", f"{stage.percent} % is less than one bucket of {BUCKETS}")
    if (stage.kind == "beta") != bool(stage.devices or stage.policy):
        _refuse(path, "a beta stage has devices or a policy, and only a beta stage")
    budgets = 0
    for number, values in enumerate(stage.gates):
        gate = gates.gate(values, f"release plan: {path}.gates[{number}]")
        if isinstance(gate, Budget):
            budgets += 1
        if not isinstance(gate, Sample | Metric):
            continue
        if stage.kind == "simulation" or not stage.control:
            _refuse(f"{path}.gates[{number}]", "compares with a control, which this stage does not have")
        if gate.reports > COUNTED / 2 * min(stage.control, 1 - stage.control):
            _refuse(
                f"{path}.gates[{number}].reports", f"more than can be told apart: {COUNTED} devices a stage"
            )
    if budgets > 1:
        _refuse(f"{path}.gates", "has several budgets; leave the smallest")
    if budgets and stage.kind == "simulation":
        _refuse(f"{path}.gates", "a simulation admits no device and needs no budget")
    if stage.kind == "gray" and not stage.control:
        _refuse(f"{path}.control", "a gray stage needs a control; without one, failures cannot be judged")


def _check_order(plan: Plan) -> None:
    if plan.stages[-1].kind != "full":
        _refuse("stages", "must end with a full stage")
    if plan.watch and not plan.stages[-1].control:
        _refuse(
            f"stages[{len(plan.stages) - 1}].control",
            "the comparison after full needs one; or set watch to 0",
        )
    last = plan.stages[0]
    for at, stage in enumerate(plan.stages[1:], 1):
        path = f"stages[{at}]"
        if ORDER.index(stage.kind) < ORDER.index(last.kind) or (stage.kind == last.kind != "gray"):
            _refuse(
                f"{path}.kind", f"{stage.kind} cannot follow {last.kind}; the order is {', '.join(ORDER)}"
            )
        if stage.kind == last.kind and stage.threshold <= last.threshold:
            _refuse(f"{path}.percent", f"{stage.percent} must be above {last.percent} of the stage before")
        if last.kind not in {"simulation", "beta"} and stage.control > last.control:
            _refuse(
                f"{path}.control",
                f"{stage.control} is above {last.control} of the stage before: devices would lose the version",
            )
        last = stage


def _check_metrics(plan: Plan, gates: GateRegistry) -> None:
    known = plan.metrics(gates)
    for at, stage in enumerate(plan.stages):
        for number, values in enumerate(stage.gates):
            gate = gates.gate(values, "release plan")
            if not isinstance(gate, Metric):
                continue
            first = known[gate.name][1]
            same = ("worse", "low", "high", "margin", "alpha")
            if any(getattr(first, name) != getattr(gate, name) for name in same):
                _refuse(
                    f"stages[{at}].gates[{number}]",
                    f"{gate.name} differs from its first gate in {', '.join(same)}",
                )
    total = plan.alpha + sum(gate.alpha for _, gate in known.values())
    if total > 0.5:
        _refuse("alpha", f"with the metrics' it is {total:g}: more than half of all harmless releases")
