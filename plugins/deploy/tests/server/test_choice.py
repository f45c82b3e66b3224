"""The quick form of offers against the one with reasons; and what admissions and waits come to."""

import itertools

import msgspec
import pytest
from core_world import FULL, World, gray, opened, plan
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.release.events import Admit, Created, Offer
from walle_deploy.release.machine import step
from walle_deploy.release.offers import offer
from walle_deploy.release.plan import BUCKETS
from walle_deploy.server.choice import ASK, Choice, betas

controls = st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.9])
BUDGET = {"kind": "budget", "per_minute": 60}
replace = msgspec.structs.replace


@st.composite
def states(draw):
    """Any state that matters for what is offered."""
    stages = [{"kind": "simulation"}] if draw(st.booleans()) else []
    gates = [BUDGET] if draw(st.booleans()) else []
    if draw(st.booleans()):
        beta = {"kind": "beta", "control": draw(controls), "gates": gates}
        if draw(st.booleans()):
            beta["policy"] = "staff"
        if draw(st.booleans()) or "policy" not in beta:
            beta["devices"] = ["d1", "d2"]
        stages.append(beta)
    control = 0.9
    for percent in sorted(draw(st.sets(st.sampled_from([0.001, 1, 10, 50, 99]), max_size=3))):
        control = min(control, draw(controls)) or control
        stages.append(gray(percent, *gates, control=control))
    stages.append({**FULL, "control": min(control, 0.05), "gates": gates})
    previous = draw(st.sampled_from([None, "v1"]))
    state, _ = step(None, Created(at=0.0, version="v2", previous=previous, plan=plan(*stages)))
    stage = draw(st.integers(0, len(stages) - 1))
    status = draw(st.sampled_from(["running", "running", "paused", "rolled back", "revoked"]))
    if stage == len(stages) - 1 and draw(st.booleans()):
        status = "finished"
    return replace(state, stage=stage, status=status, tokens=draw(st.sampled_from([0.0, 1.0])))


@settings(max_examples=400, deadline=None)
@given(
    states(),
    st.sampled_from(["d1", "d3"]),
    st.integers(0, BUCKETS - 1) | st.integers(0, BUCKETS // 100),
    st.sampled_from([None, "v1", "v2", "v9"]),
    st.booleans(),
)
def test_it_is_what_offer_says(state, device, bucket, running, beta):
    slow = offer(state, device, bucket, running=running, beta=beta)
    quick = Choice(state).pick(device, bucket, running, beta=beta)
    assert bool(betas(state)) or not any(s.policy for s in state.plan.stages[: state.stage + 1])
    if quick is ASK:
        assert slow.admits == (state.tokens >= 1)
        assert slow.version == ("v2" if slow.admits else state.previous)
    else:
        assert slow.version == quick
        if slow.admits:  # then no budget is asked
            stepped, effects = step(
                state, Admit(at=0.0, device=device, bucket=bucket, running=running, beta=beta)
            )
            assert next(each for each in effects if isinstance(each, Offer)).version == quick
            assert replace(stepped, hold=state.hold) == state or state.status != "running"


@pytest.fixture
def limited(world):
    """v2 goes to half of the devices, one in a second."""
    world.task()
    world.stable()
    world.released = world.platform.create_release("digits", 2, plan(gray(50, BUDGET), FULL), "ada")
    arms = world.arms(world.released, itertools.islice(world.devices(0, 50), 60))
    world.some = [device for device, arm in arms.items() if arm == "treatment"]
    return world


def test_a_minute_admits_no_more_than_its_budget(limited):
    world = limited
    admitted = {}
    for second in range(15):
        world.wait(1)
        for device in world.some:
            if world.offered(device, {"digits": "v1"}) == 2 and device not in admitted:
                admitted[device] = second
                break
        world.platform._watch.snapshot.views["digits"].again = 0.0
    assert 10 <= len(admitted) <= 16
    assert len(set(admitted.values())) == len(admitted)


def test_a_device_is_charged_once(limited):
    world = limited
    world.wait(5)
    first, second = world.some[:2]
    assert world.offered(first, {"digits": "v1"}) == 2
    for _ in range(5):
        assert world.offered(first, {"digits": "v1"}) == 2
    assert world.offered(second, {"digits": "v1"}) == 1
    world.wait(1)
    world.platform._watch.snapshot.views["digits"].again = 0.0
    assert world.offered(second, {"digits": "v1"}) == 2
    with opened(world.url, world.clock) as other:  # another worker knows it too
        assert other.check(world.profile(first, {"digits": "v1"})) is not None
        assert other.explain(first, "digits").wanted == "v2"
    assert world.state(world.released).tokens < 1


def test_a_budget_that_is_used_up_is_no_quiet_device(limited):
    world = limited
    world.wait(5)
    first, second = world.some[:2]
    assert world.offered(first, {"digits": "v1"}) == 2
    assert world.check(second, {"digits": "v1"}) is None
    assert not world.platform.check_digest(world.profile(second, {"digits": "v1"}).digest)
    before = world.platform._writer._write
    world.platform._writer._write = lambda jobs: pytest.fail("asked the database again at once")
    assert world.check(second, {"digits": "v1"}) is None
    world.platform._writer._write = before


def test_who_was_admitted_waits_while_the_release_is_paused(limited):
    world = limited
    world.wait(5)
    device = world.some[0]
    assert world.offered(device, {"digits": "v1"}) == 2
    world.platform.pause(world.released, "ada")
    assert world.offered(device, {"digits": "v1"}) == 1
    world.platform.resume(world.released, "ada")
    assert world.offered(device, {"digits": "v1"}) == 2
    world.platform.rollback(world.released, "ada")
    assert world.offered(device, {"digits": "v1"}) == 1


def test_many_admissions_in_one_transaction(limited):
    world = limited
    world.wait(5)
    asked = [world.platform.begin_check(world.profile(each, {"digits": "v1"})) for each in world.some]
    answers = [made if made is None or isinstance(made, bytes) else made.result(10) for made in asked]
    assert sum(each is not None for each in answers) == 1


def test_a_budget_outlasts_the_release(tmp_path):
    with World(f"sqlite:///{tmp_path}/x.db") as world:
        world.task()
        world.stable()
        last = {**FULL, "control": 0, "gates": [BUDGET]}
        release = world.platform.create_release("digits", 2, plan(last, watch=0), "ada")
        world.wait(2)
        device = "first"
        assert world.offered(device, {"digits": "v1"}) == 2
        world.report(device, 2)
        assert world.platform.release(release).status == "finished"
        assert [world.offered(each, {"digits": "v1"}) for each in ("a", "b")] == [1, 1]
        world.wait(1)
        world.platform._watch.snapshot.views["digits"].again = 0.0
        assert [world.offered(each, {"digits": "v1"}) for each in ("a", "b")] == [2, 1]
        assert world.platform.explain("a", "digits").wanted == "v2"
        assert world.platform.task("digits").release is None
