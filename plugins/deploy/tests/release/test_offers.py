"""Who gets what, and what is said of it."""

import msgspec
import pytest
from releases import FULL, GRAY, Release
from walle_deploy.release.events import Pause, Rollback
from walle_deploy.release.explain import explain, explain_device
from walle_deploy.release.offers import burst, draw, offer
from walle_deploy.release.plan import BUCKETS

BETA = {"kind": "beta", "devices": ["a"], "policy": "staff"}
WIDER = {"kind": "gray", "percent": 60, "control": 0.2}


def test_shares_are_as_said_and_only_grow():
    made = Release(GRAY, WIDER, FULL)
    had = set()
    for share, control in ((0.1, 0.5), (0.6, 0.2), (1.0, 0.05)):
        offers = {number: offer(made.state, f"d{number}", draw(number, "b")) for number in range(4000)}
        mine = {number for number, made_ in offers.items() if made_.arm == "treatment"}
        other = {number for number, made_ in offers.items() if made_.arm == "control"}
        assert len(mine) == pytest.approx(4000 * share * (1 - control), rel=0.15)
        assert len(other) == pytest.approx(4000 * share * control, rel=0.25)
        assert mine >= had
        assert all(offers[number].version == ("v2" if number in mine else "v1") for number in offers)
        had = mine
        made.reports(1)


def test_the_control_is_another_draw_than_the_stage_and_differs_between_versions():
    small = range(0, BUCKETS // 100, BUCKETS // 100_000)
    assert sum(draw(bucket, "v2") < BUCKETS // 2 for bucket in small) == pytest.approx(500, abs=60)
    same = sum((draw(bucket, "v2") < BUCKETS // 2) == (draw(bucket, "v3") < BUCKETS // 2) for bucket in small)
    assert same == pytest.approx(500, abs=60)


def test_draws_are_published():
    assert [draw(bucket, "v2") for bucket in (0, 1, BUCKETS - 1)] == [1076634115, 1651979997, 3264577046]


def test_beta_devices_stay_in_later_stages():
    made = Release({**BETA, "control": 0}, {"kind": "full", "control": 0}, watch=0)
    assert offer(made.state, "a", BUCKETS - 1).version == "v2"
    assert offer(made.state, "b", 0).version == "v1"
    assert offer(made.state, "b", 0, beta=True).why == "meets the beta policy staff"


def test_a_budget_is_not_saved_up():
    assert burst(60) == burst(1) == 1.0
    assert burst(6000) == 100.0
    budget = {"kind": "budget", "per_minute": 6000}
    made = Release({**GRAY, "control": 0.01, "gates": [budget]}, FULL)
    made.wait(3600)
    assert sum(made.admit(f"d{number}", 5).admits for number in range(500)) <= 100


def test_a_release_is_explained():
    made = Release(
        {**GRAY, "gates": [{"kind": "time", "seconds": 100}, {"kind": "sample", "reports": 2}]}, FULL
    )
    made.reports(1)
    standing = explain(made.state)
    assert standing.line == (
        "v2 is running, stage 1 of 2, gray 10 %: 100 s of 100 s are left; "
        "1 reports of the new version and 1 of the control, 2 of each wanted"
    )
    assert standing.next_at is None
    made.reports(1)
    made.wait(30)
    standing = explain(made.state)
    assert standing.next_at == 100.0
    assert [(line.name, line.met) for line in standing.gates] == [
        ("data", True),
        ("time", False),
        ("sample", True),
    ]
    assert standing.tests[0].treatment == (2, 0.0)
    assert standing.tests[0].high is None
    assert standing.share == pytest.approx(0.1)
    msgspec.json.encode(standing)
    made.send(Pause(at=made.now))
    assert explain(made.state).gates[0].name == "pause"
    made.send(Rollback(at=made.now, who="ada", why="complaints"))
    assert explain(made.state).line == "v2 was rolled back: by ada: complaints; v1 runs instead"
    assert explain(made.state).share == 0.0


def test_a_device_is_explained():
    made = Release({"kind": "simulation"}, GRAY, FULL)
    assert explain_device(made.state, "a", 5).offer.why == "v2 is in simulation"
    made.simulated()
    inside = next(bucket for bucket in range(100) if draw(bucket, "v2") >= BUCKETS // 2)
    control = next(bucket for bucket in range(100) if draw(bucket, "v2") < BUCKETS // 2)
    found = explain_device(made.state, "a", inside)
    assert (found.offer.arm, found.stage, found.title, found.drawn_for_control) == (
        "treatment",
        2,
        "gray 10 %",
        False,
    )
    assert found.offer.why == f"bucket {inside} is below {found.threshold} (gray 10 %)"
    assert "drawn for the control, 0.5 of all" in explain_device(made.state, "a", control).offer.why
    outside = explain_device(made.state, "a", BUCKETS - 1)
    assert outside.offer.why == f"bucket {BUCKETS - 1} is not below {found.threshold} (gray 10 %)"
    msgspec.json.encode(outside)
