"""Each gate: what it waits for, and what does not pass it."""

from typing import ClassVar

import attrs
import pytest
from releases import FULL, GRAY, Release
from walle_deploy.errors import ReleaseError
from walle_deploy.release.events import (
    Held,
    Ignored,
    Tick,
)
from walle_deploy.release.explain import explain
from walle_deploy.release.gates import GateRegistry, Verdict, register_gates
from walle_deploy.release.state import RECENT

BETA = {"kind": "beta", "devices": ["a", "b"]}
MS = {"kind": "metric", "name": "ms", "worse": "higher", "low": 0, "high": 1000, "margin": 20}


def gray(*gates, **fields):
    return {**GRAY, "gates": list(gates), **fields}


def test_time():
    made = Release(gray({"kind": "time", "seconds": 100}), FULL)
    made.reports(1)
    made.wait(95)
    assert made.state.stage == 0
    made.wait(10)
    assert made.state.stage == 1


def test_a_clock_that_goes_back_shortens_nothing():
    made = Release(gray({"kind": "time", "seconds": 100}), FULL, gap=60)
    made.reports(1)
    for at in (50, 0, 50, 10, 50, 49, 50):  # the same minute again and again
        made.send(Tick(at=at))
    assert made.state.elapsed == 50
    made.send(Tick(at=-1e6))  # far back: believed, and nothing is gained
    made.send(Tick(at=-1e6 + 40))
    assert made.state.elapsed == 90
    assert made.state.stage == 0
    assert made.state.jumps >= 3
    made.send(Tick(at=-1e6 + 55))
    assert made.state.stage == 1


def test_a_clock_that_jumps_ahead_passes_neither_time_nor_sample():
    made = Release(gray({"kind": "time", "seconds": 100}), FULL, gap=60)
    made.reports(1)
    made.send(Tick(at=1e9))
    assert made.state.stage == 0
    made = Release(gray({"kind": "sample", "reports": 1}), FULL)
    made.report(True)
    made.send(Tick(at=1e9))
    assert made.state.stage == 0


def test_reports_are_no_clock():
    made = Release(gray({"kind": "time", "seconds": 10}), FULL)
    made.now = 1e6
    made.reports(5)
    assert made.state.elapsed == 0


def test_sample_counts_devices_once():
    made = Release(gray({"kind": "sample", "reports": 3}), FULL)
    for number in range(10):
        made.report(True, device="x", number=number)
        made.report(False, device="y", number=number)
    assert made.state.counted == (1, 1)
    assert made.state.again == 18
    made.reports(2)
    assert made.state.stage == 1


def test_a_repeated_report_counts_once_though_stages_pass():
    made = Release(gray(), {**GRAY, "percent": 50}, FULL)
    made.report(True, failed=True, device="x", number=7)
    made.report(False)
    assert made.state.stage == 1
    made.report(True, failed=True, device="x", number=7)
    assert made.effects[0] == Ignored("repeated")
    assert made.state.failures.treatment.failed == 1
    for _ in range(RECENT // 2):
        made.reports(1)
    assert len(made.state.recent) == 8 * RECENT


def test_a_device_counts_again_in_the_next_round():
    made = Release(gray({"kind": "sample", "reports": 100}), FULL, round=50)
    made.report(True, device="x", number=1)
    made.wait(60)
    made.report(True, device="x", number=2)
    assert made.state.counted == (2, 0)


def test_approval():
    two = {"kind": "approval", "approvers": 2, "roles": ["lead", "qa"]}
    made = Release(gray(two), FULL)
    made.reports(1)
    made.approve("ada", "lead")
    made.approve("ada", "qa")
    made.approve("eve", "guest")
    assert made.approve("ada", "qa") == (Ignored("ada approved already"),)
    assert made.state.stage == 0
    made.approve("bob", "qa")
    assert made.state.stage == 1
    assert made.state.approvals == ()


def test_metric_refutes():
    made = Release(gray(MS, {"kind": "time", "seconds": 1e6}), FULL)
    for _ in range(600):
        made.report(True, values={"ms": 300.0, "other": 1.0})
        made.report(False, values={"ms": 200.0})
        if made.state.final:
            break
    assert made.state.status == "rolled back"
    assert made.state.why.startswith("ms: 300 against 200 of the control")


def test_metric_waits_until_it_is_proven_and_goes_on_later():
    proven = {**MS, "margin": 200, "proven": True, "reports": 5}
    made = Release(gray(proven), FULL)
    made.reports(4, values={"ms": 200.0})
    assert "4 and 4 values, 5 of each wanted" in made.told[-1].why or made.state.stage == 0
    made.reports(500, values={"ms": 200.0})
    assert made.state.stage == 1
    before = made.state.metrics["ms"].test.treatment.reports
    made.reports(1, values={"ms": float("nan")})
    made.reports(1, values={"ms": 200.0})
    assert made.state.metrics["ms"].test.treatment.reports == before + 1


def test_budget():
    made = Release(gray({"kind": "budget", "per_minute": 60}, control=0.01), FULL)
    admitted = 0
    for number in range(600):
        made.now += 0.5
        admitted += made.admit(f"d{number}", number).admits
    assert 280 <= admitted <= 301
    offer = made.admit("again", 3, running="v2")
    assert (offer.version, offer.admits) == ("v2", False)


def test_no_data_holds_and_never_advances():
    made = Release(gray({"kind": "time", "seconds": 10}), FULL)
    made.wait(2000)
    assert made.state.stage == 0
    held = [effect.why for effect in made.told if isinstance(effect, Held)]
    assert held[0] == "gray 10 %: no data of the new version in this stage; 10 s of 10 s are left"
    made.reports(1)
    assert made.state.stage == 1


def test_data_that_stops_holds():
    made = Release(gray({"kind": "approval"}, silence=300), FULL)
    made.reports(50)
    made.wait(200)
    assert made.state.hold == "approval"
    made.wait(200)
    assert made.state.hold == "data, approval"
    assert "no data of the new version for 310 s; 0 of 1 approvals" in made.told[-1].why
    made.approve("ada")
    assert made.state.stage == 0
    made.report(True)
    assert made.state.stage == 0
    made.report(False)
    assert made.state.stage == 1


def test_a_stages_failures_are_counted():
    made = Release(gray({"kind": "approval"}), FULL)
    made.report(True, failed=True)
    made.report(False)
    assert explain(made.state).failed == (1, 0)


def test_gates_of_other_kinds_hold():
    registry = GateRegistry()
    register_gates(registry)
    registry.add(Weekday)
    made = Release(gray({"kind": "weekday", "day": "Monday"}), FULL, gates=registry)
    made.reports(2)
    assert made.told[-1] == Held("gray 10 %: it is not Monday")
    with pytest.raises(ReleaseError, match="weekday"):
        made.gates = None
        made.reports(1)


@attrs.frozen
class Weekday:
    kind: ClassVar[str] = "weekday"
    day: str

    def check(self, view):
        return Verdict(False, f"it is not {self.day}")
