"""A fleet at a real server."""

import threading
import time

import pytest
from walle_deploy.client.api import DeployClient
from walle_deploy.fleet.errors import FleetError
from walle_deploy.fleet.fleet import Nature
from walle_deploy.fleet.habits import Habits
from walle_deploy.fleet.load import Way
from walle_deploy.fleet.remote import Aim, director_of, simulate_at
from walle_deploy.fleet.running import run_fleet

QUICK = {"stages": [{"kind": "full", "control": 0.1}], "round": 0.5}


def test_devices_register_install_run_and_report(server, task):
    server.release(task, 2, QUICK)
    stop, seen = threading.Event(), []

    def look(now):
        seen.append(now)
        if now.installed.get(task, {}).get("v2", 0) >= 50 and now.tally.reports >= 100:
            stop.set()

    end = threading.Timer(30.0, stop.set)
    end.start()
    run_fleet(server.url, server.enrol, 60, {"v2": 0.5}, stop, look, every=0.3, prefix="registered-")
    end.cancel()
    last = seen[-1]
    assert 50 <= last.installed[task]["v2"] <= 60
    assert last.installed[task].get("v1", 0) + last.installed[task]["v2"] == 60
    assert last.tally.quiet > 0
    assert last.tally.busy == 0
    with DeployClient(server.url, server.tokens["viewer"]) as client:
        release = client.releases(task, 1)[0]
        assert release.reached >= 45
        assert release.heard >= 90
        found = client.device("registered-0000007")
        assert found.device["os"] in {"android", "ios"}
        assert found.installed[task] in {"v1", "v2"}
        assert client.release(release.id).failures


def follow(server, task, plan, failing, **options):
    nature = Nature(failing=failing, habits=Habits.eager(1.0), verify=1.0, install_s=(0.05, 0.2))
    way = Way(url=server.url, enrol=server.enrol, connections=4)
    with DeployClient(server.url, server.tokens["operator"]) as client:
        return simulate_at(
            client, Aim(task=task, version=2, plan=plan), 200, nature, way, workers=2, seconds=40,
            step=0.1, prefix=f"{task[:8]}-", director=director_of(server.url), **options,
        )  # fmt: skip


def test_a_release_reaches_all(server, task):
    gates = [{"kind": "sample", "reports": 5}, {"kind": "time", "seconds": 2}]
    plan = {
        "stages": [{"kind": "gray", "percent": 30, "gates": gates}, {"kind": "full", "control": 0.1}],
        "round": 1,
    }
    scenes = []
    story = follow(server, task, plan, {}, on_scene=scenes.append)
    assert story.done
    assert story.last.title == "full"
    assert story.last.coverage > 0.8
    assert {scene.title for scene in scenes} >= {"gray 30 %", "full"}
    assert all(a.covered <= b.covered for a, b in zip(scenes, scenes[1:], strict=False))
    assert story.judged >= story.last.covered
    assert story.verified == story.answers == story.last.tally.answers
    assert story.last.tally.up > 0 < story.last.tally.down


def test_a_bad_release_is_rolled_back(server, task):
    gates = [{"kind": "sample", "reports": 5000}]
    plan = {"stages": [{"kind": "gray", "percent": 50, "gates": gates}, {"kind": "full"}], "round": 0.2}
    story = follow(server, task, plan, {"v1": 0.0, "v2": 0.6})
    assert story.done
    assert story.last.status == "rolled back"
    assert story.last.covered <= 2
    assert story.peak > 0.05
    assert "failures" in story.line


def test_a_server_that_is_not_there():
    with pytest.raises(FleetError, match="no server answers"):
        run_fleet("http://127.0.0.1:9", "secret", 3)


def test_an_enrolment_secret_that_is_none(server):
    with pytest.raises(FleetError, match="a registration: HTTP status 401"):
        run_fleet(server.url, "wrong", 3)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://[", "http://x:y"])
def test_an_address_that_is_none(url):
    with pytest.raises(FleetError, match="no URL"):
        run_fleet(url, "secret", 3)


def test_a_fleet_outlives_its_connections(server, task):
    """Devices go on when the server ends connections; what was not answered is asked again."""
    from walle_deploy.fleet.fleet import Fleet
    from walle_deploy.fleet.load import Load
    from walle_deploy.fleet.population import Population
    from walle_deploy.fleet.running import run_load

    nature = Nature(habits=Habits.eager(0.2), reporting=0.0, install_s=(0.1, 0.2))
    load = Load(
        Fleet(Population(20, prefix="cut-"), nature), Way(url=server.url, enrol=server.enrol, connections=2)
    )
    stop, began, cut = threading.Event(), time.monotonic(), []

    def look(load):
        if len(cut) < 3:
            cut.append(load.fleet.tally.checks)
            for link in tuple(load._links[0]._links):
                link._transport.abort()
        if time.monotonic() - began > 4:
            stop.set()

    run_load(load, stop, look)
    assert load._links[0].broken >= 4
    assert load.fleet.tally.digests > cut[-1] + 100
    assert load.fleet.devices.counts()[0] == 0
