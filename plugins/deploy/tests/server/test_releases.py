"""Releases from their creation to their end, as devices and operators see them."""

import itertools

import msgspec
import pytest
from core_world import AT_ONCE, FULL, answer, gray, opened, plan
from walle_deploy.errors import ReleaseError
from walle_deploy.server.refusals import ConflictError
from walle_deploy.server.types import DeviceReport


@pytest.fixture
def started(world):
    """v1 is stable, and v2 may be released."""
    world.task()
    world.stable()
    return world


HOLD = {"kind": "time", "seconds": 1000}


def test_a_release_goes_through_its_stages(started):
    world, platform = started, started.platform
    approval = {"kind": "approval", "approvers": 1, "roles": ["lead"]}
    stages = (
        {"kind": "simulation"},
        {"kind": "beta", "devices": ["beta-1"], "gates": [approval]},
        gray(10, {"kind": "sample", "reports": 3}),
        FULL,
    )
    release = platform.create_release("digits", 2, plan(*stages, watch=60), "ada")
    low, high = next(world.devices(0, 10)), next(world.devices(10, 100))
    assert world.offered("beta-1", {"digits": "v1"}) == 1
    platform.simulated(release, True, "replayed 1,000 events", "ada")
    assert world.offered("beta-1", {"digits": "v1"}) == 2
    assert world.offered(low, {"digits": "v1"}) == 1
    world.report("beta-1", 2)
    assert platform.release(release).standing.title == "beta"
    platform.approve(release, "bob", "qa")
    assert platform.release(release).standing.title == "beta"
    platform.approve(release, "eve", "lead", "looks good")
    assert platform.release(release).standing.title == "gray 10 %"
    assert world.offered(high, {"digits": "v1"}) == 1
    some = list(itertools.islice(world.devices(0, 10), 20))
    arms = world.arms(release, some)
    for device, arm in arms.items():
        assert world.offered(device, {"digits": "v1"}) == (2 if arm == "treatment" else 1)
    world.run(release, some)
    found = platform.release(release)
    assert found.standing.title == "full"
    assert platform.task("digits").stable == 1
    world.run(release, itertools.islice(world.devices(0, 100, salt="f"), 200))
    assert platform.release(release).status == "running"
    world.wait(30)
    world.wait(31)
    found = platform.release(release)
    assert found.status == "finished"
    assert platform.task("digits").stable == 2
    assert world.offered(high, {"digits": "v1"}) == 2
    history = [(line.action, line.who) for line in found.history]
    assert ("approve", "eve") in history
    assert history[0] == ("release", "ada")
    assert history[-1] == ("finished", "walle")
    assert [line.text for line in found.history if line.action == "stage"] == [
        "2: beta",
        "3: gray 10 %",
        "4: full",
    ]
    assert found.heard == 200 + 20 + 1


def test_a_broken_version_is_rolled_back_by_its_reports(started):
    world, platform = started, started.platform
    release = platform.create_release("digits", 2, plan(gray(50), FULL), "ada")
    some = list(itertools.islice(world.devices(0, 50), 200))
    world.run(release, some, lambda arm, _: arm == "treatment", why=lambda *_: "it crashed")
    found = platform.release(release)
    assert found.status == "rolled back"
    assert "failures" in found.standing.line
    assert found.history[-1].who == "walle"
    assert found.failures[0].why == "it crashed"
    assert found.failures[0].version == "v2"
    assert found.standing.tests[0].treatment[0] < 60  # the others came after the end
    assert world.offered(some[0], {"digits": "v2"}) == 1
    assert platform.task("digits").release is None
    with pytest.raises(ConflictError, match="rolled back in release 2"):
        platform.create_release("digits", 2, plan(FULL), "ada")
    world.version("digits", 3)
    assert platform.create_release("digits", 3, plan(gray(50), FULL), "ada") == 3


def test_what_devices_say_of_their_arm_does_not_count(started):
    world, platform = started, started.platform
    release = platform.create_release("digits", 2, plan(gray(10), FULL), "ada")
    done = []
    for device in itertools.islice(world.devices(10, 100), 50):
        lies = [DeviceReport(1, "digits", "v2", failed=True), DeviceReport(2, "digits", "v1", failed=True)]
        done.append(platform.begin_report(device, lies))  # these were never offered v2
    for device, arm in world.arms(release, itertools.islice(world.devices(0, 10), 50)).items():
        other = ["v1" if arm == "treatment" else "v2", None, "v77"]
        lies = [DeviceReport(number, "digits", each, failed=True) for number, each in enumerate(other)]
        done.append(platform.begin_report(device, lies))
    for each in done:
        each.result(30)
    found = platform.release(release)
    assert found.standing.reports == (0, 0)
    assert found.heard == 250
    assert found.failures == ()


def test_beta_devices_by_their_profile(started):
    world, platform = started, started.platform
    platform.set_segment("staff", {"user": {"staff": True}}, "ada")
    beta = {"kind": "beta", "policy": "staff", "control": 0.5, "gates": [HOLD]}
    release = platform.create_release("digits", 2, plan(beta, FULL), "ada")
    staff = {"digits": "v1"}
    arms = {1: 0, 2: 0}
    for number in range(40):
        profile = world.profile(f"s{number}", staff)
        profile = msgspec.structs.replace(profile, user={"staff": True})
        wire = platform.check(profile)
        version = 1 if wire is None else answer(wire).tasks[0].version
        world.written()
        world.report(f"s{number}", version)
        arms[version] += 1
    assert min(arms.values()) > 5
    found = platform.release(release).standing
    assert found.reports == (arms[2], arms[1])
    assert "meets the beta policy staff" in platform.explain("s1", "digits").why


def test_pause_and_resume(started):
    world, platform = started, started.platform
    release = platform.create_release("digits", 2, plan(gray(50), FULL), "ada")
    arms = world.arms(release, itertools.islice(world.devices(0, 50), 20))
    device = next(d for d, arm in arms.items() if arm == "treatment")
    assert world.offered(device, {"digits": "v1"}) == 2
    platform.pause(release, "ada", "looks odd")
    assert world.offered(device, {"digits": "v1"}) == 1
    assert world.offered(device, {"digits": "v2"}) == 2  # who has it keeps it
    assert platform.task("digits").release == release
    platform.resume(release, "ada")
    assert world.offered(device, {"digits": "v1"}) == 2
    assert [line.action for line in platform.release(release).history] == ["release", "pause", "resume"]


def test_an_operator_rolls_back_in_every_state(started):
    world, platform = started, started.platform
    stages = [{"kind": "simulation"}, {"kind": "beta", "devices": ["b"]}, gray(10), FULL]
    for reach, number in enumerate(range(2, 6)):
        if number > 2:
            world.version("digits", number)
        release = platform.create_release("digits", number, plan(*stages[reach:]), "ada")
        if number == 3:
            platform.pause(release, "ada")
        platform.rollback(release, "bob", "complaints")
        found = platform.release(release)
        assert (found.status, found.history[-1].who) == ("rolled back", "bob")
        assert world.offered("b", {"digits": f"v{number}"}) == 1
        for again in (platform.rollback, platform.pause, platform.resume):
            with pytest.raises(ConflictError, match="final"):
                again(release, "ada")


def test_a_failed_simulation_ends_the_release(started):
    platform = started.platform
    release = platform.create_release("digits", 2, plan({"kind": "simulation"}, FULL), "ada")
    platform.simulated(release, False, "3 of 100 outputs differ")
    assert platform.release(release).status == "rolled back"
    assert "3 of 100 outputs differ" in platform.release(release).standing.line


def test_revoking_takes_the_version_back_everywhere(started):
    world, platform = started, started.platform
    world.version("digits", 3)
    world.stable("digits", 2)
    world.stable("digits", 3)
    assert world.offered("one", {"digits": "v3"}) == 3
    platform.revoke("digits", 2, "ada", "unsafe")
    assert world.offered("one", {"digits": "v3"}) == 3
    assert world.offered("one", {"digits": "v2"}) == 3
    platform.revoke("digits", 3, "ada", "unsafe too")
    assert world.offered("one", {"digits": "v3"}) == 1  # v2, which was before it, is revoked as well
    assert platform.task("digits").stable == 1
    platform.revoke("digits", 1, "ada", "and this")
    assert world.check("one", {"digits": "v1"}) == {}
    assert [each.revoked for each in platform.task("digits").versions] == ["unsafe too", "unsafe", "and this"]
    with pytest.raises(ConflictError, match="was revoked: unsafe"):
        platform.create_release("digits", 2, AT_ONCE, "ada")
    platform.revoke("digits", 1, "ada", "again")  # changes nothing
    assert platform.task("digits").versions[2].revoked == "and this"


def test_revoking_the_version_before(started):
    world, platform = started, started.platform
    world.version("digits", 3)
    world.stable("digits", 2)
    release = platform.create_release("digits", 3, plan(gray(50), FULL), "ada")
    old = next(d for d in world.devices(50, 100))
    assert world.offered(old, {"digits": "v2"}) == 2
    platform.revoke("digits", 2, "ada", "unsafe")
    assert world.offered(old, {"digits": "v2"}) == 1
    assert platform.release(release).status == "running"
    platform.rollback(release, "ada")
    assert world.offered(old, {"digits": "v3"}) == 1


def test_revoking_a_version_that_is_being_released(started):
    world, platform = started, started.platform
    release = platform.create_release("digits", 2, plan(gray(50), FULL), "ada")
    platform.revoke("digits", 2, "ada", "unsafe")
    assert platform.release(release).status == "revoked"
    assert world.offered(next(world.devices(0, 50)), {"digits": "v2"}) == 1


def test_a_version_that_was_stable_may_be_released_again(started):
    world, platform = started, started.platform
    world.stable("digits", 2)
    world.stable("digits", 1)
    assert world.offered("one", {"digits": "v2"}) == 1
    with pytest.raises(ConflictError, match="run already"):
        platform.create_release("digits", 1, AT_ONCE, "ada")


def test_only_one_release_of_a_task_goes_on(started):
    world, platform = started, started.platform
    world.version("digits", 3)
    platform.create_release("digits", 2, plan(gray(50), FULL), "ada")
    with pytest.raises(ConflictError, match="release 2 of digits v2 goes on"):
        platform.create_release("digits", 3, plan(gray(50), FULL), "ada")


def test_plans_that_cannot_work_change_nothing(started):
    platform = started.platform
    before = platform.counts().epoch
    for bad in (
        {},
        {"stages": []},
        plan(gray(50)),
        plan(gray(50, {"kind": "nonsense"}), FULL),
        {"stages": "x"},
    ):
        with pytest.raises(ReleaseError, match="plan"):
            platform.create_release("digits", 2, bad, "ada")
    assert platform.counts().epoch == before
    assert platform.counts().releases == {"finished": 1}


def test_duplicate_late_and_reordered_reports(started):
    world, platform = started, started.platform
    release = platform.create_release("digits", 2, plan(gray(50, HOLD), FULL), "ada")
    first = next(world.numbers) + 1
    arms = world.run(release, itertools.islice(world.devices(0, 50), 30))
    once = platform.release(release).standing
    for number, (device, arm) in reversed(list(enumerate(arms.items(), first))):
        world.report(device, 2 if arm == "treatment" else 1, again=number)
    again = platform.release(release)
    assert again.standing.reports == once.reports
    assert again.standing.repeated == 30
    assert again.heard == 60
    world.report(device, 2 if arm == "treatment" else 1, again=-(2**63))
    assert platform.release(release).standing.again == 1


def test_clock_jumps_are_harmless(started):
    world, platform = started, started.platform
    release = platform.create_release("digits", 2, plan(gray(50, HOLD), FULL), "ada")
    some = list(itertools.islice(world.devices(0, 50), 20))
    world.run(release, some)
    for jump in (-1e6, 1e7, -5, 1e6, -1e9):
        world.wait(jump)
        assert platform.release(release).standing.title == "gray 50 %"
    found = platform.release(release)
    assert found.standing.jumps >= 4
    assert found.standing.lasted <= 3 * 60
    for _ in range(34):
        world.wait(30)
    assert "no data" in platform.release(release).standing.line
    world.run(release, some)
    assert platform.release(release).standing.title == "full"


def test_time_passes_while_devices_report_all_the_time(started):
    world, platform = started, started.platform
    timed = gray(50, {"kind": "time", "seconds": 100})
    release = platform.create_release("digits", 2, plan(timed, FULL), "ada")
    some = list(itertools.islice(world.devices(0, 50), 60))
    for number in range(0, 60, 5):
        world.clock.now += 10
        world.run(release, some[number : number + 5])
        platform.tick()
    assert platform.release(release).standing.title == "full"


def test_ticks_are_wanted_when_something_is_due(started):
    world, platform = started, started.platform
    assert platform.tick() == 1.0
    timed = gray(50, {"kind": "time", "seconds": 0.5})
    release = platform.create_release("digits", 2, plan(timed, FULL), "ada")
    assert 0 < platform.tick() <= 0.5
    before = platform.release(release).revision
    platform.tick()
    assert platform.release(release).revision == before  # nothing was due
    world.wait(0.6)
    assert platform.release(release).revision == before + 1


def test_a_release_that_cannot_be_stepped_does_not_keep_others_back(started, caplog):
    import sqlalchemy as sa
    from walle_deploy.server.schema import releases

    world, platform = started, started.platform
    timed = plan(gray(50, {"kind": "time", "seconds": 5}), FULL)
    bad = platform.create_release("digits", 2, timed, "ada")
    world.task("other")
    world.stable("other")
    good = platform.create_release("other", 2, timed, "ada")
    world.run(good, itertools.islice(world.devices(0, 50, "other"), 20), task="other")
    broken = sa.update(releases).where(releases.c.id == bad).values(state=b"nonsense")
    platform.database.write(lambda found: found.execute(broken))
    world.clock.now += 6
    assert 0 < platform.tick() <= 1
    assert platform.release(good).standing.title == "full"
    assert f"release {bad} cannot go on" in caplog.text
    with opened(world.url) as other:
        assert other.health() == ""
        assert other.check(world.profile("one", {"digits": "v2", "other": "v1"})) is not None
    assert "the release of digits offers nothing" in caplog.text


def test_metrics_decide_too(started):
    world, platform = started, started.platform
    latency = {"kind": "metric", "name": "ms", "worse": "higher", "low": 0, "high": 1000, "margin": 10}
    release = platform.create_release("digits", 2, plan(gray(50, latency, HOLD), FULL), "ada")

    def values(arm, _):
        return {"ms": 900.0 if arm == "treatment" else 100.0, "other": float("nan")}

    world.run(release, itertools.islice(world.devices(0, 50), 400), values=values)
    assert platform.release(release).status == "rolled back"
    assert "ms" in platform.release(release).standing.line


def test_the_curve_and_the_reasons_are_bounded(started, monkeypatch):
    from walle_deploy.server import curves, stepping

    monkeypatch.setattr(curves, "POINTS", 50)
    monkeypatch.setattr(stepping, "FAILURES", 20)
    world, platform = started, started.platform
    beta = {"kind": "beta", "devices": [f"b{n}" for n in range(300)], "control": 0.5}
    release = platform.create_release("digits", 2, plan(beta, FULL, alpha=1e-9), "ada")
    for number in range(0, 300, 3):
        world.clock.now += 1.5
        some = [f"b{each}" for each in range(number, number + 3)]
        world.run(
            release, some, lambda *_: True, why=lambda _, place, first=number: f"reason {first + place}"
        )
    points = platform.curve(release)
    assert 10 <= len(points) <= 50
    assert [point.at for point in points] == sorted(point.at for point in points)
    assert points[-1].treated + points[-1].control == 300 - platform.release(release).standing.again
    counts = [point.treated + point.control for point in points]
    assert counts == sorted(counts)
    found = platform.release(release)
    assert [line.why for line in found.failures] == [f"reason {n}" for n in range(299, 279, -1)]


def test_coverage_is_counted_as_devices_describe_themselves(started):
    world, platform = started, started.platform

    def covered():
        world.written()
        return {each.number: each.devices for each in platform.task("digits").versions}

    for number in range(10):
        world.check(f"d{number}")
    assert covered() == {1: 0, 2: 0}
    before = platform.counts().devices - 10
    for number in range(10):
        world.check(f"d{number}", {"digits": "v1"})
    assert covered() == {1: 10, 2: 0}
    for number in range(4):
        world.check(f"d{number}", {"digits": "v2", "strange": "v1"})
        world.check(f"d{number}", {"digits": "v2", "strange": "v1"})
    assert covered() == {1: 6, 2: 4}
    world.check("d9", {"digits": "v999"})
    world.check("d8", {"digits": "nonsense"})
    world.check("d7", {})
    assert covered() == {1: 3, 2: 4}
    world.check("d7", {"digits": "v1"})  # an earlier description again
    assert covered() == {1: 4, 2: 4}
    assert platform.counts().devices == 10 + before
    release = platform.create_release("digits", 2, plan(gray(50), FULL), "ada")
    assert platform.release(release).reached == 4


def test_who_says_what_is_new(started):
    world, platform = started, started.platform
    known = {}

    def news():
        found = platform.changed(known)
        known.update({each.release: each.revision for each in found})
        return [(each.release, each.status) for each in found]

    assert news() == [(1, "finished")]
    assert news() == []
    release = platform.create_release("digits", 2, plan(gray(50), FULL), "ada")
    assert news() == [(release, "running")]
    world.report(next(world.devices(0, 50)), 2)
    assert news() == [(release, "running")]
    platform.rollback(release, "ada")
    assert news() == [(release, "rolled back")]
    assert news() == []


def test_reports_that_are_too_much_are_refused(started):
    platform = started.platform
    from walle_deploy.errors import DeployError
    from walle_deploy.server.refusals import TooLargeError

    good = DeviceReport(1, "digits", "v1", failed=False)
    for bad in (
        [good] * 257,
        [DeviceReport(1, "digits", "v1", failed=False, values={str(n): 1.0 for n in range(65)})],
        [DeviceReport(1, "digits", "v1", failed=False, why="x" * 5000)],
    ):
        with pytest.raises(TooLargeError, match="at most"):
            platform.report("one", bad)
    for device in ("", "a b", "a" * 129, "é", "a\0", 7):
        with pytest.raises(DeployError, match="visible ASCII"):
            platform.report(device, [good])
    with pytest.raises(DeployError, match="64 bits"):
        platform.report("one", [DeviceReport(2**63, "digits", "v1", failed=False)])
    platform.report("one", [])
    platform.report("one", [DeviceReport(1, "'; DROP\0", "v1\0", failed=True, why="\0\ud800")])
