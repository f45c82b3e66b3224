"""Plans that can work, and what is said of those that cannot."""

import tomllib

import pytest
from releases import FULL, GRAY, plan
from walle_deploy.errors import ReleaseError
from walle_deploy.release.gates import GateRegistry, Verdict, default_gates, register_gates
from walle_deploy.release.plan import BUCKETS, plan_from

METRIC = {"kind": "metric", "name": "ms", "worse": "higher", "low": 0, "high": 100, "margin": 5}


def gray(*gates, **fields):
    return {**GRAY, "gates": list(gates), **fields}


def test_a_plan_from_toml():
    made = plan_from(
        tomllib.loads("""
alpha = 0.005
[[stages]]
kind = "simulation"
gates = [{kind = "approval", approvers = 1, roles = ["lead"]}]
[[stages]]
kind = "beta"
policy = "staff"
[[stages]]
kind = "gray"
percent = 0.0001
gates = [{kind = "time", seconds = 600}, {kind = "sample", reports = 100}, {kind = "budget", per_minute = 50}]
[[stages]]
kind = "full"
control = 0.05
""")
    )
    assert [stage.title for stage in made.stages] == ["simulation", "beta", "gray 0.0001 %", "full"]
    assert made.stages[2].threshold == round(BUCKETS / 1e6)
    assert made.alpha == 0.005


def test_a_control_goes_on_from_stage_to_stage_and_is_small_at_the_end():
    def controls(*stages):
        return [stage.control for stage in plan_from(plan(*stages)).stages]

    more = {"kind": "gray", "percent": 50}
    assert controls({"kind": "simulation"}, GRAY, more, FULL) == [0.5, 0.5, 0.5, 0.05]
    assert controls({**GRAY, "control": 0.2}, more, FULL) == [0.2, 0.2, 0.05]
    assert controls({**GRAY, "control": 0.01}, FULL) == [0.01, 0.01]
    assert controls({"kind": "beta", "devices": ["a"]}, GRAY, FULL) == [0.0, 0.5, 0.05]
    assert controls({"kind": "beta", "policy": "staff"}, GRAY, FULL) == [0.5, 0.5, 0.05]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "stages"),
        (plan(), "length >= 1"),
        (plan({"kind": "grey"}), r"grey.*stages\[\.*0?\.*\]"),
        (plan(FULL, colour=1), "colour"),
        (plan(FULL, alpha=2), r"\$\.alpha"),
        (plan(FULL, margin=0.5), r"\$\.margin"),
        (plan(GRAY), "must end with a full stage"),
        (plan({"kind": "gray"}, FULL), r"stages\[0\]\.percent"),
        (plan({"kind": "gray", "percent": 101}, FULL), "percent"),
        (plan({"kind": "gray", "percent": 1e-9}, FULL), "less than one bucket"),
        (plan({"kind": "full", "percent": 5}), r"stages\[0\]\.percent"),
        (plan({"kind": "beta"}, FULL), "devices or a policy"),
        (plan({**GRAY, "devices": ["a"]}, FULL), "devices or a policy"),
        (plan(GRAY, GRAY, FULL), r"stages\[1\]\.percent: 10.0 must be above 10.0"),
        (plan(GRAY, {"kind": "simulation"}, FULL), "simulation cannot follow gray"),
        (plan(FULL, FULL), "full cannot follow full"),
        (plan({**GRAY, "control": 0.1}, {**GRAY, "percent": 20, "control": 0.2}, FULL), "devices would lose"),
        (plan({**GRAY, "control": 0}, FULL), "needs a control"),
        (plan({**GRAY, "control": 1.0}, FULL), "control"),
        (plan({"kind": "full", "control": 0}), "set watch to 0"),
        (plan(gray({}), FULL), r"stages\[0\]\.gates\[0\]\.kind: no gate None; there are approval, budget"),
        (plan(gray({"kind": "luck"}), FULL), "no gate 'luck'"),
        (plan(gray({"kind": "time", "seconds": -1}), FULL), r"stages\[0\]\.gates\[0\] \(time\)"),
        (plan(gray({"kind": "time", "minutes": 1}), FULL), r"\(time\).*minutes"),
        (plan(gray({"kind": "sample", "reports": 0}), FULL), r"\(sample\)"),
        (plan(gray({"kind": "sample", "reports": 10**6}), FULL), "told apart"),
        (plan({"kind": "simulation", "gates": [{"kind": "sample", "reports": 1}]}, FULL), "does not have"),
        (
            plan({"kind": "simulation", "gates": [{"kind": "budget", "per_minute": 1}]}, FULL),
            "needs no budget",
        ),
        (
            plan(gray({"kind": "budget", "per_minute": 1}, {"kind": "budget", "per_minute": 2}), FULL),
            "several",
        ),
        (plan(gray({"kind": "approval", "approvers": 0}), FULL), r"\(approval\)"),
        (plan(gray({**METRIC, "low": 200}), FULL), "low must be below high"),
        (plan(gray({**METRIC, "high": float("inf")}), FULL), r"\(metric\)"),
        (plan(gray({**METRIC, "margin": 100}), FULL), "must be below the range"),
        (plan(gray({**METRIC, "worse": "bigger"}), FULL), "bigger"),
        (plan(gray(METRIC, {**METRIC, "margin": 6}), FULL), r"gates\[1\]: ms differs from its first gate"),
        (plan(gray({**METRIC, "alpha": 0.6}), FULL), "more than half"),
    ],
)
def test_plans_that_cannot_work(values, said):
    with pytest.raises(ReleaseError, match=said):
        plan_from(values)


def test_gates_of_other_kinds():
    class Weekday:
        kind = "weekday"

        def check(self, view):
            return Verdict(False, "it is Sunday")

    registry = GateRegistry()
    register_gates(registry)
    registry.add(Weekday)
    with pytest.raises(ReleaseError, match="already"):
        registry.add(Weekday)
    with pytest.raises(ReleaseError, match="no gate 'weekday'"):
        default_gates().gate({"kind": "weekday"}, "here")
