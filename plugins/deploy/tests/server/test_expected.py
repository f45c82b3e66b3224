"""A device that has installed its answer is known by the digest that it must have then, without describing itself again."""

import pytest
from core_world import World, gray, plan
from walle_deploy.server import checks, snapshot


@pytest.fixture
def world(tmp_path):
    with World(f"sqlite:///{tmp_path}/walle.db") as made:
        made.task()
        made.stable()
        yield made


def known(world, device, installed=None, /, **attributes):
    return world.platform.check_digest(world.profile(device, installed, **attributes).digest)


def test_an_installed_answer_is_known_by_its_digest(world):
    assert world.check("d", os="ios") == {"digits": 1}
    assert known(world, "d", {"digits": "v1"}, os="ios")
    assert known(world, "d", {"digits": "v1"}, os="ios")
    world.written()
    assert world.platform.device("d").installed == {"digits": "v1"}
    assert {v.number: v.devices for v in world.platform.task("digits").versions} == {1: 1, 2: 0}
    assert world.check("d", {"digits": "v1"}, os="ios") is None


def test_nothing_else_is_known(world):
    world.check("d", os="ios")
    assert not known(world, "d", os="ios")
    assert not known(world, "d", {"digits": "v2"}, os="ios")
    assert not known(world, "d", {"digits": "v1"}, os="android")
    assert not known(world, "e", {"digits": "v1"}, os="ios")
    world.written()
    assert world.platform.device("d").installed == {}


def test_what_changed_since_is_not_known(world):
    world.check("d")
    world.platform.create_release("digits", 2, plan(gray(100), {"kind": "full"}), "ada")
    assert not known(world, "d", {"digits": "v1"})


def test_under_a_budget_a_device_asks_again(world):
    budget = {"kind": "budget", "per_minute": 60}
    stages = {"stages": [{"kind": "full", "control": 0.0, "gates": [budget]}], "watch": 0}
    world.platform.create_release("digits", 2, stages, "ada")
    world.wait(5.0)
    assert world.check("first", {"digits": "v1"}) == {"digits": 2}
    assert not known(world, "first", {"digits": "v2"})
    assert world.check("second") == {"digits": 1}
    assert not known(world, "second", {"digits": "v1"})


def test_a_description_that_cannot_be_written_is_asked_for(world, monkeypatch):
    world.check("d")
    monkeypatch.setattr(world.platform._writer, "put", lambda _job: False)
    assert not known(world, "d", {"digits": "v1"})


def test_few_are_expected_at_a_time(world, monkeypatch):
    monkeypatch.setattr(checks, "EXPECTED", 3)
    for number in range(10):
        world.check(f"d{number}")
        assert len(world.platform._watch.snapshot.expected) <= 3
    assert known(world, "d9", {"digits": "v1"})
    assert not known(world, "d0", {"digits": "v1"})
    assert snapshot.EXPECTED > 1000


def test_a_device_that_installs_again_is_written_again(world):
    assert world.check("one") == {"digits": 1}
    assert known(world, "one", {"digits": "v1"})
    world.written()
    assert world.check("one") == {"digits": 1}  # it lost everything, and is quick to have it again
    assert known(world, "one", {"digits": "v1"})
    world.written()
    assert world.platform.device("one").installed == {"digits": "v1"}
    assert {each.number: each.devices for each in world.platform.task("digits").versions}[1] == 1
