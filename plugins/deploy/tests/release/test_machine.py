"""Each gate, each event, each state: one step at a time."""

from typing import ClassVar

import attrs
import pytest
from releases import FULL, GRAY, Release, plan
from walle_deploy.errors import ReleaseError
from walle_deploy.release.events import (
    Created,
    Finished,
    Held,
    Ignored,
    Pause,
    Report,
    Resume,
    Revoke,
    Rollback,
    RolledBack,
    StageChanged,
    Tick,
)
from walle_deploy.release.explain import explain
from walle_deploy.release.gates import GateRegistry, Verdict, register_gates
from walle_deploy.release.machine import step
from walle_deploy.release.state import RECENT, decode, encode

BETA = {"kind": "beta", "devices": ["a", "b"]}
MS = {"kind": "metric", "name": "ms", "worse": "higher", "low": 0, "high": 1000, "margin": 20}


def gray(*gates, **fields):
    return {**GRAY, "gates": list(gates), **fields}


def test_the_whole_way():
    made = Release({"kind": "simulation"}, BETA, gray(), {**GRAY, "percent": 50}, FULL, watch=100)
    made.simulated()
    for _ in range(3):
        made.reports(1)
    made.reports(1)
    made.wait(90)
    assert made.state.status == "running"
    made.wait(20)
    assert made.state.status == "finished"
    stages = [effect.title for effect in made.told if isinstance(effect, StageChanged)]
    assert stages == ["simulation", "beta", "gray 10 %", "gray 50 %", "full"]
    assert made.told[-1] == Finished()


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


def simulation():
    return Release({"kind": "simulation"}, GRAY, FULL)


def approval():
    made = Release(gray({"kind": "approval"}), FULL)
    made.reports(10)
    return made


def paused():
    made = Release(gray({"kind": "approval"}), FULL)
    made.send(Pause(at=0.0))
    return made


def full():
    made = Release(GRAY, FULL)
    made.reports(10)
    assert made.state.current.kind == "full"
    return made


def finished():
    made = Release(FULL, watch=10)
    made.reports(1)
    made.wait(20)
    made.reports(1)
    assert made.state.status == "finished"
    return made


@pytest.mark.parametrize("start", [simulation, approval, paused, full, finished])
@pytest.mark.parametrize("end", [Rollback, Revoke])
def test_rollback_by_hand_in_every_state(start, end):
    made = start()
    made.send(end(at=made.now, who="ada", why="complaints"))
    assert isinstance(made.effects[0], RolledBack)
    assert made.effects[0].previous == "v1"
    made.send(Resume(at=made.now))
    made.reports(5)
    made.approve("ada")
    made.simulated()
    made.wait(1000)
    assert made.state.final
    assert made.admit("a", 0, running="v2").version == "v1"
    assert len([effect for effect in made.told if isinstance(effect, RolledBack)]) == 1


@pytest.mark.parametrize("start", [approval, paused, full])
def test_the_test_rolls_back_in_every_state_with_data(start):
    made = start()
    assert made.break_it() < 60
    assert made.state.status == "rolled back"
    assert made.state.why.startswith("failures: ")
    assert made.admit("a", 0, running="v2").version == "v1"


def test_a_failed_simulation_ends_the_release():
    made = simulation()
    made.simulated(passed=False, why="3 of 5 logs raised")
    assert made.state.why == "the simulation failed: 3 of 5 logs raised"


def test_a_pause_admits_nobody_and_ends_no_stage():
    made = Release({**GRAY, "control": 0.01}, FULL)
    assert made.admit("a", 1).admits
    made.send(Pause(at=0.0))
    made.reports(5)
    assert made.state.stage == 0
    assert made.state.hold == "pause"
    assert made.admit("b", 2).version == "v1"
    assert made.admit("a", 1, running="v2").version == "v2"
    made.send(Resume(at=0.0))
    assert made.state.stage == 1


def test_a_revocation_after_a_rollback():
    made = full()
    made.send(Rollback(at=0.0, who="ada"))
    made.send(Revoke(at=0.0, who="bob", why="leaks"))
    assert made.state.status == "revoked"
    assert made.send(Revoke(at=0.0, who="bob")) == (Ignored("revoked already"),)
    assert made.admit("a", 0).why == "v2 was revoked: revoked by bob: leaks"


def test_reports_that_do_not_fit_change_nothing():
    made = simulation()
    assert made.report(True) == (Ignored("no device has the version yet"),)
    made = approval()
    before = made.state.failures
    made.state, effects = step(made.state, reported(version="v1", arm="treatment"))
    assert effects == (Ignored("treatment: its devices do not run v1"),)
    made.state, effects = step(made.state, reported(version="v2", arm="control"))
    assert effects == (Ignored("control: its devices do not run v2"),)
    assert made.state.failures == before


def reported(**fields):
    return Report(at=0.0, device="q", number=1, failed=True, **fields)


def test_a_stage_without_control_is_counted_but_not_compared():
    made = Release({**BETA, "control": 0}, {"kind": "full", "control": 0}, watch=0)
    made.report(True, failed=True)
    assert made.state.stage == 1
    assert made.state.failures.treatment.reports == 0
    made.report(True)
    made.wait(1)
    assert made.state.status == "finished"


def test_named_beta_devices_all_get_it_and_stay_outside_the_comparison():
    made = Release(BETA, {**GRAY, "control": 0.9}, FULL)
    assert made.state.current.control == 0
    for device, bucket in (("a", 1), ("b", 2**32 - 1)):
        offer = made.admit(device, bucket)
        assert (offer.version, offer.arm, offer.admits) == ("v2", "outside", True)
    assert made.admit("c", 1).version == "v1"
    made.send(reported(version="v2", arm="outside"))
    assert made.state.stage == 1
    assert made.state.failures.treatment.reports == 0
    assert made.admit("a", 2**32 - 1, running="v2").version == "v2"
    assert made.send(reported(version="v2", arm="outside"))[0] == Ignored(
        "the device is outside the comparison"
    )


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


def test_texts_are_cut():
    made = full()
    made.send(Rollback(at=0.0, who="ada", why="x" * 10**6))
    assert len(encode(made.state)) < 40_000


def test_a_first_release_has_nothing_before_it():
    made = Release(GRAY, FULL, previous=None)
    assert made.admit("a", 2**31).version is None
    made.reports(1)
    assert made.state.stage == 1


def test_events_that_cannot_be():
    with pytest.raises(ReleaseError, match="Created comes first"):
        step(None, Tick(at=0.0))
    created = Created(at=0.0, version="v1", previous="v1", plan=plan(FULL))
    with pytest.raises(ReleaseError, match="another than the previous"):
        step(None, created)
    made = full()
    with pytest.raises(ReleaseError, match="created already"):
        made.send(created)
    with pytest.raises(ReleaseError, match="is no time"):
        made.send(Tick(at=float("nan")))
    with pytest.raises(ReleaseError, match="bucket"):
        made.admit("a", 2**32)
    with pytest.raises(ReleaseError, match="who gave it"):
        made.approve("")


def test_damaged_states():
    data = encode(full().state)
    assert decode(data) == full().state
    with pytest.raises(ReleaseError, match="backup"):
        decode(data[:-3])
    with pytest.raises(ReleaseError, match="backup"):
        decode(b"\xff\xff")
