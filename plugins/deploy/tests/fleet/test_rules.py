"""What no device may be told, and when it is judged."""

import msgspec
import pytest
from walle_deploy.buckets import bucket, threshold
from walle_deploy.fleet.court import Court
from walle_deploy.fleet.errors import BrokenRuleError
from walle_deploy.fleet.rules import Moment, Rules
from walle_deploy.release.events import Created
from walle_deploy.release.machine import step
from walle_deploy.release.offers import offer
from walle_deploy.release.plan import plan_from

PLAN = {
    "stages": [
        {"kind": "simulation"},
        {"kind": "beta", "devices": ["d7"], "policy": "staff", "control": 0.0},
        {"kind": "gray", "percent": 10, "control": 0.5},
        {"kind": "full", "control": 0.1},
    ]
}
DEVICES = [f"d{number}" for number in range(300)]


@pytest.fixture
def rules():
    return Rules("ocr", "v2", "v1", plan_from(PLAN), beta=lambda device: device == "d8", forbidden={"v3"})


def states():
    """Each stage of a release by the plan, as the machine has it."""
    state, _ = step(None, Created(at=0.0, version="v2", previous="v1", plan=PLAN))
    yield state
    for stage in (1, 2, 3):
        yield msgspec.structs.replace(state, stage=stage)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_rules_are_those_of_the_machine(rules, stage):
    """Whom the machine offers the version may get it, and nobody else."""
    state = list(states())[stage]
    moment = Moment("running", stage)
    allowed = 0
    for device in DEVICES:
        made = offer(state, device, bucket("ocr", device), running="v1", beta=device == "d8")
        if made.version == "v2":
            rules.judge(device, "v1", "v2", moment, moment)
            allowed += 1
        else:
            with pytest.raises(BrokenRuleError):
                rules.judge(device, "v1", "v2", moment, moment)
    assert allowed == pytest.approx([0, 2, 17, 270][stage], abs=[0, 0, 12, 25][stage])


RUNNING = Moment("running", 3)


@pytest.mark.parametrize(
    ("had", "told", "before", "after", "why"),
    [
        ("v1", "v9", RUNNING, RUNNING, "nobody released"),
        ("v1", None, RUNNING, RUNNING, "nobody released"),
        ("v1", "v3", RUNNING, RUNNING, "revoked"),
        ("v2", "v1", RUNNING, RUNNING, "loses v2"),
        ("v2", "v1", RUNNING, Moment("paused", 3), "loses v2"),
        ("v2", "v1", RUNNING, Moment("finished", 3), "loses v2"),
        ("v1", "v2", Moment("rolled back", 3), Moment("rolled back", 3), "which was rolled back"),
        ("v1", "v2", Moment("revoked", 3), Moment("revoked", 3), "which was revoked"),
        ("v1", "v2", Moment("paused", 3), Moment("paused", 3), "paused"),
    ],
)
def test_what_nobody_may_be_told(rules, had, told, before, after, why):
    with pytest.raises(BrokenRuleError, match=why):
        rules.judge("d7", had, told, before, after)


@pytest.mark.parametrize(
    ("had", "told", "before", "after"),
    [
        ("v1", "v2", RUNNING, RUNNING),
        (None, "v1", RUNNING, RUNNING),
        ("v2", "v1", RUNNING, Moment("rolled back", 3)),
        ("v1", "v2", RUNNING, Moment("rolled back", 3)),  # it was told in between
        ("v1", "v2", Moment("paused", 3), RUNNING),
        ("v2", "v2", Moment("paused", 3), Moment("paused", 3)),
    ],
)
def test_what_may_be_told(rules, had, told, before, after):
    rules.judge("d7", had, told, before, after)
    assert rules.judged == 1


def test_the_court_waits_until_it_knows(rules):
    court = Court(rules)
    court.look(0.0, Moment("running", 1))
    inside = next(d for d in DEVICES if bucket("ocr", d) < threshold(100_000) and d not in {"d7", "d8"}
                  and offer(list(states())[2], d, bucket("ocr", d), running="v1").version == "v2")  # fmt: skip
    court.hear(inside, {"ocr": "v1"}, {"ocr": "v2"}, 5.0)
    assert court.waiting == 1
    court.look(4.0, Moment("running", 1))
    assert court.waiting == 1
    court.look(5.0, Moment("running", 2))
    assert court.waiting == 0
    court.hear(inside, {"ocr": "v2"}, {"ocr": "v1"}, 6.0)
    with pytest.raises(BrokenRuleError, match="loses"):
        court.look(7.0, Moment("running", 2))


def test_the_court_allows_for_a_lease(rules):
    court = Court(rules, slack=1.0)
    court.look(0.0, RUNNING)
    court.look(10.0, Moment("rolled back", 3))
    court.hear("d7", {"ocr": "v1"}, {"ocr": "v2"}, 10.9)
    court.hear("d7", {"ocr": "v1"}, {"ocr": "v2"}, 11.1)
    with pytest.raises(BrokenRuleError, match="rolled back"):
        court.look(12.0, Moment("rolled back", 3))
    assert court.rules.judged == 2
