"""A fleet and a platform in one process, on a simulated clock."""

import attrs
import pytest
from walle_deploy.fleet.court import Court
from walle_deploy.fleet.direct import Direct
from walle_deploy.fleet.errors import BrokenRuleError
from walle_deploy.fleet.fleet import Fleet, Nature
from walle_deploy.fleet.habits import HOUR, Habits
from walle_deploy.fleet.outcomes import Failing
from walle_deploy.fleet.own import NEW, OLD, TASK, Clock, moment, own_platform
from walle_deploy.fleet.population import Population
from walle_deploy.fleet.simulate import simulate
from walle_deploy.release.plan import plan_from

HABITS = Habits(per_hour=4.0, spell_hours=0.3, late=0.05, late_hours=1.0)
NATURE = Nature(start={TASK: f"v{OLD}"}, habits=HABITS)
SAMPLE = [{"kind": "sample", "reports": 10}]
PLAN = {
    "stages": [
        {"kind": "simulation"},
        {"kind": "beta", "policy": "beta", "control": 0.0},
        {"kind": "gray", "percent": 20, "control": 0.5, "gates": SAMPLE},
        {
            "kind": "gray",
            "percent": 60,
            "control": 0.3,
            "gates": [{"kind": "time", "seconds": 600}, {"kind": "approval"}],
        },
        {"kind": "full", "control": 0.05},
    ]
}


def test_a_release_reaches_everybody_stage_by_stage():
    scenes = []
    story = simulate(
        Population(1500),
        NATURE,
        PLAN,
        hours=6,
        step=60,
        on_scene=scenes.append,
        asked=lambda p: {"counts": p.counts()},
    )
    assert story.done
    assert [*dict.fromkeys(scene.title for scene in scenes)] == ["beta", "gray 20 %", "gray 60 %", "full"]
    for title, share in (("gray 20 %", 0.2), ("gray 60 %", 0.6)):
        some = [scene.coverage for scene in scenes if scene.title == title]
        assert max(some) <= share * 0.8
    assert all(a.covered <= b.covered + 3 for a, b in zip(scenes, scenes[1:], strict=False))
    assert 0.93 <= story.last.coverage <= 0.96
    assert story.judged >= story.last.covered
    assert story.extra["counts"].devices == pytest.approx(1500, abs=30)
    tally = story.last.tally
    assert tally.digests > tally.profiles > tally.answers
    assert tally.quiet > 0
    assert tally.reports > 1500


def test_a_version_that_fails_on_some_devices_is_rolled_back():
    where = {"device": {"os": "android"}}
    failing = {"v1": 0.01, "v2": [Failing(0.01), Failing(0.4, where)]}
    story = simulate(Population(3000), attrs.evolve(NATURE, failing=failing), PLAN, hours=6, step=60)
    assert story.done
    assert story.last.status == "rolled back"
    assert story.last.coverage < 0.01
    assert 0.01 < story.peak < 0.3
    assert "failures" in story.line


def test_time_passes_although_reports_come_all_the_time():
    gates = [{"kind": "time", "seconds": 300}]
    plan = {"stages": [{"kind": "gray", "percent": 50, "gates": gates}, {"kind": "full"}]}
    story = simulate(Population(1000), NATURE, plan, hours=0.5, step=15)
    assert story.last.title == "full"


def test_a_budget_slows_admissions():
    gates = [{"kind": "budget", "per_minute": 5}]
    plan = {"stages": [{"kind": "full", "control": 0.5, "gates": gates}]}
    story = simulate(Population(1000), NATURE, plan, hours=0.5, step=30)
    assert 0 < story.last.covered <= 5 * 30 + 5


def test_nothing_done_when_time_is_over():
    plan = {"stages": [{"kind": "gray", "percent": 50, "gates": SAMPLE}, {"kind": "full"}]}
    story = simulate(Population(100), NATURE, plan, hours=0.05, step=30)
    assert not story.done


def test_a_platform_that_offers_too_much_is_caught(tmp_path):
    """The rules are computed from the plan, so that a server which offers to all breaks them."""
    clock = Clock(1_800_000_000.0)
    everyone = {"stages": [{"kind": "full", "control": 0.05}]}
    careful = plan_from({"stages": [{"kind": "gray", "percent": 1}, {"kind": "full"}]})
    with own_platform(tmp_path, everyone, clock, lease=60.0) as own:
        wrong = attrs.evolve(own, plan=careful)
        court = Court(wrong.rules(Population(500)))
        fleet = Fleet(Population(500), NATURE, own.director, court, 30.0)
        direct, at = Direct(own.platform, clock, fleet), 0.0
        court.look(0.0, moment(own.look()))
        with pytest.raises(BrokenRuleError, match=r"bucket \d+ is not below"):
            while at < HOUR:
                at += 30.0
                direct.advance(at)
                court.look(at, moment(own.look()))


def test_everything_that_was_sent_arrived(tmp_path):
    """Reports that the platform took are in its counts, repeated and late ones too."""
    clock = Clock(1_800_000_000.0)
    plan = {"stages": [{"kind": "full", "control": 0.5}]}
    with own_platform(tmp_path, plan, clock, lease=60.0) as own:
        fleet = Fleet(Population(300), NATURE, own.director, None, 30.0)
        direct = Direct(own.platform, clock, fleet)
        for at in range(30, 3630, 30):
            direct.advance(float(at))
        assert own.platform.release(own.release).heard == fleet.tally.reports > 300
        found = own.platform.device("sim-0000005")
        assert found.installed == fleet.devices.sets[fleet.devices.now(5)]
        versions = {version.number: version.devices for version in own.platform.task(TASK).versions}
        having = fleet.having(TASK, f"v{NEW}")
        assert versions[NEW] == pytest.approx(having, abs=3)
