"""The outbox: durable, ordered, bounded, and alive after damage."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from walle_pipeline.errors import FrameError, StoreError, TunnelError
from walle_pipeline.tunnel.outbox import ROW, Outbox


def test_put_pending_ack(tmp_path):
    with Outbox(tmp_path / "o.db") as box:
        assert box.put_many([("a", b"1", None), ("b", b"x", None), ("a", b"2", None)]) == [1, 1, 2]
        assert box.put("a", b"3") == 3
        assert box.pending("a", 0, 10) == [(1, b"1"), (2, b"2"), (3, b"3")]
        assert box.pending("a", 1, 1) == [(2, b"2")]
        assert box.pending("a", 0, 10, max_bytes=2) == [(1, b"1"), (2, b"2")]
        assert box.pending("a", 0, 10, max_bytes=0) == [(1, b"1")]
        assert box.pending("none", 0, 10) == []
        box.ack("a", 2)
        box.ack("a", 1)
        assert box.pending("a", 0, 10) == [(3, b"3")]
        assert len(box) == 2
        with pytest.raises(TunnelError, match="never put"):
            box.ack("a", 4)


def test_high_water_survives(tmp_path):
    with Outbox(tmp_path / "o.db") as box:
        box.put_many([("a", b"x", None)] * 3)
        box.ack("a", 3)
    with Outbox(tmp_path / "o.db") as box:
        assert len(box) == 0
        assert box.put("a", b"y") == 4
        assert box.size == 1 + ROW


def test_unique_keys(tmp_path):
    with Outbox(tmp_path / "o.db", key_window=5) as box:
        assert box.put("a", b"1", "k1") == 1
        assert box.put_many([("a", b"1", "k1"), ("a", b"2", "k2"), ("a", b"2", "k2"), ("b", b"1", "k1")]) == [
            1,
            2,
            2,
            1,
        ]
        assert [seq for seq, _ in box.pending("a", 0, 10)] == [1, 2]
        box.ack("a", 2)
        assert box.put("a", b"1", "k1") == 1  # remembered behind the acknowledgement
    with Outbox(tmp_path / "o.db", key_window=5) as box:
        assert box.put("a", b"1", "k1") == 1
        for i in range(5):
            box.put("a", b"x%d" % i)
        box.ack("a", 7)
        assert box.put("a", b"1", "k1") == 8  # outside the window
        assert box.put("a", b"2", "k2") == 9


@pytest.mark.parametrize("bad", [("a b", b"x"), ("", b"x"), ("a", b""), ("a", bytes(1 << 20))])
def test_bad_puts(tmp_path, bad):
    with Outbox(tmp_path / "o.db") as box:
        with pytest.raises((FrameError, TunnelError)):
            box.put_many([("a", b"fine", None), (*bad, None)])
        assert len(box) == 0


def test_full_refuses(tmp_path):
    with Outbox(tmp_path / "o.db", max_bytes=3 * (10 + ROW)) as box:
        for _ in range(3):
            box.put("a", b"0123456789")
        with pytest.raises(StoreError, match="full"):
            box.put("a", b"0")
        box.ack("a", 1)
        assert box.put("a", b"0123456789") == 4


def test_full_evicts_the_oldest_without_a_gap(tmp_path):
    with Outbox(tmp_path / "o.db", max_bytes=1000, evict="oldest") as box:
        for i in range(8):
            box.put("a", bytes([65 + i]) * 100)
        assert box.evicted > 0
        assert box.size <= 1000
        rows = box.pending("a", 0, 100, 1 << 20)
        assert [seq for seq, _ in rows] == list(range(1, 9))
        assert [p for _, p in rows] == [b""] * box.evicted + [
            bytes([65 + i]) * 100 for i in range(box.evicted, 8)
        ]
        with pytest.raises(StoreError, match="room"):
            box.put("a", bytes(2000))
        while True:
            try:
                box.put("a", b"x")
            except StoreError:
                break
        assert box.size <= 1000


@pytest.mark.parametrize("evict", ["refuse", "oldest"])
def test_what_was_put_before_needs_no_room(tmp_path, evict):
    with Outbox(tmp_path / "o.db", max_bytes=3 * (10 + ROW), evict=evict) as box:
        items = [("a", b"0123456789", key) for key in "kkl"]
        assert box.put_many(items + items) == [1, 1, 2] * 2
        assert box.put("b", b"0123456789") == 1
        assert box.size == 3 * (10 + ROW)
        assert box.put_many(items) == [1, 1, 2]
        assert box.evicted == 0
        with pytest.raises(StoreError, match="full"):  # all or none, evictions and streams included
            box.put_many([("c", bytes(100), "new"), ("a", bytes(200), None)])
        assert box.size == 3 * (10 + ROW)
        assert set(box.streams) == {"a", "b"}
        assert [p for _, p in box.pending("a", 0, 10)] == [b"0123456789"] * 2


def test_one_process(tmp_path):
    with Outbox(tmp_path / "o.db") as box:
        with pytest.raises(StoreError, match="another process"):
            Outbox(tmp_path / "o.db")
        code = f"from walle_pipeline.tunnel.outbox import Outbox\nOutbox({str(box.path)!r})"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another process" in child.stderr
    Outbox(tmp_path / "o.db").close()


def test_unusable_path(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "o.db", tmp_path):
        with pytest.raises(StoreError):
            Outbox(path)


@pytest.mark.parametrize("damage", ["noise", "header", "page"])
def test_damaged_file_is_set_aside(tmp_path, damage):
    path = tmp_path / "o.db"
    with Outbox(path) as box:
        box.put_many([("a", bytes([i % 251]) * 300, f"k{i}") for i in range(200)])
        box.base("a", 0)
    raw = bytearray(path.read_bytes())
    if damage == "noise":
        raw = bytearray(b"no database at all" * 500)
    elif damage == "header":
        raw[:16] = bytes(16)
    else:
        raw[4096 : 4096 * 12] = b"\xff" * (4096 * 11)
    path.write_bytes(raw)
    with Outbox(path) as box:
        assert box.damaged == tmp_path / "o.db.damaged-1"
        assert box.damaged.read_bytes() == raw
        assert box.put("a", b"new") == 1
        assert not box.streams["a"].based
        box.base("a", 120)  # what the server has of the old one
        assert box.pending("a", 0, 10) == [(121, b"new")]
        assert box.put("a", b"next") == 122
    path.write_bytes(b"again" * 1000)
    with Outbox(path) as box:
        assert box.damaged == tmp_path / "o.db.damaged-2"


def test_base(tmp_path):
    with Outbox(tmp_path / "o.db") as box:
        box.put_many([("a", b"%d" % i, f"k{i}") for i in range(5)])
        box.base("a", 3)
        assert [seq for seq, _ in box.pending("a", 0, 10)] == [4, 5, 6, 7, 8]
        assert box.put("a", b"0", "k0") == 4
        box.base("a", 3)
        box.base("a", 1)  # an old message
        assert len(box) == 5
        box.base("a", 6)  # the acknowledgement was lost
        assert [seq for seq, _ in box.pending("a", 0, 10)] == [7, 8]
        box.base("a", 20)  # an older copy of the file
        assert len(box) == 0
        assert box.put("a", b"x") == 21
    with Outbox(tmp_path / "o.db") as box:
        stream = box.streams["a"]
        assert (stream.last, stream.acked, stream.based) == (21, 20, True)


def test_threads(tmp_path):
    with Outbox(tmp_path / "o.db") as box:
        calls = []
        stop = box.on_put(lambda: calls.append(threading.get_ident()))

        def work(n):
            for i in range(50):
                box.put("a", b"%d-%d" % (n, i))
                box.pending("a", 0, 5)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop()
        box.put("a", b"last")
        rows = box.pending("a", 0, 1000)
        assert [seq for seq, _ in rows] == list(range(1, 202))
        for n in range(4):
            mine = [p for _, p in rows if p.startswith(b"%d-" % n)]
            assert mine == [b"%d-%d" % (n, i) for i in range(50)]
        assert len(calls) == 200


def test_a_failed_put_leaves_nothing(tmp_path):
    with Outbox(tmp_path / "o.db") as box:
        box.put("a", b"1")
        box._write.execute(
            "CREATE TRIGGER t BEFORE INSERT ON pending WHEN new.payload = x'00' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(StoreError):
            box.put_many([("a", b"2", "k"), ("new", b"3", None), ("a", b"\0", None)])
        assert box.put("a", b"2", "k") == 2
        assert box.put("new", b"3") == 1
        assert (len(box), box.size) == (3, 3 + 3 * ROW)
        with contextlib.closing(sqlite3.connect(box.path)) as db:
            assert db.execute("SELECT count(*) FROM pending").fetchone() == (3,)


class OutboxMachine(RuleBasedStateMachine):
    """Against a list in memory, with restarts anywhere."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.box = Outbox(f"{self.folder.name}/o.db", max_bytes=4000, evict="oldest")
        self.rows, self.last, self.acked, self.keys = {}, 0, 0, {}

    @rule(payload=st.binary(min_size=1, max_size=300), key=st.none() | st.sampled_from("abc"))
    def put(self, payload, key):
        try:
            seq = self.box.put("s", payload, key)
        except StoreError:
            return
        if key in self.keys:
            assert seq == self.keys[key]
            return
        self.last += 1
        assert seq == self.last
        self.rows[seq] = payload
        if key:
            self.keys[key] = seq

    @precondition(lambda self: self.last > self.acked)
    @rule(data=st.data())
    def ack(self, data):
        self.acked = data.draw(st.integers(self.acked + 1, self.last))
        self.box.ack("s", self.acked)

    @rule()
    def restart(self):
        self.box.close()
        self.box = Outbox(f"{self.folder.name}/o.db", max_bytes=4000, evict="oldest")

    @rule()
    def check(self):
        found = self.box.pending("s", 0, 1000)
        assert [seq for seq, _ in found] == list(range(self.acked + 1, self.last + 1))
        for seq, payload in found:
            assert payload in (b"", self.rows[seq])
        assert self.box.size == sum(len(p) + ROW for _, p in found) <= 4000

    def teardown(self):
        self.box.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
