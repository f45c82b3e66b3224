"""The contract of collective storage, over every engine."""

import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from walle_pipeline.errors import StoreError
from walle_pipeline.store.collective import CollectiveStore, first_part, remaining
from walle_pipeline.store.contract import MAX_KEY, MAX_VALUE, MIN_BYTES, Batch, Engine, EngineStats, Store

from walle_core.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from engines import FULL, NAMES, make


class Model(RuleBasedStateMachine):
    """A store against a dict."""

    folder: Path
    engine_name: str
    runs = 0

    @initialize()
    def start(self):
        type(self).runs += 1
        where = self.folder / str(self.runs)
        where.mkdir()
        self.make = lambda: CollectiveStore(make(self.engine_name, where), flush_count=5, flush_ms=1e6)
        self.store = self.make()
        self.store.open()
        self.model = {"a": {}, "b": {}}

    tables = st.sampled_from("ab")
    keys = st.sampled_from([b"k", b"k\0", b"k\0\0", b"\xff" * MAX_KEY, b"1", b"2", b"3"]) | st.binary(
        min_size=1, max_size=3
    )
    values = st.binary(max_size=40) | st.integers(0, 9000).map(lambda n: b"x" * n)
    times = st.integers(0, 9) | st.integers(0, (1 << 63) - 2)

    @rule(table=tables, key=keys, value=values, time_ms=times)
    def put(self, table, key, value, time_ms):
        self.store.put(table, key, value, time_ms)
        self.model[table][key] = value, time_ms

    @rule(table=tables, rows=st.lists(st.tuples(keys, values, times), max_size=80))
    def put_many(self, table, rows):
        self.store.put_many(table, rows)
        self.model[table].update({key: (value, time_ms) for key, value, time_ms in rows})

    @rule(table=tables, key=keys)
    def delete(self, table, key):
        self.store.delete(table, key)
        self.model[table].pop(key, None)

    @rule(table=tables, key=keys)
    def get(self, table, key):
        assert self.store.get(table, key) == self.model[table].get(key, (None,))[0]

    @rule(table=tables, start=times, stop=times)
    def scan(self, table, start, stop):
        wanted = sorted((t, k, v) for k, (v, t) in self.model[table].items() if start <= t < stop)
        assert [(t, k, v) for k, v, t in self.store.scan(table, start, stop)] == wanted

    @rule()
    def reopen(self):
        self.store.close()
        self.store = self.make()
        self.store.open()

    def teardown(self):
        if hasattr(self, "store"):
            for table in "ab":
                self.scan(table, 0, (1 << 63) - 1)
            self.store.close()


@pytest.mark.parametrize("name", NAMES)
def test_like_a_dict(name, tmp_path):
    make(name, tmp_path)
    model = type("Model", (Model,), {"folder": tmp_path, "engine_name": name})
    case = model.TestCase
    case.settings = settings(
        max_examples=500 if FULL else 25,
        stateful_step_count=30,
        deadline=None,
        derandomize=not FULL,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()


@pytest.fixture(params=NAMES)
def engine(request, tmp_path):
    return make(request.param, tmp_path)


def test_protocols(engine):
    assert isinstance(engine, Engine)
    assert isinstance(CollectiveStore(engine), Store)


def test_flush_by_count_and_reads(engine):
    with CollectiveStore(engine, flush_count=10, flush_ms=1e6) as store:
        for i in range(25):
            store.put("t", f"k{i}", b"v", i)
        assert (store.stats.flushes, store.stats.pending) == (2, 5)
        assert store.get("t", "k24") == b"v"
        assert (store.stats.flushes, store.stats.pending, store.stats.writes) == (3, 0, 25)
        assert (store.stats.rows, store.stats.bytes) == (25, sum(len(f"k{i}") + 1 for i in range(25)))
        assert store.get("nothing", "k") is None
        assert list(store.scan("nothing")) == []


def test_flush_by_age_and_idle(engine):
    now = [0.0]
    with CollectiveStore(engine, flush_ms=50, clock=lambda: now[0]) as store:
        before = threading.active_count()
        store.put("t", "k", b"v", 1)
        store.put("u", "k", b"v", 1)
        assert threading.active_count() == before + 1
        now[0] += 0.049
        assert store.stats.pending == 2
        now[0] += 0.002
        until = time.monotonic() + 10
        while store.stats.pending and time.monotonic() < until:
            time.sleep(0.005)
        assert (store.stats.flushes, store.stats.pending) == (1, 0)
        waits = []
        wait = store._changed.wait
        store._changed.wait = lambda timeout=None: (waits.append(timeout), wait(timeout))[1]
        with store._changed:
            store._changed.notify_all()
        until = time.monotonic() + 10
        while not waits and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.2)
        assert waits == [None]
    assert not [t for t in threading.enumerate() if t.name == "walle-store-flush"]


def test_refuses(engine):
    with CollectiveStore(engine) as store:
        for key, value, time_ms in (
            (b"", b"", 0),
            (b"k" * (MAX_KEY + 1), b"", 0),
            (b"k", b"x" * (MAX_VALUE + 1), 0),
            (b"k", b"", -1),
            (b"k", b"", 1.5),
            (b"k", "text", 0),
            (3, b"", 0),
        ):
            with pytest.raises(InputError):
                store.put("t", key, value, time_ms)
            with pytest.raises(InputError):
                store.put_many("t", [(b"good", b"", 0), (key, value, time_ms)])
        for bad in ([(b"k", b"v")], [3]):
            with pytest.raises(InputError):
                store.put_many("t", bad)
        with pytest.raises(InputError):
            store.put("", "k", b"", 0)
        assert list(store.scan("t")) == []
        assert store.stats.rejected == 17
    with pytest.raises(StoreError, match="closed"):
        store.put("t", "k", b"", 0)
    with pytest.raises(InputError):
        type(engine)("x", MIN_BYTES - 1)


def test_largest_values_and_text_keys(engine):
    with CollectiveStore(engine) as store:
        for i in range(4):
            store.put("t", f"ключ{i}", bytes([i]) * MAX_VALUE, i)
        assert store.get("t", "ключ2".encode()) == b"\2" * MAX_VALUE
        assert [row[1][:1] for row in store.scan("t")] == [b"\0", b"\1", b"\2", b"\3"]


def test_threads(engine):
    with CollectiveStore(engine, flush_count=50, flush_ms=1) as store:
        failures = []

        def work(number):
            try:
                for i in range(300):
                    store.put(f"t{number % 3}", f"{number}/{i}", b"%d" % i, i)
                    if i % 60 == 0:
                        assert store.get(f"t{number % 3}", f"{number}/{i}") == b"%d" % i
                        assert sum(1 for _ in store.scan(f"t{number % 3}")) > i
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert not failures
        assert sum(sum(1 for _ in store.scan(f"t{n}")) for n in range(3)) == 2400
        assert store.stats.flushes < 2400 / 2


class Failing:
    """An engine that fails while told to."""

    name, max_bytes, broken = "failing", 64 << 20, False

    def __init__(self):
        self.stats, self.seen = EngineStats(), []

    def open(self):
        pass

    def close(self):
        pass

    def apply(self, batches):
        if self.broken:
            raise StoreError("no space")
        self.seen += [row for batch in batches for row in batch.rows]


def test_backpressure():
    engine, now = Failing(), [0.0]
    with CollectiveStore(engine, 2, 50, lambda: now[0], buffer_bytes=3 << 20) as store:
        engine.broken = True
        taken, told, full = [], 0, 0
        for i in range(10):
            try:
                store.put("t", b"%d" % i, bytes(1 << 19), i)
                taken.append(i)
            except StoreError as error:
                told += "earlier" in str(error)
                full += "full" in str(error)
        assert (told, full) == (1, 4)
        with pytest.raises(StoreError, match="no space"):
            store.flush()
        with pytest.raises(StoreError, match="no space"):
            store.get("t", "k")
        assert not engine.seen
        assert (store.stats.pending, store.stats.rejected) == (len(taken), 5)
        engine.broken = False
        store.put("t", b"last", bytes(1 << 19), 99)
        store.flush()
        assert [row[2] for row in engine.seen] == [*taken, 99]


def test_parts():
    batches = [Batch("a", [(b"k", b"x" * 100, i) for i in range(10)]), Batch("b", [(b"k", b"", 0)], True)]
    got, sizes = [], []
    while batches:
        part = first_part(batches, 500)
        sizes.append(sum(batch.size for batch in part))
        got += [(b.table, row[2], b.delete) for b in part for row in b.rows]
        batches = remaining(batches, part)
    assert got == [*(("a", i, False) for i in range(10)), ("b", 0, True)]
    assert max(sizes) <= 500
    assert len(first_part([Batch("a", [(b"k", b"x" * 1000, 0)])], 10)[0].rows) == 1
