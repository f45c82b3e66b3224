"""An agent, an application, its business server and a deployment server as they are: a release reaches a device by requests
that the application makes anyway.
"""

import sys
import time
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
from hook_world import Device, Shop
from walle_deploy.hooks import Piggyback, on_httpx
from walle_deploy.hooks.local import LocalCheck
from walle_deploy.hooks.middleware import WalleMiddleware
from walle_deploy.hooks.remote import RemoteCheck
from walle_deploy.profile import Profile
from walle_deploy.trust.answer import Answer

pytest.importorskip("uvicorn")
for folder in ("agent", "http", "install", "trust"):
    sys.path.append(str(Path(__file__).parent.parent / folder))


def test_a_release_reaches_an_agent_by_the_applications_requests(tmp_path):
    from agent_world import GOOD, QUICK, visits
    from attrs import evolve
    from walle_deploy.agent.agent import Agent
    from walle_deploy.server.testing import running_server

    settings = evolve(QUICK, every_s=3600.0, request_s=10.0, close_s=5.0)
    with (
        running_server(tmp_path / "server", tunnel="none") as server,
        Agent(
            tmp_path / "device",
            server.url,
            server.root,
            "phone",
            enrol=server.enrol,
            settings=settings,
            backends=False,
        ) as agent,
        httpx.Client() as client,
    ):
        assert agent.check()  # it registers
        checks = []
        agent._server.check = lambda *given: checks.append(given)  # from now on it cannot ask by itself
        shop = Shop()
        app = WalleMiddleware(shop, RemoteCheck(server.url, remember=0.05), deadline=1.0)
        server.add_task("count")
        server.publish("count", 1, visits("count", GOOD))
        with shop.served(app):
            piggyback = Piggyback(
                agent.profile, agent.take, token=agent.token, origins=[shop.url], pull=agent.pull, pause=0.1
            )
            on_httpx.attach(client, piggyback)
            assert client.get(shop.url).text == "shop"
            assert piggyback.counters.answers == 0
            server.release("count", 1)
            end = time.monotonic() + 20
            while agent.profile().installed.get("count") != "v1":
                assert client.get(shop.url).text == "shop"
                assert time.monotonic() < end
                time.sleep(0.02)
            piggyback.close()
        assert {asked.installed.get("count") for asked, *_ in checks} <= {"v1"}  # it tells what it has now
        assert app.counters.failed == app.counters.malformed == 0
        assert not any(b"walle-token" in seen for seen in shop.seen)


def test_the_platform_in_the_same_process(tmp_path):
    from http_world import World
    from walle_deploy.server.auth import device_token, is_device_token

    world = World(tmp_path / "server")
    secret = world.services.secret
    check = LocalCheck(world.services.platform, partial(is_device_token, secret))
    shop = Shop()
    profile = Profile("phone", {"os": "linux"})
    with shop.served(WalleMiddleware(shop, check, deadline=2.0)), httpx.Client() as client:
        device = Device(shop.url, profile=profile, token=device_token(secret, "phone"), pause=0.01)
        on_httpx.attach(client, device.piggyback)
        for _ in range(3):
            client.get(shop.url)
        assert device.answers() == []
        world.add_task("count")
        world.publish("count", 1, {"main.py": b"def main():\n    return {}\n"})
        world.release("count", 1)
        end = time.monotonic() + 10
        while not device.answers():
            client.get(shop.url)
            assert time.monotonic() < end
            time.sleep(0.01)
    answer = msgspec.msgpack.decode(device.taken[0][73:], type=Answer)
    assert (answer.device, [(task.name, task.version) for task in answer.tasks]) == ("phone", [("count", 1)])
    world.close()
