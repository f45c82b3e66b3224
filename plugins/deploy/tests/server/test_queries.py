"""Lists in parts, searches, and explanations."""

import pytest
from core_world import AT_ONCE, FULL, gray, plan
from walle_deploy.errors import DeployError
from walle_deploy.server.refusals import MissingError


def test_devices_in_parts(world):
    names = sorted(f"{prefix}{number:02}" for prefix in ("a", "a%", "b_", "Z", "~") for number in range(7))
    for name in names:
        world.check(name, os="android")
    world.written()
    platform, found, after = world.platform, [], ""
    while some := platform.devices(after=after, limit=4):
        found += [each.id for each in some]
        after = found[-1]
    assert found == names
    assert [each.id for each in platform.devices(prefix="a%")] == [f"a%{number:02}" for number in range(7)]
    assert [each.id for each in platform.devices(prefix="b_", after="b_04")] == ["b_05", "b_06"]
    assert platform.devices(prefix="'; DROP TABLE devices; --") == []
    assert platform.devices(after="\0\ud800", limit=-5) == []
    one = platform.device("a00")
    assert (one.device, one.seen, one.installed) == ({"os": "android"}, 1_800_000_000, {})
    assert one.digest == world.profile("a00", os="android").digest.hex()
    with pytest.raises(MissingError, match="'nobody'"):
        platform.device("nobody")


def test_the_last_description_counts(world):
    world.check("one", os="android")
    world.check("one", os="ios")
    world.written()
    assert world.platform.device("one").device == {"os": "ios"}
    assert world.platform.counts().devices == 1
    world.clock.now += 4000
    world.platform._watch.snapshot.quiet.clear()
    world.check("one", os="ios")
    world.written()
    assert world.platform.device("one").seen == 1_800_004_000


def test_tasks_and_releases_in_parts(world):
    platform = world.platform
    for name in "abcde":
        world.task(name, versions=(1, 2))
        platform.create_release(name, 1, AT_ONCE, "ada")
    assert [each.name for each in platform.tasks(limit=2)] == ["a", "b"]
    assert [each.name for each in platform.tasks(after="c")] == ["d", "e"]
    assert [each.id for each in platform.releases(limit=2)] == [5, 4]
    assert [each.id for each in platform.releases(before=3)] == [2, 1]
    assert [each.task for each in platform.releases(task="c")] == ["c"]
    assert platform.releases()[0].plan is None
    found = platform.release(1)
    assert found.plan == AT_ONCE
    assert found.standing.status == "running"
    counts = platform.counts()
    assert (counts.tasks, counts.releases, counts.waiting) == (5, {"running": 5}, 0)


def test_the_audit_log(world):
    world.task()
    for number in range(30):
        world.platform.note("bob", "look", f"task/{number}", f"note {number} 100%")
    platform = world.platform
    newest = platform.audit(limit=5)
    assert [line.text for line in newest] == [f"note {number} 100%" for number in range(29, 24, -1)]
    assert platform.audit(limit=1, before=newest[-1].id)[0].text == "note 24 100%"
    assert [line.text for line in platform.audit(what="task/7")] == ["note 7 100%"]
    assert [line.text for line in platform.audit(text="NOTE 7 ")] == ["note 7 100%"]
    assert len(platform.audit(text="0%", limit=1000)) == 30
    assert [line.action for line in platform.audit(text="digits")] == ["add", "add", "add"]
    assert platform.audit(text="' OR 1=1 --") == []
    assert len(platform.audit(limit=10**9)) == 33
    times = [line.at for line in platform.audit(what="task/digits")]
    assert times == [1_800_000_000]


def test_explanations(world):
    platform = world.platform
    world.task(policy={"all": [{"device": {"os": "android"}}, {"not": {"user": {"age": {"lt": 18}}}}]})
    found = platform.explain("one", "digits")
    assert (found.known, found.wanted, found.why) == (
        False,
        None,
        "the device does not meet the task's policy",
    )
    assert found.policy.parts[0].verdict is None
    platform.set_policy("digits", {"device": {"os": "android"}}, "ada")
    world.check("one", os="android")
    world.written()
    found = platform.explain("one", "digits")
    assert (found.known, found.wanted, found.why) == (True, None, "no version was released")
    world.platform.set_policy("digits", {"everyone": True}, "ada")
    world.stable()
    found = platform.explain("one", "digits")
    assert (found.wanted, found.why, found.release) == ("v1", "v1 is stable, and no release goes on", None)
    release = platform.create_release("digits", 2, plan(gray(50), FULL), "ada")
    for device in ("one", "two", "three", "four", "five"):
        found = platform.explain(device, "digits")
        assert found.release == release
        assert found.wanted == f"v{world.offered(device, {'digits': 'v1'})}"
        assert str(found.standing.bucket) in found.why
    platform.retire("digits", "ada")
    found = platform.explain("one", "digits")
    assert (found.wanted, found.why, found.standing) == (None, "the task was retired", None)
    for bad in ("", "a b", "x" * 200, "é"):
        with pytest.raises(DeployError, match="visible ASCII"):
            platform.explain(bad, "digits")
    with pytest.raises(DeployError, match="use 1 to 64"):
        platform.explain("one", "'; --")
