"""What is kept, on SQLite and PostgreSQL: each sample once, whatever is repeated."""

import threading

import pytest
import sqlalchemy as sa
from walle_deploy.cloud import store as module
from walle_deploy.cloud.costs import Price, costs
from walle_deploy.cloud.store import DAY_S, CloudStore
from walle_deploy.cloud.work import Outcome
from walle_deploy.errors import CloudError, DeployError

GOOD = Outcome("digits", "v3", "r", 5, ok=True, answer=b"answer", ms=4.0, cpu_ms=2.0)
BAD = Outcome(why="no sample")


class Clock:
    now = 20_000.5 * DAY_S

    def __call__(self):
        return self.now


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cloud.db'}"
    server = request.getfixturevalue("postgres_server")
    engine = sa.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    module.metadata.drop_all(engine)  # much faster than another database
    engine.dispose()
    return server.url


@pytest.fixture
def open_store(url):
    made = []

    def make(clock=None):
        made.append(CloudStore.open(url, clock or Clock()))
        return made[-1]

    yield make
    for store in made:
        store.close()


def test_samples_are_begun_and_finished_once(open_store):
    store = open_store()
    keys = [("a", 1), ("a", 2), ("ü", 1), ("a", 1)]
    assert store.begin("s", keys) == {("a", 1): 0, ("a", 2): 0, ("ü", 1): 0}
    assert store.begin("s", keys) == {("a", 1): 1, ("a", 2): 1, ("ü", 1): 1}
    assert store.begin("t", [("a", 1)]) == {("a", 1): 0}
    store.again("s", [("a", 2)])
    outcomes = {("a", 1): (GOOD, 100, 7.5), ("ü", 1): (BAD, 30, 8.5)}
    store.finish("s", outcomes, {"a": 1, "ü": 1})
    store.finish("s", outcomes, {"a": 1, "ü": 1})  # of another process
    assert store.begin("s", keys) == {("a", 2): 0}
    assert store.positions("s") == {"a": 1, "ü": 1}
    assert store.positions("other") == {}
    first, second = store.answers()
    assert (first.device, first.stream, first.seq, first.task, first.version) == ("a", "s", 1, "digits", "v3")
    assert (first.run, first.time, first.received, first.ok, first.answer) == ("r", 5, 7.5, True, b"answer")
    assert (second.device, second.ok, second.why, second.answer) == ("ü", False, "no sample", b"")
    assert first.answered == Clock.now
    assert store.answers("ü") == [second]
    assert store.answers("a", since=first.number) == []
    assert store.answers(since=first.number) == [second]
    again = open_store()
    assert again.answers() == [first, second]
    assert again.begin("s", [("a", 2)]) == {("a", 2): 1}


def test_counts_and_costs(open_store):
    clock = Clock()
    store = open_store(clock)
    store.finish("s", {("a", n): (GOOD, 100, 0.0) for n in range(10)}, {})
    store.finish("s", {("a", 20): (BAD, 50, 0.0), ("a", 3): (GOOD, 100, 0.0)}, {})
    store.count_runs("r", {("digits", "v3"): (40, 12), ("digits", "v2"): (5, 0)}, {"a": 3})
    assert store.positions("r") == {"a": 3}
    clock.now += DAY_S
    store.finish("s", {("b", 1): (GOOD, 100, 0.0)}, {})
    nobody, old, new = costs(store.counted(), Price(cpu_s=0.5, gb=1000.0, currency="USD"))
    assert (nobody.task, nobody.samples, nobody.aside, nobody.share) == ("", 1, 1, None)
    assert (old.version, old.runs, old.samples, old.share, old.money) == ("v2", 5, 0, 0.0, 0.0)
    assert (new.version, new.runs, new.unsure, new.samples, new.aside) == ("v3", 40, 12, 11, 0)
    assert (new.bytes_up, new.bytes_down, new.ms, new.cpu_ms) == (1100, 66, 44.0, 22.0)
    assert new.share == 11 / 40
    assert new.money == pytest.approx(0.5 * 0.022 + 1000 * 1166 / 1e9)
    assert new.currency == "USD"
    (today,) = costs(store.counted(20_001), Price())
    assert (today.samples, today.runs) == (1, 0)


def test_pages(open_store):
    store = open_store()
    large = Outcome("digits", "v3", "r", 5, ok=True, answer=bytes(1000))
    store.finish("s", {("a", n): (large, 1, 0.0) for n in range(30)}, {})
    assert len(store.answers("a", limit=7)) == 7
    assert len(store.answers("a", most_bytes=5000)) == 4
    assert len(store.answers("a", most_bytes=1)) == 1
    found, since = [], 0
    while some := store.answers("a", since, most_bytes=10_000):
        found += some
        since = some[-1].number
    assert [a.seq for a in found] == list(range(30))


def test_told_and_forgotten(open_store):
    clock = Clock()
    store = open_store(clock)
    store.finish("s", {("a", 1): (GOOD, 1, 0.0)}, {})
    (first,) = store.answers()
    assert store.told() == 0
    store.tell(first.number)
    assert store.told() == first.number
    assert store.forget(clock.now) == 0
    clock.now += 10
    assert store.forget(clock.now) == 1
    store.finish("s", {("a", 2): (GOOD, 1, 0.0)}, {})
    (second,) = store.answers()
    assert second.number > first.number
    assert costs(store.counted(), Price())[0].samples == 2


def test_more_keys_than_one_statement_takes(open_store):
    store = open_store()
    keys = [("a", n) for n in range(3 * module.PAGE + 7)]
    assert len(store.begin("s", keys)) == len(keys)
    store.finish("s", dict.fromkeys(keys, (GOOD, 1, 0.0)), {})
    assert store.begin("s", keys) == {}


def test_several_services_at_once(open_store):
    stores = [open_store() for _ in range(4)]
    errors = []

    def work(store):
        try:
            for n in range(15):
                store.begin("s", [("a", n)])
                store.finish("s", {("a", n): (GOOD, 1, 0.0)}, {"a": n})
        except DeployError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(a.seq for a in stores[0].answers()) == list(range(15))
    assert costs(stores[0].counted(), Price())[0].samples == 15


def test_tables_of_another_version(open_store):
    store = open_store()
    store._database.write(lambda found: found.execute(sa.update(module._meta).values(schema=99)))
    with pytest.raises(CloudError, match="version 99"):
        open_store()


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all.db", "mysql://x/y", "sqlite://", "postgresql://walle@127.0.0.1:9/x"]
)
def test_databases_that_cannot_be_opened(url):
    with pytest.raises(DeployError):
        CloudStore.open(url)
