"""The whole way on one device: register, install, run on events, report, go back, remove."""

import pytest
from agent_world import Told, visit, visits

pytest.importorskip("walle_pipeline")


def test_a_release_reaches_the_device_and_runs(world, agent_of):
    told, results = Told(), []
    agent = agent_of(tell=told, result=lambda task, made: results.append((task, made["n"])))
    agent.start(checks=False)
    assert agent.check()  # nothing is released
    world.release("count", 1, visits("count"))
    assert agent.check()
    assert agent.profile().installed == {"count": "v1"}
    agent.feed(visit(0) + visit(1))
    assert agent.idle()
    assert results == [("count", 3), ("count", 3)]
    rows = world.told(2)
    assert [row[:3] for row in rows] == [["count", "v1", False]] * 2
    assert rows[0][3]["ms"] > 0
    assert agent.check()
    assert world.asked[-1] == ("GET", "/walle/check")
    assert told.kinds()[:3] == ["registered", "checked", "installed"]
