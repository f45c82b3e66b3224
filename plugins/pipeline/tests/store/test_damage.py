"""Processes killed, disks full, files damaged, space bounded."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from walle_pipeline.errors import StoreError
from walle_pipeline.store.collective import CollectiveStore
from walle_pipeline.store.contract import MIN_BYTES

sys.path.insert(0, str(Path(__file__).parent))
from engines import FULL, NAMES, file_of, make, python, spoil

WRITER = """
import sys, random
from engines import make
from walle_pipeline.store.collective import CollectiveStore
name, folder, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = CollectiveStore(make(name, folder), flush_count=40, flush_ms=5)
store.open()
rng = random.Random(seed)
first = int(sys.argv[4])
print("ready", flush=True)
for n in range(first, first + 10_000_000):
    value = (b"%d," % n) * rng.randrange(1, 60)
    store.put("t", b"%08d" % n, value, n)
    store.put("pair", b"%08d" % n, value, n)
    if rng.random() < 0.05:
        store.flush()
        print(n, flush=True)
"""


@pytest.mark.parametrize("name", NAMES)
def test_kill(name, tmp_path):
    make(name, tmp_path)
    rng = random.Random(7)
    rounds, known = (1000 if FULL else 20) // 2, -1
    for seed in range(rounds):
        with python(WRITER, name, str(tmp_path), str(seed), str(known + 1)) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(rng.random() * 0.12)
            writer.send_signal(signal.SIGKILL)
            told = [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        flushed = max([known, *told])
        with CollectiveStore(make(name, tmp_path, MIN_BYTES * 16)) as store:
            rows = {
                int(key): value
                for key, value, _ in store.scan("t", 0 if seed % 5 == 0 else max(0, known - 50))
            }
            for n in range(min(rows, default=0), flushed + 1):
                assert n in rows
            for n, value in rows.items():
                assert value == (b"%d," % n) * (len(value) // len(b"%d," % n))
                assert store.get("t", b"%08d" % n) == value
            last = max(rows, default=-1)
            pairs = {int(key) for key, _, _ in store.scan("pair", min(rows, default=0))}
            assert len(rows) - 1 <= len(pairs) <= len(rows)
            assert last >= flushed
            assert store.stats.damaged == 0
            known = last


FILLER = """
import sys, resource
from engines import make
from walle_pipeline.errors import StoreError
from walle_pipeline.store.collective import CollectiveStore
name, folder, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = CollectiveStore(make(name, folder, 64 << 20), flush_count=10, flush_ms=1e6, buffer_bytes=4 << 20)
store.open()
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
n, taken, error, safe = 0, [], "", -1
for n in range(1000):
    try:
        store.put("t", b"%08d" % n, b"%08d" % n * 2500, n)
        taken.append(n)
        if n % 20 == 0:
            store.flush()
            safe = n
    except StoreError as caught:
        error = str(caught)
        if "full" in error and "wait" in error:
            break
print(f"{n} {safe} {error}", flush=True)
sys.stdin.readline()
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
store.put("t", b"more", b"", 5000)
store.flush()
rows = [(key, value) for key, value, _ in store.scan("t")]
wanted = [(b"%08d" % n, b"%08d" % n * 2500) for n in taken] + [(b"more", b"")]
assert rows == wanted, (len(rows), len(wanted))
store.close()
print("good", flush=True)
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB and a way to enlarge it, or the folder and None where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    try:
        mounted = (
            os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
        )
    except OSError:
        mounted = False
    if not mounted:
        yield folder, None
        return
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("way", ["disk", "limit"])
@pytest.mark.parametrize("name", NAMES)
def test_full_disk(name, way, tmp_path, small_disk):
    make(name, tmp_path)
    folder, enlarge = small_disk
    if way == "disk" and enlarge is None:
        pytest.skip("mounting a small file system needs root")
    if way == "limit":
        folder = tmp_path
    with python(
        FILLER, name, str(folder), "0" if way == "disk" else "3000000", stdin=subprocess.PIPE
    ) as filler:
        reached, safe, error = filler.stdout.readline().split(" ", 2)
        assert "full" in error
        assert int(reached) < 999
        assert int(safe) >= 20
        if way == "disk":
            enlarge()
        filler.stdin.write("\n")
        filler.stdin.flush()
        assert filler.stdout.readline() == "good\n"
    assert filler.returncode == 0


def fill(store, count, first=0):
    store.put_many("t", [(b"%08d" % n, b"%08d" % n * 50, n) for n in range(first, first + count)])
    store.put("u", "key", b"value", 7)
    store.flush()


@pytest.mark.parametrize("name, how, least", [
    ("sqlite", "head", 0), ("sqlite", "middle", 3000), ("sqlite", "short", 1000),
    ("lmdb", "head", 0), ("lmdb", "middle", 3000), ("lmdb", "short", 0),
])  # fmt: skip
def test_damaged(name, how, least, tmp_path, caplog):
    with CollectiveStore(make(name, tmp_path)) as store:
        fill(store, 4000)
        file = file_of(store.engine)
    spoil(file, how)
    with CollectiveStore(make(name, tmp_path)) as store:
        rows = list(store.scan("t"))
        assert all(value == key * 50 for key, value, _ in rows)
        assert least <= len(rows) < 4000
        assert store.stats.damaged == 1
        assert store.stats.salvaged >= len(rows)
        assert "damaged" in caplog.text
        assert list(file.parent.glob("*.damaged-1"))
        fill(store, 100, first=10_000)
        assert store.get("t", b"%08d" % 10_050)
    with CollectiveStore(make(name, tmp_path)) as store:
        assert sum(1 for _ in store.scan("t")) == len(rows) + 100
        assert store.stats.damaged == 0


def test_damage_found_while_open(tmp_path):
    with CollectiveStore(make("sqlite", tmp_path)) as store:
        fill(store, 4000)
    spoil(store.engine.path, "middle")
    with CollectiveStore(make("sqlite", tmp_path, check_bytes=0)) as store:
        assert store.stats.damaged == 0
        rows = {key for key, _, _ in store.scan("t")}
        assert store.stats.damaged == 1
        assert len(rows) >= 1000
        fill(store, 10)


@pytest.mark.parametrize("name", NAMES)
def test_newer_version(name, tmp_path):
    engine = make(name, tmp_path)
    with CollectiveStore(engine) as store:
        fill(store, 10)
    if name == "sqlite":
        import sqlite3

        db = sqlite3.connect(engine.path)
        db.execute("PRAGMA user_version=9")
        db.close()
    else:
        import lmdb

        with lmdb.open(str(engine.path), max_dbs=4) as env, env.begin(write=True) as txn:
            txn.put(b"version", b"9", db=env.open_db(b"meta", txn))
    with pytest.raises(StoreError, match="version 9"):
        CollectiveStore(make(name, tmp_path)).open()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [100, 5000, 200_000])
def test_bounded(name, length, tmp_path):
    """Three times more is written than fits: the newest stays, the file keeps its bound."""
    rng = random.Random(3)
    with CollectiveStore(make(name, tmp_path)) as store:
        count = 3 * MIN_BYTES // (length + 60)
        step = max(1, count // 60)
        for first in range(0, count, step):
            keys = rng.randbytes(12 * step)
            sizes = rng.choices(range(length // 2, length), k=step)
            rows = [(keys[12 * i : 12 * i + 12], b"x" * size, first + i) for i, size in enumerate(sizes)]
            store.put_many(f"t{first % 3}", rows)
            store.flush()
            assert file_of(store.engine).stat().st_size <= MIN_BYTES
            assert store.engine.used_bytes() <= MIN_BYTES
        kept = sorted(row[2] for n in range(3) for row in store.scan(f"t{n}"))
        written = range(count - count % step + (step if count % step else 0))
        assert kept == list(written[-len(kept) :])
        assert store.stats.evicted == len(written) - len(kept)
        assert store.engine.used_bytes() >= MIN_BYTES * 2 // 5


@pytest.mark.parametrize("name", NAMES)
def test_expired_goes_first(name, tmp_path):
    now = 1_000_000
    space = MIN_BYTES * (2 if name == "lmdb" else 1)
    with CollectiveStore(make(name, tmp_path, space, keep_ms={"short": 1000}, now_ms=lambda: now)) as store:
        value = b"x" * 10_000
        store.put_many("long", [(b"%d" % n, value, 10 + n) for n in range(400)])
        store.put_many("short", [(b"%d" % n, value, 500_000 + n) for n in range(400)])
        store.put("short", "young", b"", now)
        store.flush()
        assert store.stats.evicted == 0
        for n in range(20):
            store.put_many("new", [(b"%d.%d" % (n, i), value, now) for i in range(60)])
            store.flush()
            expired = sum(1 for _ in store.scan("short")) - 1
            oldest = sum(1 for _ in store.scan("long"))
            assert oldest == 400 or expired == 0
        assert store.get("short", "young") is not None
        assert oldest < 400


def test_smaller_bound(tmp_path):
    with CollectiveStore(make("sqlite", tmp_path, 2 * MIN_BYTES)) as store:
        for n in range(25):
            store.put("t", b"%d" % n, bytes(1 << 20), n)
    assert store.engine.path.stat().st_size > MIN_BYTES
    with CollectiveStore(make("sqlite", tmp_path)) as store:
        assert store.engine.path.stat().st_size <= MIN_BYTES
        assert [row[2] for row in store.scan("t")][-1] == 24
