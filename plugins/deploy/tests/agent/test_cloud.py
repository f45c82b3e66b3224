"""Features and samples go through the tunnel, once; reports too, and the server's sink hands them over before it stores."""

import asyncio
import threading

import msgspec
import pytest
from agent_world import EVENTS, OUTPUT, QUICK, VISIT, Told, task, visit, visits
from attrs import evolve
from walle_deploy.agent.cloud import CloudSide, confident
from walle_deploy.agent.sink import OutcomeSink, authenticate, tunnel_token
from walle_deploy.task.config import Cloud
from walle_deploy.task.packing import pack, unpack

pytest.importorskip("walle_pipeline")
pytest.importorskip("uvicorn")
from walle_pipeline.errors import StoreError as PipelineStoreError
from walle_pipeline.tunnel.contract import Record
from walle_pipeline.tunnel.dictionary import train
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

CLOUD = '[features]\npages = "int"\n[cloud]\nstream = "big-model"\n'
SCRIPT = (
    "def main(events):\n    clicks = sum(e['kind'] == 'click' for e in events)\n"
    "    return {'n': clicks, 'features': {'pages': len(events)}, 'confident': clicks > 0}\n"
)


class Tunnels:
    """A tunnel's server in a thread: takes reports as the platform does, and keeps all records."""

    def __init__(self, folder, take):
        import uvicorn
        from walle_pipeline.tunnel.serve import config
        from walle_pipeline.tunnel.server import TunnelServer

        self.sink = OutcomeSink(SqliteSink(folder / "tunnel.db"), take)
        app = TunnelServer(self.sink, authenticate(lambda device, token: token == f"token-{device}"))
        self.server = uvicorn.Server(config(app, port=0))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/tunnel"

    def records(self, folder, stream):
        async def read():
            sink = SqliteSink(folder / "tunnel.db")
            await sink.open()
            try:
                return [record.payload async for record in sink.records(stream=stream)]
            finally:
                await sink.close()

        return asyncio.run(read())

    def close(self):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def tunnels(world, tmp_path):
    taken = []

    def take(device, outcomes):
        taken.append(device)
        world.take([[o.number, o.task, o.version, o.failed, o.values, o.why] for o in outcomes])

    made = Tunnels(tmp_path, take)
    made.taken = taken
    yield made
    made.close()


def test_features_samples_and_reports_go_through_the_tunnel(world, agent_of, tunnels, tmp_path):
    dictionary = train([msgspec.msgpack.encode({"pages": n, "x": f"item {n % 7}"}) for n in range(3000)])
    dictionary.save(tmp_path / "d")
    files = visits("count", SCRIPT, EVENTS + OUTPUT + CLOUD + 'daily = 2\n[dictionary]\nfile = "d"\n')
    agent = agent_of(tunnel=tunnels.url)
    agent.start(checks=False)
    world.release("count", 1, files | {"d": (tmp_path / "d").read_bytes()})
    assert agent.check()
    for number in range(4):
        enter, click, leave = visit(number)
        agent.feed([enter, leave] if number else [enter, click, leave])
    assert agent.idle()
    assert agent.flush()
    assert [msgspec.msgpack.decode(one) for one in tunnels.records(tmp_path, "count")] == [
        {"pages": 3}, {"pages": 2}, {"pages": 2}, {"pages": 2},
    ]  # fmt: skip
    samples = [unpack(one) for one in tunnels.records(tmp_path, "big-model")]
    assert [sample["task"] for sample in samples] == ["count"] * 2  # daily
    assert samples[0]["version"] == "v1"
    assert [event["kind"] for event in samples[0]["inputs"]["events"]] == ["page_enter", "page_exit"]
    assert samples[0]["outputs"] == {"n": 0}
    rows = world.told(4)
    assert [(row[3]["unsure"], row[3]["sent"]) for row in rows] == [(0, 0), (1, 1), (1, 1), (1, 0)]
    assert set(tunnels.taken) == {"phone-1"}
    assert ("POST", "/walle/reports") not in world.asked
    assert len(agent._journal) == 0
    assert agent.tunnel.client._own["count"] == dictionary.version


def test_reports_wait_for_a_tunnel_that_is_away(world, agent_of, tunnels):
    agent = agent_of(tunnel="ws://127.0.0.1:9/tunnel", settings=evolve(QUICK, close_s=0.05))
    agent.start(checks=False)
    world.release("count", 1, visits("count"))
    assert agent.check()
    agent.feed(visit(0))
    assert agent.idle()
    agent.close()
    again = agent_of(tunnel=tunnels.url)
    again.start(checks=False)
    assert len(world.told(1)) == 1


class FakeTunnel:
    def __init__(self):
        self.items, self.used, self.error = [], {}, None

    def send_many(self, items):
        if self.error:
            raise self.error
        self.items += items
        return list(range(len(items)))

    def use(self, stream, dictionary):
        self.used[stream] = dictionary


def test_an_outbox_without_room_costs_the_features_not_the_report(world, agent_of):
    told, tunnel = Told(), FakeTunnel()
    agent = agent_of(tell=told)
    agent.start(checks=False)
    agent.tasks.outcomes.cloud = CloudSide(tunnel, agent._journal, agent._now)
    world.release("count", 1, visits("count", SCRIPT, EVENTS + OUTPUT + CLOUD))
    agent.check()
    tunnel.error = PipelineStoreError("outbox.db: full")
    agent.feed(visit(0))
    agent.idle()
    assert "not sent: outbox.db: full" in told.await_("problem")[0]
    (row,) = world.told(1)
    assert (row[2], row[3]["unsent"]) == (False, 1.0)
    assert agent._journal.get("cloud/count") is None


def test_the_day_ends_by_signed_time_and_a_run_that_is_made_again_has_the_same_names(world, agent_of):
    tunnel = FakeTunnel()
    agent = agent_of()
    agent.start(checks=False)
    agent.tasks.outcomes.cloud = CloudSide(tunnel, agent._journal, agent._now)
    config = EVENTS + OUTPUT + CLOUD + 'send = ["features"]\ndaily = 1\n'
    world.release("count", 1, visits("count", SCRIPT, config))
    agent.check()
    for number in range(3):
        enter, _, leave = visit(number)
        agent.feed([enter, leave])
        agent.idle()
        world.fleet.time += 86_400 if number == 2 else 0
    enter, _, leave = visit(3)
    agent.feed([enter, leave])
    agent.idle()
    streams = [stream for stream, _, _ in tunnel.items]
    assert streams == ["count", "big-model", "count", "count", "count", "big-model"]
    assert unpack(tunnel.items[1][1])["inputs"] == {"features": {"pages": 2}}
    names = [name for _, _, name in tunnel.items]
    assert len(set(names)) == len(names)
    assert names[0] == "count/ann/1002000/0/features"


def test_dictionaries_that_are_none_and_samples_that_are_too_large(world, agent_of):
    tunnel = FakeTunnel()
    agent = agent_of()
    agent.start(checks=False)
    agent.tasks.outcomes.cloud = CloudSide(tunnel, agent._journal, agent._now)
    script = "def main(x): return {'n': 1, 'features': {'a': 'b'}, 'confident': False}\n"
    config = (
        '[inputs]\nx = {dtype = "json"}\n' + OUTPUT + '[features]\na = "text"\n[cloud]\nstream = "s"\n'
        '[dictionary]\nfile = "d"\n'
    )  # fmt: skip
    world.release("big", 1, task("big", script, config, d=b"no dictionary"))
    agent.check()
    assert tunnel.used == {"big": None}
    assert not agent.run("big", {"x": "y" * 1_500_000}).result(10).failed
    agent.run("big", {"x": "y"}).result(10)
    agent.idle()
    assert [stream for stream, _, _ in tunnel.items] == ["big", "big", "s"]
    assert [row[3]["sent"] for row in world.told(2)] == [0.0, 1.0]
    assert VISIT


@pytest.mark.parametrize(
    ("result", "sure"),
    [
        ({}, True), ({"confident": True}, True), ({"confident": False}, False), ({"confident": None}, True),
    ],
)  # fmt: skip
def test_confidence_by_the_script(result, sure):
    assert confident(Cloud(stream="s"), result) is sure


@pytest.mark.parametrize(
    ("value", "sure"),
    [
        (0.7, True),
        (0.5, True),
        (0.4, False),
        ([[0.6]], True),
        ([], False),
        ("x", False),
        (None, False),
        (float("nan"), False),
    ],
)
def test_confidence_by_an_output(value, sure):
    from walle_core import Tensor

    cloud = Cloud(stream="s", confidence="p")
    assert confident(cloud, {"p": value}) is sure
    if isinstance(value, float):
        assert confident(cloud, {"p": Tensor.of([value], "float32")}) is sure
    assert confident(cloud, {}) is False


def test_who_a_token_is_of():
    device_of = authenticate(lambda device, token: token == "t" * 22)
    assert device_of(tunnel_token("a:b", "t" * 22)) == "a:b"
    for shown in (
        "",
        ":",
        "a",
        "a:" + "u" * 22,
        "a b:" + "t" * 22,
        "x" * 129 + ":" + "t" * 22,
        ":" + "t" * 22,
    ):
        assert device_of(shown) is None


class Inner:
    name = "inner"

    def __init__(self, log):
        self.log = log

    async def write(self, records):
        self.log.append(("stored", len(records)))

    async def high_water(self, device):
        return {"s": 3}


def test_the_sink_hands_reports_over_before_it_stores_them():
    log = []
    sink = OutcomeSink(
        Inner(log), lambda device, outcomes: log.append((device, [o.number for o in outcomes]))
    )

    def record(device, payload, seq=1, stream="walle.outcomes"):
        return Record(device, stream, seq, payload, 0.0)

    def body(*numbers):
        return msgspec.msgpack.encode([[n, "a", "v1", False, {"ms": 1.0}, ""] for n in numbers])

    records = [
        record("d1", body(1, 2)), record("d2", body(7)), record("d1", body(3), 2), record("d1", b"x", 1, "other"),
        record("d1", b"", 3), record("d1", b"\xc1", 4), record("d1", pack({"number": 1}), 5),
        record("d1", msgspec.msgpack.encode([[1, "a"]]), 6), record("d3", body(*range(300))),
    ]  # fmt: skip
    asyncio.run(sink.write(records))
    assert log == [("d1", [1, 2, 3]), ("d2", [7]), ("d3", list(range(256))), ("stored", 9)]
    assert sink.malformed == 3
    assert asyncio.run(sink.high_water("d1")) == {"s": 3}

    def failing(device, outcomes):
        raise OSError("the database is away")

    log.clear()
    with pytest.raises(OSError, match="away"):
        asyncio.run(OutcomeSink(Inner(log), failing).write(records))
    assert log == []
