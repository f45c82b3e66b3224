"""No worker tells a device to go back by what it knew before the device asked: another one may have told it more since."""

from concurrent.futures import Future

import pytest
from core_world import AT_ONCE, World, answer, opened, plan
from walle_deploy.errors import DeployError
from walle_deploy.server.refusals import BusyError
from walle_deploy.trust.answer import ROLLBACK

NEVER_S = 3600.0  # between two looks: the tests look themselves


@pytest.fixture
def two(url):
    """A world with version 1 for everybody, and another worker that does not know of it."""
    with World(url) as world, opened(url, world.clock, poll=NEVER_S) as other:
        world.task()
        world.stable()
        world.other = other
        yield world


def asked(world, device, installed):
    """What the other worker says to a device, which it has to look for."""
    made = world.other.begin_check(world.profile(device, installed))
    assert isinstance(made, Future)
    assert not made.done()
    return made


def told(made):
    """Task -> number of an answer; None if nothing is new."""
    wire = made.result(30)
    return None if wire is None else {task.name: task.version for task in answer(wire).tasks}


def test_a_task_that_was_just_installed_stays(two):
    assert two.offered("d") == 1
    made = asked(two, "d", {"digits": "v1"})
    two.other.refresh()
    assert told(made) is None
    assert two.other.check_digest(two.profile("d", {"digits": "v1"}).digest)


def test_a_version_that_was_just_installed_stays(two):
    two.other.refresh()
    two.platform.create_release("digits", 2, AT_ONCE, "ada")
    assert two.offered("d", {"digits": "v1"}) == 2
    made = asked(two, "d", {"digits": "v2"})
    two.other.refresh()
    assert told(made) is None


def test_what_was_taken_back_is_told_by_every_worker(two):
    release = two.platform.create_release("digits", 2, AT_ONCE, "ada")
    two.other.refresh()
    two.platform.rollback(release, "ada", "complaints")
    assert two.other.begin_check(two.profile("d", {"digits": "v2"})) is None  # as far as it knows
    two.other.refresh()
    made = asked(two, "d", {"digits": "v2"})
    two.other.refresh()
    (task,) = answer(made.result(30)).tasks
    assert task.version == 1
    assert task.flags & ROLLBACK
    two.platform.retire("digits", "ada")
    made = asked(two, "e", {"other": "v1"})
    two.other.refresh()
    assert told(made) == {}


def test_whoever_does_not_go_back_waits_for_nothing(two):
    two.other.refresh()
    assert isinstance(two.other.begin_check(two.profile("d")), bytes)
    assert two.other.begin_check(two.profile("d", {"digits": "v1"})) is None


def test_an_admission_comes_after_the_look(two):
    """A device that loses one task waits for a budget's admission to another."""
    two.task("letters")
    two.stable("letters")
    two.other.refresh()
    budget = {"kind": "budget", "per_minute": 600}
    two.platform.create_release(
        "letters", 2, plan({"kind": "full", "control": 0.0, "gates": [budget]}, watch=0), "ada"
    )
    two.wait(5.0)
    two.platform.retire("digits", "ada")
    made = asked(two, "d", {"letters": "v1", "digits": "v9"})
    two.other.refresh()
    assert told(made) == {"letters": 2}


def test_a_look_that_fails_is_told_and_the_next_one_serves(two, monkeypatch):
    loader, real = two.other._watch._loader, two.other._watch._loader.load

    def gone(known):
        raise DeployError("the disk is gone; look for it")

    monkeypatch.setattr(loader, "load", gone)
    made = asked(two, "d", {"digits": "v1"})
    with pytest.raises(DeployError, match="the disk is gone"):
        two.other.refresh()
    with pytest.raises(BusyError, match="try again"):
        made.result(30)
    monkeypatch.setattr(loader, "load", real)
    made = asked(two, "d", {"digits": "v1"})
    two.other.refresh()
    assert told(made) is None


def test_nobody_waits_for_a_worker_that_has_ended(two):
    made = asked(two, "d", {"digits": "v1"})
    two.other.close()
    for ended in (made.result, lambda _: two.other.begin_check(two.profile("d", {"digits": "v1"}))):
        with pytest.raises(BusyError, match="this worker ends"):
            ended(30)


def test_the_thread_looks_by_itself(url):
    with World(url) as world, opened(url, world.clock, poll=0.05) as other:
        world.task()
        world.stable()
        assert other.check(world.profile("d", {"digits": "v1"})) is None
