"""The agent and the deployment server as they are: a release reaches a device, a broken one is left and rolled back."""

import time

import pytest
from agent_world import GOOD, QUICK, Told, visit, visits
from attrs import evolve
from walle_deploy.agent.agent import Agent

pytest.importorskip("walle_pipeline")
pytest.importorskip("uvicorn")
testing = pytest.importorskip("walle_deploy.server.testing")

BAD = "def main(events):\n    raise ValueError('broken')\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with testing.running_server(tmp_path_factory.mktemp("server")) as made:
        yield made


def until(found, wanted):
    """Waits for what the server learns a moment later."""
    end = time.monotonic() + 15
    while (now := found()) != wanted:
        assert time.monotonic() < end, now
        time.sleep(0.05)


def releasing(server):
    """The releases that go on."""
    found = server.call("GET", "/api/v1/releases", expect=200).json
    return [one["id"] for one in found if one["status"] in ("running", "paused")]


@pytest.mark.parametrize("through", ["http", "tunnel"])
def test_from_release_to_report(server, tmp_path, through):
    told, task, device = Told(), f"count-{through}", f"phone-{through}"
    tunnel = server.url.replace("http", "ws") + "/tunnel" if through == "tunnel" else ""

    def seen():
        return server.call("GET", f"/api/v1/devices/{device}", expect=200).json["installed"].get(task)

    with Agent(
        tmp_path / "device", server.url, server.root, device, enrol=server.enrol, tell=told,
        settings=evolve(QUICK, every_s=0.5, request_s=10.0, close_s=5.0), backends=False, tunnel=tunnel,
    ) as agent:  # fmt: skip
        server.add_task(task)
        for version, script in ((1, GOOD), (2, BAD)):
            server.publish(task, version, visits(task, script))
            until(lambda: releasing(server), [])
            release = server.release(task, version)
            agent.pull()
            until(lambda: agent.profile().installed.get(task), f"v{version}")
            until(seen, f"v{version}")
            agent.feed(visit(2 * version) + visit(2 * version + 1))
            assert agent.idle()
        told.await_("reverted")
        assert agent.profile().installed[task] == "v1"
        until(seen, "v1")
        assert agent.flush()
        found = server.call("GET", f"/api/v1/releases/{release}", expect=200).json
        assert (found["version"], found["previous"]) == (2, 1)
        server.call("POST", f"/api/v1/releases/{release}/rollback", {"why": "broken"}, expect=204)
        agent.pull()
        assert agent.check()
        assert agent.profile().installed[task] == "v1"
        assert told.kinds().count("ran") == 2
