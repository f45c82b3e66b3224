"""The whole way on one device: register, install, run on events, report, go back, remove."""

import threading

import pytest
from agent_world import EVENTS, GOOD, OUTPUT, QUICK, VISIT, Told, task, visit, visits
from walle_deploy.agent.errors import AgentError
from walle_deploy.errors import PolicyError, StoreError, TrustError
from walle_deploy.profile import Profile

pytest.importorskip("walle_pipeline")
BAD = "def main(events):\n    raise ValueError('broken')\n"
OTHER = "def main(events):\n    return {'n': -len(events)}\n"


@pytest.fixture
def device(agent_of):
    """A started agent that checks when it is told to, what it tells, and its results."""

    def make(**options):
        told, results = Told(), []
        agent = agent_of(tell=told, result=lambda task, made: results.append((task, made["n"])), **options)
        agent.start(checks=False)
        return agent, told, results

    return make


def test_a_release_reaches_the_device_and_runs(world, device):
    agent, told, results = device()
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


def test_versions_change_while_events_flow(world, device):
    agent, _, results = device()
    world.release("count", 1, visits("count", OTHER))
    agent.check()
    stop, fed = threading.Event(), []

    def flow():
        while not stop.is_set():
            agent.feed(visit(len(fed)))
            fed.append(1)
            agent.idle()

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        for version in range(1, 7):
            world.release("count", version, visits("count", OTHER if version % 2 else GOOD))
            assert agent.check()
            seen = len(results)
            while len(results) < seen + 3:
                agent.idle()
    finally:
        stop.set()
        thread.join()
    assert agent.idle()
    assert len(results) == len(fed)  # each visit once, by the one version or the other
    rows = world.told(len(fed))
    assert {row[1] for row in rows} == {f"v{n}" for n in range(1, 7)}
    assert not any(row[2] for row in rows)


def test_a_broken_version_gives_way_without_network(world, device):
    agent, told, results = device()
    world.release("count", 1, visits("count"))
    agent.check()
    agent.feed(visit(0))
    agent.idle()
    world.release("count", 2, visits("count", BAD))
    agent.check()
    assert agent.profile().installed == {"count": "v2"}
    asked = len(world.asked)
    world.spoilt["GET", "/"] = world.spoilt["POST", "/"] = lambda handler: handler.answer(500)
    agent.feed(visit(1))
    agent.feed(visit(2))
    agent.idle()
    assert "from v2 back to v1: 2 failed runs in a row: main.py:2" in told.await_("reverted")[0]
    assert agent.profile().installed == {"count": "v1"}
    agent.feed(visit(3))
    agent.idle()
    assert results == [("count", 3), ("count", 3)]
    assert all(path == "/walle/reports" for _, path in world.asked[asked:])
    world.spoilt.clear()
    assert agent.flush()
    rows = world.told(5)
    assert [(row[1], row[2]) for row in rows] == [
        ("v1", False),
        ("v2", True),
        ("v2", True),
        ("v2", True),
        ("v1", False),
    ]
    assert rows[3][3] == {"reverted": 1.0}
    agent.check()  # the server offers it still
    assert "was bad on this device" in told.await_("refused")[0]
    agent.check()
    assert agent.flush()
    assert [row[3] for row in world.told(6)].count({"refused": 1.0}) == 1  # told once
    world.release("count", 3, visits("count", OTHER))
    assert agent.check()
    agent.feed(visit(4))
    agent.idle()
    assert results[-1] == ("count", -3)


def test_one_failure_is_none_in_a_row(world, device):
    script = "def main(events):\n    assert events[1]['widget'] == 'buy'\n    return {'n': 1}\n"
    agent, told, results = device()
    world.release("count", 1, visits("count"))
    agent.check()
    agent.feed(visit(0))
    agent.idle()
    world.release("count", 2, visits("count", script))
    agent.check()
    for number in range(1, 9):
        enter, click, leave = visit(number)
        agent.feed([enter, leave] if number % 2 else [enter, click, leave])
        agent.idle()
    assert "reverted" not in told.kinds()
    assert len(results) == 5


def test_a_version_that_worked_before_gives_way_too(world, device):
    agent, told, _ = device()
    world.release("count", 1, visits("count"))
    agent.check()
    agent.feed(visit(0))
    agent.idle()
    world.release(
        "count",
        2,
        visits(
            "count", "n = 0\ndef main(events):\n    global n\n    n += 1\n    return {'n': 3 // (n < 3)}\n"
        ),
    )
    agent.check()
    for number in range(1, 5):
        agent.feed(visit(number))
        agent.idle()
    assert "back to v1" in told.await_("reverted")[0]


def test_the_only_version_stays_if_it_has_worked_and_goes_if_not(world, device):
    agent, told, _ = device()
    script = "n = 0\ndef main(events):\n    global n\n    n += 1\n    return {'n': 3 // (n < 2)}\n"
    world.release("once", 1, visits("once", script))
    world.release("never", 1, visits("never", BAD))
    agent.check()
    for number in range(3):
        agent.feed(visit(number))
        agent.idle()
    assert "no other version" in told.await_("kept")[0]
    assert "back to no version" in told.await_("reverted")[0]
    assert agent.profile().installed == {"once": "v1"}


def test_a_version_that_cannot_even_start_gives_way_before_any_event(world, device):
    agent, told, results = device()
    world.release("count", 1, visits("count"))
    agent.check()
    agent.feed(visit(0))
    agent.idle()
    world.release("count", 2, visits("count", "import there_is_no_such_module\n" + GOOD))
    agent.check()
    assert "back to v1" in told.await_("reverted")[0]
    agent.feed(visit(1))
    agent.idle()
    assert results == [("count", 3)] * 2


STEP = '[[trigger.steps]]\nkind = "no_such_kind"'
NO_TASKS = [
    ({"walle.toml": b"[task]\n"}, "walle.toml"),
    ({"walle.toml": visits("other")["walle.toml"]}, "is that of 'other'"),
    ({"walle.toml": task("count", "", 'x = "\n')["walle.toml"]}, "no TOML"),
    ({"walle.toml": None}, "walle.toml cannot be read"),
    ({"main.txt": b"", "main.py": None}, "names 'main.py'"),
    ({"walle.toml": task("count", "", EVENTS + OUTPUT, STEP)["walle.toml"]}, "no_such_kind"),
]


def test_versions_that_are_no_tasks_are_refused_and_told_once(world, device):
    agent, told, _ = device()
    world.release("count", 1, visits("count"))
    agent.check()
    for version, (files, why) in enumerate(NO_TASKS, 2):
        content = {path: data for path, data in (visits("count") | files).items() if data is not None}
        world.release("count", version, content)
        assert agent.check()  # there is nothing left to do
        assert why in told.await_("refused")[-1]
        assert agent.profile().installed == {"count": "v1"}
        agent.check()
    assert agent.flush()
    rows = world.told(len(NO_TASKS))
    assert [row[:3] for row in rows] == [["count", f"v{version}", True] for version in range(2, 8)]
    assert all(why in row[4] for row, (_, why) in zip(rows, NO_TASKS, strict=True))


def test_what_the_server_names_no_more_is_removed(world, device):
    agent, told, results = device()
    world.release("count", 1, visits("count"))
    world.release("other", 1, visits("other", OTHER))
    agent.check()
    world.withdraw("count")
    agent.check()
    assert "names it no more" in told.await_("removed")[0]
    agent.feed(visit(0))
    agent.idle()
    assert results == [("other", -3)]
    assert agent.profile().installed == {"other": "v1"}
    with pytest.raises(AgentError, match="no task 'count' is installed; there are other"):
        agent.run("count")


def test_what_people_revoke_stops(world, device):
    agent, told, _ = device()
    world.release("count", 1, visits("count"))
    agent.check()
    agent.feed(visit(0))
    agent.idle()
    world.release("count", 2, visits("count", OTHER))
    agent.check()
    world.release("other", 1, visits("other"))
    world.fleet.repository.revoke("count", 2, "it looks at too much")
    world.fleet.publish()
    agent.check()
    assert "back to v1: it is revoked: it looks at too much" in told.await_("reverted")[0]
    assert agent.profile().installed == {"count": "v1", "other": "v1"}


def test_a_task_by_hand(world, device):
    agent, _, _ = device()
    config = '[inputs]\nx = {dtype = "json"}\n' + OUTPUT
    world.release("twice", 1, task("twice", "def main(x): return {'n': 2 * x}\n", config))
    agent.check()
    assert agent.run("twice", {"x": 21}).result(10).result == {"n": 42}
    run = agent.run("twice").result(10)
    assert run.failed
    assert "nothing gives the input 'x'" in run.why
    assert [row[2] for row in world.told(2)] == [False, True]


def test_inputs_of_the_application(world, device):
    def inputs(task, events):
        return {"page": events[0]["page"], "scale": 10}

    agent, _, results = device(inputs=inputs)
    config = EVENTS + 'page = {dtype = "json"}\nscale = {dtype = "json"}\n' + OUTPUT
    script = "def main(events, page, scale): return {'n': len(page) * scale}\n"
    world.release("page", 1, visits("page", script, config))
    agent.check()
    agent.feed(visit(0))
    agent.idle()
    assert results == [("page", 40)]


def test_a_restart_goes_on_without_the_server(world, device, agent_of):
    agent, _, _ = device()
    world.release("count", 1, visits("count"))
    agent.check()
    agent.feed(visit(0)[:2])  # a visit that goes on after the restart
    agent.close()
    world.spoilt["GET", "/"] = world.spoilt["POST", "/"] = lambda handler: handler.answer(503)
    again, told, results = device(enrol="")
    assert not again.check()
    assert "status 503" in told.await_("away")[0]
    assert again.profile() == agent.profile()
    again.feed(visit(0)[2:])
    again.idle()
    assert results == [("count", 3)]


def test_matches_that_wait_survive_a_restart_and_run_once(world, device):
    slow = "import time\ndef main(events):\n    time.sleep(0.15)\n    return {'n': events[0]['id']}\n"
    agent, _, results = device()
    world.release("slow", 1, visits("slow", slow))
    agent.check()
    for number in range(4):
        agent.feed(visit(number))
    while not results:
        agent.tasks.runner("slow").idle(0.02)
    agent.close()  # with a snapshot, while some wait
    done = len(results)
    assert done < 4
    again, _, more = device()
    assert again.idle()
    assert [n for _, n in results + more] == [1, 4, 7, 10]
    rows = world.told(4)
    assert len(rows) == 4


def test_the_profile(world, agent_of):
    agent = agent_of(user={"country": "DE"}, app_version="1.2", backends=True)
    agent.start(checks=False)
    first = agent.profile()
    assert first is agent.profile()
    assert first.device["os"]
    assert first.device["cpus"] >= 1
    assert isinstance(first.device["backends"], list)
    assert first.device["app_version"] == "1.2"
    assert all(value > 0 for name, value in first.device.items() if name.startswith("speed."))
    agent.set_user(age=30)
    assert agent.profile().user == {"country": "DE", "age": 30}
    with pytest.raises(PolicyError):
        agent.set_user(age=float("nan"))
    assert Profile.read(agent.profile().canonical) == agent.profile()


def test_answers_that_come_along_with_other_requests(world, agent_of):
    told = Told()
    agent = agent_of(tell=told)
    agent.start()
    told.await_("checked")
    world.release("count", 1, visits("count"))
    agent.take(b"nonsense")
    agent.take(b"x" * 100_000)
    agent.take(world.answer("phone-1"))
    told.await_("installed")
    assert "answer" in told.await_("refused")[0]
    world.release("count", 2, visits("count", OTHER))
    agent.pull()
    told.await_("installed", 2)
    assert agent.token() == "token-phone-1"


def test_a_token_that_is_not_good_any_more(world, device):
    agent, told, _ = device()
    agent.check()
    world.release("count", 1, visits("count"))
    agent._enrolment._token = "old"
    assert agent.check()
    assert told.kinds().count("registered") == 2
    agent._enrolment._token = "also old"
    agent.feed(visit(0))
    assert agent.idle()
    world.told(1)


def test_what_an_agent_cannot_be_set_up_with(world, agent_of, monkeypatch):
    for options, error in (
        ({"device": "two words"}, "no id of a device"), ({"device": "ü"}, "no id of a device"),
        ({"device": "x" * 129}, "no id of a device"),
    ):  # fmt: skip
        with pytest.raises(AgentError, match=error):
            agent_of(**options)
    agent = agent_of()
    monkeypatch.setattr("walle_deploy.agent.agent.LOCK_S", 0.05)
    with pytest.raises(StoreError, match="another process"):
        agent_of()
    agent.close()
    agent.close()
    with pytest.raises(AgentError, match="is the folder of device 'phone-1', not 'phone-2'"):
        agent_of(device="phone-2")
    assert agent_of(device="").device == "phone-1"


def test_whom_it_does_not_ask_in_the_clear(world, tmp_path):
    from walle_deploy.agent.wire import Server

    for url, error in (
        ("http://walle.example", "in the clear"), ("ftp://x", "no URL"), ("https://", "no URL"), ("x", "no URL"),
        ("https://x:y", "no URL"), ("https://x/?a=b", "no URL"),
    ):  # fmt: skip
        with pytest.raises(AgentError, match=error):
            Server(url)
    Server("http://walle.example", plain=True)
    Server("http://[::1]:80/path")


def test_a_wrong_root(world, tmp_path):
    from walle_deploy.agent.agent import Agent

    with pytest.raises(TrustError, match="embedded root"):
        Agent(tmp_path / "d", world.url, b"{}", settings=QUICK, backends=False)


def test_an_enrolment_secret_that_is_refused(world, device):
    agent, told, _ = device(enrol="wrong")
    assert not agent.check()
    assert "refuses the enrolment secret" in told.await_("problem")[0]
    agent.close()
    agent, told, _ = device(enrol="")
    assert not agent.check()
    assert "is not registered" in told.await_("problem")[0]


def test_events_before_a_task_was_there_do_not_start_it_after_a_restart(world, device):
    agent, _, _ = device()
    agent.check()
    agent.feed(visit(0))
    world.release("count", 1, visits("count"))
    agent.check()
    assert VISIT in visits("count")["walle.toml"].decode()
    agent.pipeline._log.close()  # killed: no snapshot at the end
    agent.pipeline.snapshot = agent.pipeline._try_snapshot = lambda: None
    agent.close()
    again, _, results = device()
    again.idle()
    assert results == []
    again.feed(visit(1))
    again.idle()
    assert results == [("count", 3)]


def test_a_folder_may_be_named_from_where_one_is(world, tmp_path, monkeypatch):
    from walle_deploy.task.starter import example

    monkeypatch.chdir(tmp_path)
    world.release("greet", 1, {path: data for path, data in example("greet").items() if path[0] != "."})
    told = Told()
    with world.agent("device", tell=told) as agent:
        agent.check()
        agent.feed(visit(0))
        assert agent.idle(60)
    assert "ran" in told.kinds()
    assert "failed" not in told.kinds()
