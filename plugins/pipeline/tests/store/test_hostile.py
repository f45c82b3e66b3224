"""What a store meets in the field: odd input, odd paths, odd moments."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from walle_pipeline.errors import StoreError
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.contract import MAX_TIME, MIN_BYTES, Batch, EngineStats

from walle_core.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from engines import NAMES, file_of, make, python, spoil


@pytest.fixture(params=NAMES)
def engine(request, tmp_path):
    return make(request.param, tmp_path)


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_odd_input_is_refused_and_stops_nothing(engine):
    with CollectiveStore(engine, flush_ms=1e6) as store:
        for table, key, value, moment in (
            ("t", "\ud800", b"", 0),
            ("t\udfff", "k", b"", 0),
            ("t" * 10_000_000, "k", b"", 0),
            (b"t" * 10_000_000, "k", b"", 0),
            ("t", b"k" * 10_000_000, b"", 0),
            ("t", "k" * 10_000_000, b"", 0),
            ("t", "k", bytes(100_000_000), 0),
            ("t", "k", None, 0),
            ("t", "k", bytearray(b"v"), 0),
            ("t", "k", b"", True),
            ("t", "k", b"", 10**4000),
        ):
            with pytest.raises(InputError) as caught:
                store.put(table, key, value, moment)
            assert len(str(caught.value)) < 500
        with pytest.raises(InputError):
            store.delete("t", "\ud800")
        with pytest.raises(InputError):
            store.get("t", "")
        with pytest.raises(ZeroDivisionError):
            store.put_many("t", ((b"%d" % (1 // n), b"", 0) for n in (1, 0)))
        assert (store.stats.pending, store.stats.rejected) == (0, 12)
        rows = [(b"\0", b"", 0), (b"\0\0", b"\0", 0), ("\0é".encode(), b"", MAX_TIME - 1)]
        for name in ("a\0b", "a", "ключ" * 30, "rows_1; DROP TABLE tables"):
            store.put_many(name, rows)
        store.flush()
        for name in ("a\0b", "a", "ключ" * 30, "rows_1; DROP TABLE tables"):
            assert list(store.scan(name)) == rows
            assert store.get(name, b"\0") == b""
            assert store.get(name, "\0é") == b""


def test_scan_beyond_all_times(engine):
    with CollectiveStore(engine) as store:
        store.put("t", "k", b"v", 5)
        assert len(list(store.scan("t", -(1 << 70), 1 << 70))) == 1
        assert not list(store.scan("t", 1 << 70))
        assert not list(store.scan("t", 0, -1))
        assert not list(store.scan("t", 9, 3))
        for start in (1.5, "0", None):
            with pytest.raises(InputError):
                list(store.scan("t", start))
        with pytest.raises(InputError):
            list(store.scan(""))


@pytest.mark.parametrize("name", NAMES)
def test_paths_that_cannot_be(name, tmp_path):
    engine = make(name, tmp_path)
    if name == "sqlite":
        engine.path.mkdir()
    else:
        engine.path.write_bytes(b"")
    store = CollectiveStore(engine)
    with pytest.raises(StoreError, match="store"):
        store.open()
    with pytest.raises(StoreError, match="closed"):
        store.put("t", "k", b"", 0)
    store.close()
    below = make(name, tmp_path / "file" / "below")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="file"):
        CollectiveStore(below).open()
    if name == "sqlite":
        engine.path.rmdir()
    else:
        engine.path.unlink()
    with store:
        store.put("t", "k", b"", 0)


@pytest.mark.parametrize("name", NAMES)
def test_read_only_folder(name, tmp_path):
    with CollectiveStore(make(name, tmp_path)) as store:
        store.put("t", "k", b"v", 0)
    try:
        bound = ["mount", "--bind", str(tmp_path), str(tmp_path)]
        done = os.geteuid() == 0 and subprocess.run(bound, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting needs root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(tmp_path)], check=True)
        with pytest.raises(StoreError, match="writable"):
            CollectiveStore(make(name, tmp_path)).open()
        with pytest.raises(StoreError):
            CollectiveStore(make(name, tmp_path / "new")).open()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    with CollectiveStore(make(name, tmp_path)) as store:
        assert store.get("t", "k") == b"v"
        assert store.stats.damaged == 0


HOLDER = """
import sys
from engines import make
from walle_pipeline.store.collective import CollectiveStore
store = CollectiveStore(make(sys.argv[1], sys.argv[2]))
store.open()
store.put("theirs", "k", b"v", 0)
store.flush()
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("name", NAMES)
def test_one_file_one_store(name, tmp_path):
    mine = CollectiveStore(make(name, tmp_path))
    with python(HOLDER, name, str(tmp_path), stdin=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(StoreError, match="another process or store"):
            mine.open()
        holder.kill()
    with mine:
        with pytest.raises(StoreError, match="another process or store"):
            CollectiveStore(make(name, tmp_path)).open()
        mine.put("mine", "k", b"w", 0)
        assert [mine.get(table, "k") for table in ("theirs", "mine")] == [b"v", b"w"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", NAMES)
def test_forked_process_does_not_hold_the_file(name, tmp_path):
    code = """
import os, sys, time
from engines import make
from walle_pipeline.store.collective import CollectiveStore
store = CollectiveStore(make(sys.argv[1], sys.argv[2]), flush_ms=1e6)
store.open()
child = os.fork()
if not child:
    time.sleep(60)
    os._exit(0)
store.put("t", "k", b"v", 0)
store.close()
store.open()
print(store.get("t", "k"), flush=True)
store.close()
os.kill(child, 9)
"""
    make(name, tmp_path)
    with python(code, name, str(tmp_path)) as process:
        assert process.stdout.read() == "b'v'\n"


def test_log_cut_anywhere(tmp_path):
    """Of what a log holds, the transactions before the first bad byte are there, and no half of one."""
    with CollectiveStore(make("sqlite", tmp_path), flush_ms=1e6, flush_count=1000) as store:
        for n in range(30):
            store.put("a", b"%d" % n, b"x" * 3000, n)
            store.put("b", b"%d" % n, b"x" * 3000, n)
            store.flush()
        copies = tmp_path / "copies"
        copies.mkdir()
        log = Path(f"{store.engine.path}-wal").read_bytes()
        size = len(log)
        assert size > 100_000
        kept = []
        for n, at in enumerate([0, 10, 32, 5000, size // 3, size // 2, size - 1, size, -(size // 2)]):
            folder = copies / str(n)
            folder.mkdir()
            shutil.copyfile(store.engine.path, folder / "store.db")
            spoilt = log[:at] if at >= 0 else log[:-at] + b"\xa5" * 500 + log[-at + 500 :]
            (folder / "store.db-wal").write_bytes(spoilt)
            with CollectiveStore(make("sqlite", folder)) as copy:
                rows = list(copy.scan("a"))
                assert rows == list(copy.scan("b"))
                assert [row[2] for row in rows] == list(range(len(rows)))
                assert copy.stats.damaged == 0
                kept.append(len(rows))
                copy.put("a", "new", b"", 0)
    assert kept[:8] == sorted(kept[:8])
    assert kept[7] == 30
    assert kept[8] == kept[5] > 0


@pytest.mark.parametrize("now", [-5, 0, 1 << 70])
@pytest.mark.parametrize("name", NAMES)
def test_clock_of_expiry_is_wrong(name, now, tmp_path):
    """Of a table with an age nothing is lost but the oldest; the clock goes back in the middle."""
    clock = [now]
    engine = make(name, tmp_path, keep_ms={"t": 1000}, now_ms=lambda: clock[0])
    with CollectiveStore(engine) as store:
        for n in range(30):
            clock[0] -= 1000
            store.put("t", b"%d" % n, bytes(1 << 20), n)
        kept = [moment for _, _, moment in store.scan("t")]
        assert kept == list(range(kept[0], 30))
        assert 3 <= len(kept) < 30
        assert store.stats.evicted == 30 - len(kept)


def test_interrupted_in_a_flush(engine, monkeypatch):
    """Ctrl-C in the middle of a transaction: it is undone, and what it held waits again."""
    with CollectiveStore(engine, flush_count=1000, flush_ms=1e6) as store:
        store.put("t", "k", b"v", 1)
        whole = engine._write

        class Interrupting(list):
            def __iter__(self):
                yield from super().__iter__()
                raise KeyboardInterrupt

        def half(batches):
            whole([Batch(batch.table, Interrupting(batch.rows)) for batch in batches])

        monkeypatch.setattr(engine, "_write", half)
        with pytest.raises(KeyboardInterrupt):
            store.flush()
        monkeypatch.undo()
        assert store.stats.pending == 1
        store.put("t", "l", b"w", 2)
        store.flush()
        assert store.get("t", "k") == b"v"
        assert store.stats.pending == 0


class Slow:
    """An engine in memory whose writes wait until `go` is set, and fail while `broken`."""

    name, max_bytes, broken = "slow", 64 << 20, False

    def __init__(self):
        self.stats, self.rows = EngineStats(), {}
        self.busy, self.go = threading.Event(), threading.Event()
        self.go.set()

    def open(self):
        pass

    def close(self):
        pass

    def apply(self, batches):
        self.busy.set()
        assert self.go.wait(10)
        if self.broken:
            raise OSError(28, "No space left on device")
        for batch in batches:
            self.rows.update({key: (value, moment) for key, value, moment in batch.rows})

    def get(self, _table, key):
        return self.rows.get(key)


def test_first_flush_fails_and_is_tried_again():
    """Nobody writes after it: the thread has to be there for it."""
    engine = Slow()
    engine.broken = True
    with CollectiveStore(engine, flush_count=2, flush_ms=1e6, retry_ms=20) as store:
        store.put_many("t", [("a", b"", 0), ("b", b"", 0)])
        until(lambda: store.stats.failed >= 3)
        assert store.stats.pending == 2
        engine.broken = False
        until(lambda: store.stats.pending == 0)
        assert set(engine.rows) == {b"a", b"b"}
        with contextlib.suppress(StoreError):
            store.flush()


def test_written_during_a_flush_is_flushed_by_age():
    engine = Slow()
    engine.go.clear()
    with CollectiveStore(engine, flush_count=3, flush_ms=20) as store:
        first = threading.Thread(target=store.put_many, args=("t", [("a", b"", 0)] * 3))
        first.start()
        assert engine.busy.wait(10)
        store._flush_count = 10
        store.put("t", "c", b"", 0)  # does not wait for the flush
        assert store.stats.pending == 4
        engine.go.set()
        first.join()
        until(lambda: store.stats.pending == 0)
        assert b"c" in engine.rows


def test_read_during_a_flush_sees_what_was_written():
    engine = Slow()
    engine.go.clear()
    with CollectiveStore(engine, flush_count=1, flush_ms=1e6) as store:
        first = threading.Thread(target=store.put, args=("t", "a", b"1", 0))
        first.start()
        assert engine.busy.wait(10)
        found = []
        reader = threading.Thread(target=lambda: found.append(store.get("t", "a")))
        reader.start()
        reader.join(0.1)
        assert reader.is_alive()
        engine.go.set()
        reader.join()
        first.join()
        assert found == [b"1"]


def test_closed_during_a_flush():
    """A write is stored, or it raises: none is taken after the last flush has begun."""
    engine = Slow()
    store = CollectiveStore(engine, flush_count=1000, flush_ms=1e6)
    store.open()
    store.put("t", "a", b"", 0)
    engine.go.clear()
    closer = threading.Thread(target=store.close)
    closer.start()
    assert engine.busy.wait(10)
    with pytest.raises(StoreError, match="closed"):
        store.put("t", "late", b"", 0)
    engine.go.set()
    closer.join()
    assert set(engine.rows) == {b"a"}
    engine.broken = True
    store.open()
    store.put("t", "lost", b"", 0)
    with pytest.raises(StoreError, match="No space"):
        store.close()
    engine.broken = False
    with store:
        store.put("t", "b", b"", 0)
    assert set(engine.rows) == {b"a", b"b"}


@pytest.mark.parametrize("name", NAMES)
def test_closed_during_a_scan(name, tmp_path):
    with CollectiveStore(make(name, tmp_path)) as store:
        store.put_many("t", [(b"%d" % n, bytes(1 << 19), n) for n in range(5)])
        rows = store.scan("t")
        assert next(rows)[2] == 0
    with pytest.raises(StoreError, match="closed"):
        list(rows)


@pytest.mark.parametrize("name", NAMES)
def test_disk_full_while_copying_a_damaged_file(name, tmp_path, monkeypatch, caplog):
    """What was copied stays, the file set aside has the rest, and the store goes on."""
    with CollectiveStore(make(name, tmp_path)) as store:
        store.put_many("t", [(b"%05d" % n, b"x" * 500, n) for n in range(4000)])
        file = file_of(store.engine)
    spoil(file, "middle")
    engine = make(name, tmp_path)
    put, calls = engine._put, []

    def full(batches):
        calls.append(batches)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        put(batches)

    monkeypatch.setattr(engine, "_put", full)
    with CollectiveStore(engine) as store:
        list(store.scan("t"))  # meets the damage
        assert store.stats.damaged == 1
        kept = list(store.scan("t"))
        assert len(kept) == store.stats.salvaged == len(calls[0][0].rows)
        assert "in that file only" in caplog.text
        store.put("t", "new", b"", 9)
        assert store.get("t", "new") == b""
    assert list(file.parent.glob("*.damaged-1"))


@pytest.mark.parametrize("entry", [(b"version", b"\xffx"), (b"t \xff", b"\0\0\0\2"), (b"t x", b"\0\0\0\1")])
def test_lmdb_with_nonsense_in_place_of_names(entry, tmp_path):
    engine = make("lmdb", tmp_path)
    import lmdb

    with CollectiveStore(engine) as store:
        store.put("t", "k", b"v", 1)
    with lmdb.open(str(engine.path), max_dbs=4) as env, env.begin(write=True) as txn:
        txn.put(*entry, db=env.open_db(b"meta", txn))
    with CollectiveStore(make("lmdb", tmp_path)) as store:
        assert store.stats.damaged == 1
        store.put("t", "new", b"w", 1)
        assert store.get("t", "new") == b"w"


def test_not_a_database(tmp_path):
    engine = make("sqlite", tmp_path)
    engine.path.write_bytes(b"a letter to my aunt\n" * 1000)
    with CollectiveStore(engine) as store:
        store.put("t", "k", b"v", 1)
        assert store.stats.damaged == 1
    assert engine.path.with_name("store.db.damaged-1").read_bytes().startswith(b"a letter")


@pytest.mark.parametrize("name", NAMES)
def test_largest_values_fill_the_smallest_store(name, tmp_path):
    with CollectiveStore(make(name, tmp_path, MIN_BYTES)) as store:
        for n in range(3):
            store.put_many("t", [(b"%d" % i, bytes([n]) * (1 << 20), n * 20 + i) for i in range(20)])
            store.flush()
        kept = list(store.scan("t"))
        assert {value[:1] for _, value, _ in kept} == {b"\2"}
        assert file_of(store.engine).stat().st_size <= MIN_BYTES
