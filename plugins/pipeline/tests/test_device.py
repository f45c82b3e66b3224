"""A device that is killed and started again: every feature once, in order."""

import random

import pytest
from device_flows import Cloud, events, flows, whole
from walle_pipeline import Click, Event, Flow, PageEnter, collect, tumbling
from walle_pipeline.device import Device
from walle_pipeline.errors import FlowError, LogError
from walle_pipeline.log import EventLog, read
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.sqlite import SqliteEngine


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
