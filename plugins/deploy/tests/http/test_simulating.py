"""Releases in their simulation stage are judged by the server itself, in a process that devices do not wait for."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest
from walle_deploy.errors import DeployError
from walle_deploy.server import simulating
from walle_deploy.server.testing import running_server

PREFIX = "/api/v1"
PLAN = {"stages": [{"kind": "simulation"}, {"kind": "full", "control": 0.0}], "watch": 0}

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="tasks run in processes of their own, which needs POSIX"
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Recorded events, and tasks for them."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "simulate"))
    import simulate_world

    simulate_world.log = simulate_world.recorded(tmp_path_factory.mktemp("logs") / "a.events")
    return simulate_world


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (made := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return made


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def beside(pid):
    """The processes that one has started to do more than to look after its resources."""
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [
        child
        for child in map(int, itertools.chain(*found))
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def standing(server, release):
    return server.call("GET", f"{PREFIX}/releases/{release}", expect=200).json["standing"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes in /proc")
def test_a_server_judges_releases_and_leaves_no_process_behind(recorded, tmp_path):
    with running_server(tmp_path, arguments=["--simulate", str(recorded.log)], tunnel="none") as server:
        (process,) = until(lambda: beside(server.process.pid))
        server.add_task("visits")
        server.publish("visits", 1, recorded.task())
        first = server.release("visits", 1, PLAN)
        until(lambda: standing(server, first)["title"] == "full")
        headers = {"authorization": f"Bearer {server.register('phone')}", "walle-id": "phone"}
        body = msgspec.msgpack.encode([[1, "visits", "v1", False, {}, ""]])
        server.call("POST", "/walle/reports", body, role=None, headers=headers, expect=204)
        server.publish("visits", 2, recorded.task("assert clicks != 5"))
        second = server.release("visits", 2, PLAN)
        until(lambda: standing(server, second)["status"] == "rolled back")
        assert "worse than the baseline" in standing(server, second)["line"]
        told = [line for line in server.logged() if line["event"] == "simulated"]
        assert [(line["release"], line["verdict"]) for line in told] == [
            (first, "passed"),
            (second, "failed"),
        ]
        assert server.call("GET", f"{PREFIX}/audit?text=the simulation".replace(" ", "%20")).json
        server.process.kill()
        server.process.wait()
        until(lambda: not alive(process))


def test_its_process_is_started_anew_and_ends_in_the_middle(recorded, tmp_path, monkeypatch):
    from http_world import World

    monkeypatch.setattr(simulating, "BREATH_S", 0.01)
    logs = tmp_path / "logs"
    logs.mkdir()
    recorded.recorded(logs / "few.events", 10)
    world = World(tmp_path / "server", simulate=(str(logs),))
    try:
        world.add_task("visits")
        world.publish("visits", 1, recorded.task())
        release = world.release("visits", 1, PLAN)
        settings = msgspec.structs.replace(world.settings, base_url="http://127.0.0.1/walle")
        with simulating.Simulating(settings):
            told = until(lambda: world.call("GET", f"{PREFIX}/audit?text=no%20data").json)
            assert [(line["what"], line["who"]) for line in told] == [(f"release/{release}", simulating.WHO)]
            (process,) = multiprocessing.active_children()
            os.kill(process.pid, signal.SIGKILL)
            recorded.recorded(logs / "more.events", 120, seed=2)
            until(lambda: standing(world, release)["title"] == "full")
        assert not multiprocessing.active_children()
    finally:
        world.close()


def test_only_those_in_their_simulation_stage_are_looked_at(tmp_path):
    sys.path.insert(0, str(Path(__file__).parent.parent / "server"))
    from core_world import World

    with World(f"sqlite:///{tmp_path}/walle.db") as world:
        waiting = simulating.Waiting(world.platform)
        assert waiting.releases() == []
        world.task()
        world.stable()
        world.task("letters")
        first = world.platform.create_release("digits", 2, PLAN, "ada")
        second = world.platform.create_release("letters", 1, PLAN, "ada")
        asked = []
        real = world.platform.release
        world.platform.release = lambda number: (asked.append(number), real(number))[1]
        assert [each.id for each in waiting.releases()] == [first, second]
        waiting.simulated(second, True, "it went well")
        assert [each.id for each in waiting.releases()] == [first]
        asked.clear()
        assert [each.id for each in waiting.releases()] == [first]
        assert asked == [first]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"simulate": ("/nowhere",)}, "no such file or folder"),
        ({"simulate": (".",), "simulate_schema": "nonsense"}, "module:attribute"),
        ({"simulate": (".",), "simulate_limits": "server.toml"}, "no limits of a simulation"),
    ],
)
def test_what_cannot_be_simulated_by_is_refused_at_once(tmp_path, options, words):
    from walle_deploy.server.settings import Settings

    (tmp_path / "server.toml").write_text('port = "x"')
    with pytest.raises(DeployError, match=words):
        simulating.check(Settings(folder=str(tmp_path), **options))
