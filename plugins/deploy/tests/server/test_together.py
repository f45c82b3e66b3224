"""Devices that ask at once: each gets its own answer, though they share signatures."""

import asyncio

import pytest
from core_world import World, answer, gray, plan
from walle_deploy.errors import DeployError
from walle_deploy.server.gathering import Gathering
from walle_deploy.server.refusals import BusyError


@pytest.fixture
def world(tmp_path):
    with World(f"sqlite:///{tmp_path}/walle.db") as made:
        made.task()
        made.stable()
        yield made


def test_each_gets_what_it_would_get_alone(world):
    release = world.platform.create_release("digits", 2, plan(gray(50), {"kind": "full"}), "ada")
    some = [world.profile(f"d{number}", {"digits": "v1"}) for number in range(80)]
    some += [world.profile("new"), world.profile("quiet", {"digits": "v9"})]
    alone = [world.offered(one.id, one.installed) for one in some]
    found = world.platform.begin_checks([(one, b"n%d" % place) for place, one in enumerate(some)])
    told = 0
    for place, (one, wire, number) in enumerate(zip(some, found, alone, strict=True)):
        if wire is None:
            assert one.installed == {"digits": f"v{number}"}
            continue
        told += 1
        mine = answer(wire)
        assert (mine.device, mine.nonce) == (one.id, b"n%d" % place)
        assert {task.name: task.version for task in mine.tasks} == {"digits": number}
    assert told > 16
    assert world.platform.release(release).status == "running"


def test_counters_rise_in_the_order_of_the_answers(world):
    found = world.platform.begin_checks([(world.profile(f"d{number}"), b"") for number in range(20)])
    counters = [answer(wire).counter for wire in found]
    assert counters == sorted(set(counters))


def test_what_cannot_be_answered_does_not_spoil_the_others(world):
    found = world.platform.begin_checks(
        [(world.profile("a"), b""), (world.profile("b"), bytes(33)), (world.profile("c"), b"")]
    )
    assert answer(found[0]).device == "a"
    assert isinstance(found[1], DeployError)
    assert answer(found[2]).device == "c"


def test_what_they_have_installed_is_known_by_their_digests(world):
    world.platform.begin_checks([(world.profile(f"d{number}"), b"") for number in range(3)])
    digests = [world.profile(f"d{number}", {"digits": "v1"}).digest for number in range(4)]
    assert world.platform.check_digests(digests) == [True, True, True, False]
    world.written()
    assert world.platform.device("d2").installed == {"digits": "v1"}


def test_nobody_is_told_what_may_not_be_offered_any_more(world, monkeypatch):
    """The lease is looked at when all are signed."""
    signer = world.platform._checks._signer
    real = signer.seal

    def slow(payloads):
        made = real(payloads)
        world.platform._watch.snapshot.valid_until = 0.0
        return made

    monkeypatch.setattr(signer, "seal", slow)
    found = world.platform.begin_checks([(world.profile("a"), b""), (world.profile("b"), b"")])
    assert all(isinstance(each, BusyError) for each in found)
    with pytest.raises(BusyError):
        world.platform.begin_check(world.profile("c"))


def test_admissions_under_a_budget_are_given_to_each(world):
    budget = {"kind": "budget", "per_minute": 60}
    stages = {"stages": [{"kind": "full", "control": 0.0, "gates": [budget]}], "watch": 0}
    world.platform.create_release("digits", 2, stages, "ada")
    world.wait(5.0)
    asked = [(world.profile(f"d{number}"), b"") for number in range(3)]
    found = [each.result(10) for each in world.platform.begin_checks(asked)]
    assert [{task.version for task in answer(wire).tasks} for wire in found] == [{2}, {1}, {1}]


class Counted:
    """A platform that notes how many answers it seals together."""

    def __init__(self, platform):
        self.platform, self.calls, self.prepare_check = platform, [], platform.prepare_check

    def seal(self, some):
        self.calls.append(len(some))
        return self.platform.seal(some)


def gathered(world, platform, names, **has):
    async def run():
        gathering = Gathering(platform)
        asked = (gathering.check(world.profile(name, has)) for name in names)
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(run())


def test_those_that_come_in_one_turn_of_the_loop_share_a_signature(world):
    platform = Counted(world.platform)
    found = gathered(world, platform, ["a", "b", "c"])
    assert platform.calls == [3]
    assert [answer(wire).device for wire in found] == ["a", "b", "c"]
    assert {wire[0] for wire in found} == {2}
    assert len({wire[9:73] for wire in found}) == 1


def test_one_alone_has_a_signature_of_its_own(world):
    platform = Counted(world.platform)
    assert gathered(world, platform, ["a"])[0][0] == 1
    assert gathered(world, platform, ["a", "b"], digits="v1") == [None, None]
    assert platform.calls == [1]


def test_a_refusal_is_that_of_the_device_it_is_for(world):
    found = gathered(world, Counted(world.platform), ["a", "b c", "d"])
    assert isinstance(found[1], DeployError)
    assert [answer(found[place]).device for place in (0, 2)] == ["a", "d"]


def test_a_fault_in_signing_is_told_to_all(world, monkeypatch):
    monkeypatch.setattr(world.platform._checks._signer, "seal", lambda _payloads: 1 / 0)
    found = gathered(world, world.platform, ["a", "b"])
    assert all(isinstance(each, ZeroDivisionError) for each in found)


def test_one_that_gave_up_does_not_hold_the_others_up(world):
    async def run():
        gathering = Gathering(world.platform)
        tasks = [asyncio.ensure_future(gathering.check(world.profile(name))) for name in ("a", "b")]
        await asyncio.sleep(0)
        tasks[0].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(run())
    assert isinstance(found[0], asyncio.CancelledError)
    assert answer(found[1]).device == "b"
