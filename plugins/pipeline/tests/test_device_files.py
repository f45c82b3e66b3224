"""What a device does about damaged files, full disks and full sinks."""

import random
import resource
import signal

import pytest
from device_flows import Cloud, events, whole
from walle_pipeline import Click, Flow
from walle_pipeline.device import Device
from walle_pipeline.errors import LogError, StoreError
from walle_pipeline.log import read
from walle_pipeline.sinks import PENDING
from walle_pipeline.tunnel.outbox import Outbox


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
