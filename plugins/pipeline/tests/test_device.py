"""A device that is killed and started again, alone and with the whole way into the cloud: every feature once, in order."""

import asyncio
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from device_flows import Cloud, events, flows
from walle_pipeline import Click, Event, Flow, PageEnter, collect, tumbling
from walle_pipeline.device import Device
from walle_pipeline.errors import FlowError, LogError, StoreError
from walle_pipeline.log import EventLog, read
from walle_pipeline.sinks import PENDING
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.sqlite import SqliteEngine
from walle_pipeline.tunnel.outbox import Outbox
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink


class Killed:
    """Starts a device over and over on nothing but its files, as a killed process leaves them."""

    def __init__(self, folder, cloud, **settings):
        self.folder, self.cloud, self.settings, self.device = folder, cloud, settings, None

    def start(self):
        if self.device is not None:  # ends without a word: what is not in the files is gone
            self.device._log._file.close()
            self.device.pipeline.close()
            self.device._files.close()
        self.device = Device(
            self.folder, *flows(self.cloud.tunnel, self.cloud.store), ahead_ms=None, **self.settings
        )
        return self.device


@pytest.fixture
def killed(tmp_path):
    made = []

    def make(cloud, **settings):
        made.append(Killed(tmp_path / f"device-{len(made)}", cloud, **settings))
        return made[-1]

    yield make
    for one in made:
        if one.device is not None:
            one.device.close()


def whole(some, tmp_path, sizes=(), **settings):
    """What an uninterrupted run gives, fed with so many events at a time, then all that are left."""
    cloud, at = Cloud(), 0
    with Device(
        tmp_path / "whole", *flows(cloud.tunnel, cloud.store), ahead_ms=None, snapshot_every=10**9, **settings
    ) as device:
        for size in (*sizes, len(some)):
            device.feed(some[at : at + size])
            at += size
        device.finish()
    return cloud


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lateness", [0, 30])
def test_a_device_that_was_killed_gives_what_an_uninterrupted_run_gives(killed, tmp_path, seed, lateness):
    dice, some, cloud = random.Random(seed), events(0, 3000, seed), Cloud()
    sizes = []
    one = killed(
        cloud, lateness_ms=lateness, snapshot_every=dice.choice([50, 300, 10**6]), keep_segments=seed % 3
    )
    device = one.start()
    while device.position < len(some):
        at = device.position
        sizes.append(dice.randrange(1, 60))
        device.feed(some[at : at + sizes[-1]])
        if dice.random() < 0.15:
            device = one.start()
    device.finish()
    one.start()
    expected = whole(some, tmp_path, sizes, lateness_ms=lateness)
    assert cloud.sent == expected.sent
    assert list(cloud.sent) == list(expected.sent), "in another order"
    assert cloud.rows == expected.rows
    assert len(expected.stream("visits")) > 100
    assert len(expected.stream("clicks")) > 300
    assert cloud.offered > len(cloud.sent), "nothing was offered twice: no replay took place"


def test_two_sinks_of_one_stream_and_times_that_go_back_lose_nothing(tmp_path):
    some = events(0, 3000)
    cloud = whole(some, tmp_path)
    pages = [payload for payload in cloud.stream("clicks") if payload.startswith(b"late")]
    late, latest = [], 0
    for event in some:
        if event.time < latest and event.kind == "click":
            late.append(event.id)
        latest = max(latest, event.time)
    assert sorted(int(page.split()[-1]) for page in pages) == late


def test_items_of_one_time_have_names_of_their_own_on_both_sides_of_a_snapshot(tmp_path):
    cloud = Cloud()

    def start():
        flow = Flow("f")
        source = flow.events()
        source.map(lambda e: b"%d" % e.id).to(cloud.tunnel, stream="s")
        source.side("late").map(lambda e: b"late %d" % e.id).to(cloud.tunnel, stream="late")
        source.key_by(lambda e: e.id if e.id < 3 else str(e.id - 2)).map(lambda e: b"%d" % e.id).to(
            cloud.store
        )
        return Device(tmp_path, flow, ahead_ms=None)

    calls = [(100, 1), (100, 2), (100, 3), (100, 4), (5, 5), (3, 6), (5, 7), (5, 8)]
    for time_ms, number in calls:
        with start() as device:
            device.feed([Click("p", time_ms, "u", number)])
    assert cloud.stream("s") == [b"1", b"2", b"3", b"4"]
    assert cloud.stream("late") == [b"late 5", b"late 6", b"late 7", b"late 8"]
    assert sorted(value for value, _ in cloud.rows.values()) == [b"1", b"2", b"3", b"4"], "keys 1 and '1'"


def test_advance_and_finish_are_replayed_in_their_place(killed):
    cloud = Cloud()
    one = killed(cloud)
    device = one.start()
    device.feed([Click("a", 10, "u", 1)])
    device.advance(1000)
    device.advance(500)
    device.feed([Click("a", 20, "u", 2), Click("a", 1001, "u", 3)])
    device.finish()
    position = device.position
    before = dict(cloud.sent), dict(cloud.rows)
    assert {p.split()[0] for p in cloud.stream("clicks")} == {b"session", b"late"}
    device = one.start()
    assert (device.position, position) == (5, 5)
    assert (cloud.sent, cloud.rows) == before


def test_what_the_clock_refused_stays_refused_on_a_replay(tmp_path):
    now, found = [1000], []
    for _ in range(2):
        flow = Flow("f")
        flow.events().map(lambda e: e.id).to(found)
        device = Device(tmp_path, flow, ahead_ms=100, clock=lambda: now[0])
        if device.position == 0:
            device.feed([Click("p", 1000, "u", 1), Click("p", 1101, "u", 2)])
            assert device.pipeline.stats()["future"] == 1
            device._log.close()
            device._files.close()
            device.pipeline.close()
        now[0] = 10_000
    device.close()
    assert found == [1, 1], "a list sees events of a replay again, and no others"


def test_a_clean_end_leaves_nothing_to_replay(tmp_path):
    cloud, some = Cloud(), events(0, 500)
    for at in range(0, 500, 100):
        with Device(tmp_path, *flows(cloud.tunnel, cloud.store), ahead_ms=None) as device:
            assert device.pipeline.stats()["received"] == 0
            assert device.position == at
            device.feed(some[at : at + 100])
    with pytest.raises(LogError, match="closed"):
        device.feed(some)
    device.close()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_snapshot_costs_nothing_while_the_one_before_is_there(killed, tmp_path, damage):
    some, cloud = events(0, 2000), Cloud()
    expected = whole(some, tmp_path)
    one = killed(cloud, snapshot_every=400)
    one.start().feed(some[:1500])
    snapshots = sorted(one.folder.glob("*.snapshot"))
    data = bytearray(snapshots[-1].read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 4
    snapshots[-1].write_bytes(
        {"cut": data[:-9], "flip": data, "empty": b"", "other": b"something else"}[damage]
    )
    device = one.start()
    assert device.position == 1500
    assert [text for text in device.reports if "gone on without" in text]
    assert len(list(one.folder.glob("*.damaged-1"))) == 1
    device.feed(some[1500:])
    device.finish()
    assert (cloud.sent, cloud.rows) == (expected.sent, expected.rows)


def test_without_any_snapshot_the_log_that_is_left_is_replayed(killed):
    some, cloud = events(0, 3000), Cloud()
    one = killed(cloud, snapshot_every=400)
    one.start()
    for at in range(0, 3000, 100):
        one.device.feed(some[at : at + 100])
    sent = dict(cloud.sent)
    for path in one.folder.glob("*.snapshot"):
        path.write_bytes(path.read_bytes()[:-1])
    # Of windows that had begun before the log that is left, less is known than before: nothing is compared here but names.
    one.cloud = Cloud()
    device = one.start()
    assert device.position == 3000
    assert any("started anew" in text for text in device.reports)
    tail = list(sent)[-20:]
    assert set(tail) <= set(one.cloud.sent)


def test_damage_in_the_log_costs_its_blocks_and_no_numbers(killed):
    some, cloud = events(0, 1000), Cloud()
    one = killed(cloud, snapshot_every=10**6)
    one.start()
    for at in range(0, 1000, 100):
        one.device.feed(some[at : at + 100])
        if at == 400:
            one.device.snapshot()
    first, second = sorted(one.folder.glob("*.events"))
    assert [e.id for e in read(first)] == list(range(1, 501)), "a segment is a log like any other"
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    device = one.start()
    assert device.position == 900
    assert [text for text in device.reports if "checksum" in text]
    second.write_bytes(b"x" + second.read_bytes()[1:])
    device = one.start()
    assert device.position == 500
    device.feed(some[500:600])
    assert one.start().position == 600


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_old_segments_go(killed, keep):
    one = killed(Cloud(), snapshot_every=100, keep_segments=keep)
    device = one.start()
    for at in range(0, 2000, 50):
        device.feed(events(at, at + 50))
        device = one.start()
        held = {
            suffix: sorted(p.name for p in one.folder.glob(f"*.{suffix}"))
            for suffix in ("snapshot", "events")
        }
        assert len(held["snapshot"]) <= keep + 1
        assert len(held["events"]) <= keep + 2
    assert len(held["snapshot"]) == keep + 1
    assert held["events"][0][:20] == held["snapshot"][0][:20], "no event before the oldest snapshot"


class Full:
    """A disk on which no file grows beyond `size` bytes."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.limits[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        signal.signal(signal.SIGXFSZ, self.before)


def test_a_full_disk_takes_nothing_and_loses_nothing(killed, tmp_path):
    some, cloud = events(0, 2000), Cloud()
    expected = whole(some, tmp_path)
    one = killed(cloud, snapshot_every=500)
    device = one.start()
    device.feed(some[:400])
    with Full(1000):
        with pytest.raises(LogError, match="free some space"):
            device.feed(some[400:450])
        assert device.position == 400
        with pytest.raises(LogError, match="free some space"):
            device.snapshot()
    assert not list(one.folder.glob("*.part"))
    assert not list(one.folder.glob("*.snapshot"))
    with Full(6000):  # the log grows, the snapshot does not fit
        device.feed([*some[400:410]])
        assert device.position == 410
    for at in range(410, 2000, 10):
        device.feed(some[at : at + 10])
    assert device.failed is None
    device = one.start()
    device.finish()
    assert (cloud.sent, cloud.rows) == (expected.sent, expected.rows)


def test_a_snapshot_that_fails_by_itself_is_told_and_tried_again(killed, caplog):
    one = killed(Cloud(), snapshot_every=100)
    device = one.start()
    some = events(0, 400)
    device.feed(some[:90])
    written, device._files.write = device._files.write, lambda *_: (_ for _ in ()).throw(LogError("no space"))
    device.feed(some[90:110])
    assert str(device.failed) == "no space"
    assert "no snapshot: no space" in caplog.text
    device._files.write = written
    device.feed(some[110:115])
    assert device.failed is not None, "tried again at once"
    device.feed(some[115:130])
    assert device.failed is None
    assert [p.stem for p in one.folder.glob("*.snapshot")] == [f"{130:020d}"]


def test_no_snapshot_passes_what_sinks_hold_back(killed, tmp_path):
    some, cloud = events(0, 2000), Cloud()
    expected = whole(some, tmp_path)
    one = killed(cloud, snapshot_every=100)
    device = one.start()
    device.feed(some[:300])
    cloud.full = StoreError("full")
    device.feed(some[300:900])
    assert not device.snapshot()
    assert "hold back" in str(device.failed)
    device = one.start()
    assert device.pipeline.stats()["sinks_waiting"] > 0
    cloud.full = None
    device.feed(some[900:])
    device.finish()
    assert (cloud.sent, cloud.rows) == (expected.sent, expected.rows)


def test_a_device_whose_sinks_are_full_takes_nothing_and_starts_again(tmp_path):
    cloud, found = Cloud(), []
    cloud.full = StoreError("full")
    some = [Click("p", i, "u", i + 1) for i in range(PENDING + 500)]

    def start():
        flow, other = Flow("f"), Flow("other")
        flow.events().map(lambda e: b"%d" % e.id).to(cloud.store, table="t")
        other.events().map(lambda e: e.id).to(found)
        return Device(tmp_path, flow, other, ahead_ms=None)

    device = start()
    with pytest.raises(StoreError, match="full"):
        while True:
            device.feed(some[device.position : device.position + 300])
    position = device.position
    assert PENDING < position <= PENDING + 300
    assert len(found) == position, "a flow was left out because another's sink is full"
    device.close()
    device = start()
    assert device.position == position
    cloud.full = None
    device.feed(some[position:])
    device.close()
    assert len(cloud.rows) == len(some)


@pytest.mark.parametrize("keep", [0, 1])
def test_snapshots_are_taken_before_an_outbox_forgets(tmp_path, keep):
    """Every event gives an item, and all are acknowledged at once: the outbox knows the latest 400 names only."""
    some = [Click("p", i, "u", i + 1) for i in range(4000)]

    def start(outbox):
        flow = Flow("f")
        flow.events().map(lambda e: b"%d" % e.id).to(Tunnelled(outbox))
        return Device(tmp_path / "d", flow, ahead_ms=None, keep_segments=keep)

    class Tunnelled:
        def __init__(self, outbox):
            self.outbox = outbox

        def send_many(self, items):
            seqs = self.outbox.put_many(items)
            arrived.update(zip(seqs, [payload for _, payload, _ in items], strict=True))
            if max(seqs) > self.outbox.streams["f"].acked:
                self.outbox.ack("f", max(seqs))

    arrived = {}
    with Outbox(tmp_path / "o.db", key_window=400) as outbox:
        outbox.put("f", b"x")
        outbox.base("f", 0)
        dice = random.Random(1)
        device = start(outbox)
        while device.position < len(some):
            device.feed(some[device.position : device.position + 30])
            if dice.random() < 0.2:
                device._log.close()
                device._files.close()
                device.pipeline.close()
                if (
                    keep
                    and dice.random() < 0.3
                    and (newest := sorted((tmp_path / "d").glob("*.snapshot"))[-1:])
                ):
                    newest[0].write_bytes(b"")
                device = start(outbox)
        device.close()
    assert [arrived[seq] for seq in sorted(arrived)] == [b"%d" % e.id for e in some]


class Unknown(Event, frozen=True, tag="unknown"):
    """A kind that the schema does not have."""


def test_objects_that_cannot_be_logged_are_set_aside(killed):
    one = killed(Cloud())
    device = one.start()
    bad = [
        Unknown("a", 2, "u", 2), Click("a", -1), Click(None, 3), object(), Click("a", 3, contents={"x": object()}),
        Click("a", 3, contents={"x": "x" * 70_000}), Click("a", 3, contents={"x": 1 << 99}), Click("a", 3, widget="\ud800"),
    ]  # fmt: skip
    device.feed([Click("a", 1, "u", 1), *bad, PageEnter("a", 3, "u", 3)])
    assert device.position == 2
    assert device.pipeline.stats() | {"malformed": len(bad), "received": 2} == device.pipeline.stats()
    assert [e.id for e in read(device._log.path)] == [1, 3]
    assert one.start().position == 2


def test_a_block_of_the_largest_events_can_be_read_again(killed):
    one = killed(Cloud())
    many = [Click("a", n, "u", n, contents={"x": "x" * 65_000}) for n in range(1, 1102)]
    one.start().feed(many)
    assert one.start().position == len(many)
    assert not one.device.reports


def test_an_interrupted_call_is_replayed(killed, tmp_path):
    found = []

    def start(stop):
        def maybe(event):
            if stop and event.id == 3:
                raise KeyboardInterrupt
            return event.id

        flow = Flow("f")
        flow.events().map(maybe).to(found)
        return Device(tmp_path / "i", flow, ahead_ms=None)

    with pytest.raises(KeyboardInterrupt), start(True) as device:
        device.feed([Click("p", n, "u", n) for n in range(1, 6)])
    assert found == []
    start(False).close()
    assert found == [1, 2, 3, 4, 5]


def test_an_item_that_no_store_can_take_stops_nothing(tmp_path):
    flow = Flow("f")
    flow.events().map(lambda e: b"x" * e.id).to(store := CollectiveStore(SqliteEngine(tmp_path / "s.db")))
    with store, Device(tmp_path / "d", flow, ahead_ms=None) as device:
        device.feed([Click("p", 1, "u" * 1000, 3), Click("p", 2, "u", 2 << 20), Click("p", 3, "u", 4)])
        assert [f.time for f in device.pipeline.failures] == [2]
        assert device.snapshot()
        rows = [value for _, value, _ in store.scan("f")]
    assert rows == [b"xxx", b"xxxx"]


def test_a_snapshot_waits_for_what_stores_gather(tmp_path):
    flow = Flow("f")
    with CollectiveStore(SqliteEngine(tmp_path / "s.db"), flush_count=10**6, flush_ms=10**6) as store:
        flow.events().map(lambda e: b"x").to(store)
        with Device(tmp_path / "d", flow, ahead_ms=None) as device:
            device.feed([Click("p", 1)])
            assert store.stats.pending == 1
            assert device.snapshot()
            assert store.stats.pending == 0


def test_a_folder_has_one_device_and_its_flows_do_not_change(tmp_path):
    def flow(*steps):
        made = Flow("f")
        stream = made.events()
        for step in steps:
            stream = stream.map(step)
        stream.to([])
        return made

    with Device(tmp_path, flow(str), ahead_ms=None) as device:
        with pytest.raises(LogError, match="another process uses it"):
            Device(tmp_path, flow(str))
        device.feed([Click("p", 1)])
    with pytest.raises(FlowError, match="was changed"):
        Device(tmp_path, flow(str, str))
    Device(tmp_path, flow(str)).close()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LogError, match="cannot be used"):
        Device(tmp_path / "file", flow(str))


def test_a_flow_that_cannot_be_kept_is_told(tmp_path):
    flow = Flow("f")
    flow.events().map(lambda e: {object()}).window(tumbling(1000), collect()).to([])
    with Device(tmp_path, flow, ahead_ms=None) as device:
        device.feed([Click("p", 1)])
        with pytest.raises(FlowError, match="map it to plain values"):
            device.snapshot()


def test_a_note_is_no_event(tmp_path):
    with EventLog(tmp_path / "a") as log:
        log.append([Click("p", 1)])
        log.note("hello")
        log.append([Click("p", 2)])
    assert [e.time for e in read(tmp_path / "a")] == [1, 2]


# -- the whole way ----------------------------------------------------------------------------------------------------

POINTS = int(os.environ.get("WALLE_KILLS", "1000" if os.environ.get("WALLE_FULL") == "1" else "12"))
SERVER = """
import sys
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.serve import serve
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink
serve(TunnelServer(SqliteSink(sys.argv[1]), tokens({"d": "token"})), "127.0.0.1", int(sys.argv[2]))
"""
# Takes the events from where the device stands; prints how far it is. With a last event, ends there.
CLIENT = """
import random, sys, time
folder, port, last, here = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
sys.path.insert(0, here)
from device_flows import events, flows
from walle_pipeline.device import Device
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.sqlite import SqliteEngine
from walle_pipeline.tunnel.client import ClientConfig
from walle_pipeline.tunnel.facade import Tunnel
config, url = ClientConfig(backoff_first=0.02, backoff_max=0.2), f"ws://127.0.0.1:{port}/tunnel"
with (
    CollectiveStore(SqliteEngine(folder + "/store.db")) as store,
    Tunnel(url, device="d", token="token", outbox=folder + "/o.db", config=config, close_timeout=0) as tunnel,
    Device(folder + "/device", *flows(tunnel, store), ahead_ms=None, snapshot_every=150) as device,
):
    print(device.position, flush=True)
    some = events(device.position, last or device.position + 20_000)
    while some:
        size = random.randrange(1, 12)
        device.feed(some[:size])
        del some[:size]
        print(device.position, flush=True)
        time.sleep(0.002)
    if last:
        device.finish()
        tunnel.flush(30)
"""


class Process:
    """A child that is killed rather than asked; its output goes to files."""

    def __init__(self, code, *arguments, output):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        with open(f"{output}.out", "ab") as out, open(f"{output}.err", "ab") as err:
            self.child = subprocess.Popen(command, stdout=out, stderr=err)

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is POSIX")
def test_kill_9_on_the_whole_way(tmp_path):
    pytest.importorskip("uvicorn")
    dice, port = random.Random(POINTS), free_port()

    output = tmp_path / "client.out"
    output.touch()

    def start_client(last=0):
        os.truncate(output, output.read_bytes().rfind(b"\n") + 1)  # a kill may cut the last line in two
        return Process(CLIENT, tmp_path, port, last, Path(__file__).parent, output=tmp_path / "client")

    def start_server():
        return Process(SERVER, tmp_path / "sink.db", port, output=tmp_path / "server")

    def printed():
        return output.stat().st_size

    server, client = start_server(), start_client()
    try:
        for _ in range(POINTS):
            target = dice.choice(["client", "client", "server", "both"])
            if dice.random() < 0.8:  # else perhaps before the start has come to an end
                before, deadline = printed(), time.monotonic() + 20
                while printed() == before and time.monotonic() < deadline:
                    time.sleep(0.005)
            time.sleep(dice.uniform(0, 0.4))
            assert client.child.poll() is None, (tmp_path / "client.err").read_text()[-3000:]
            if target != "server":
                client.kill()
                client = start_client()
            if target != "client":
                server.kill()
                server = start_server()
        client.kill()
        reached = int(output.read_bytes().split(b"\n")[-2])
        last = reached + 200
        client = start_client(last)
        assert client.child.wait(120) == 0, (tmp_path / "client.err").read_text()[-3000:]
    finally:
        client.kill()
        server.kill()
    expected = whole(events(0, last), tmp_path)

    async def stored(stream):
        sink = SqliteSink(tmp_path / "sink.db")
        await sink.open()
        found = [r async for r in sink.records("d", stream)]
        await sink.close()
        return found

    for stream in ("visits", "clicks"):
        records = asyncio.run(stored(stream))
        assert [r.seq for r in records] == list(range(1, len(records) + 1))
        for sort in (
            b"visit",
            b"session",
            b"late",
        ):  # how sinks of one stream alternate depends on the sizes of calls
            of = [
                [p for p in some if p.startswith(sort)]
                for some in ([r.payload for r in records], expected.stream(stream))
            ]
            assert of[0] == of[1]
        assert sorted(r.payload for r in records) == sorted(expected.stream(stream))
        assert len(records) > 10
    with CollectiveStore(SqliteEngine(tmp_path / "store.db")) as store:
        rows = {(t, k.decode()): (v, at) for t in ("visits", "clicks") for k, v, at in store.scan(t)}
    assert rows == expected.rows
    print(f"{POINTS} kills, {last} events, {len(expected.sent)} features")
