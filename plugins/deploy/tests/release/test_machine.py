"""Each event in each state: one step at a time."""

import pytest
from releases import FULL, GRAY, Release, plan
from walle_deploy.errors import ReleaseError
from walle_deploy.release.events import (
    Created,
    Finished,
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
from walle_deploy.release.machine import step
from walle_deploy.release.state import decode, encode

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
