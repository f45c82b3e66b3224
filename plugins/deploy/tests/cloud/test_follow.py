"""What is new is read once, whatever the sink; nothing is read twice, lost, or out of order."""

import asyncio
import random
import sqlite3

from cloud_models import labels
from cloud_world import SIGNATURE, STREAM, fill, running, sample, until
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.cloud import follow
from walle_deploy.cloud.follow import MarksFollower, follower
from walle_deploy.cloud.service import CloudService, _name
from walle_deploy.cloud.work import CloudTask
from walle_deploy.task.packing import unpack
from walle_pipeline.tunnel.contract import Record
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink


def records(device, first, last, stream="s"):
    return [Record(device, stream, n, b"%d" % n, float(n)) for n in range(first, last + 1)]


def run(path, work):
    async def main():
        sink = SqliteSink(path)
        await sink.open()
        reads = []
        inner = sink.read

        async def read(stream, spans, each=64):
            reads.append(list(spans))
            return await inner(stream, spans, each)

        sink.read = read
        try:
            await work(sink, reads)
        finally:
            await sink.close()

    asyncio.run(main())


def keys(found):
    return [(r.device, r.seq) for r in found]


def test_only_what_is_new_is_read(tmp_path):
    async def work(sink, reads):
        await sink.write([*records("a", 1, 50), *records("b", 1, 3), *records("a", 1, 9, "other")])
        made = await follower(sink, "s", "name", {"a": 48})
        assert isinstance(made, MarksFollower)
        assert keys(await made.take(10, 0)) == [("a", 49), ("a", 50), ("b", 1), ("b", 2), ("b", 3)]
        assert reads == [[("a", 48, 50), ("b", 0, 3)]]
        for _ in range(3):
            assert await made.take(10, 0) == []
        assert len(reads) == 1
        await sink.write(records("b", 4, 4))
        assert keys(await made.take(10, 0)) == [("b", 4)]
        assert reads[1:] == [[("b", 3, 4)]]
        await made.done()
        await made.close()

    run(tmp_path / "sink.db", work)


def test_one_device_with_much_does_not_keep_others_back(tmp_path):
    async def work(sink, reads):
        await sink.write([*records("a", 1, 900), *(r for n in range(9) for r in records(f"b{n}", 1, 1))])
        made = MarksFollower(sink, "s", {})
        first = await made.take(40, 0)
        assert {r.device for r in first} == {"a", *(f"b{n}" for n in range(9))}
        rest = []
        while some := await made.take(40, 0):
            rest += some
        assert keys([*first, *rest])[-1] == ("a", 900)
        assert [r.seq for r in [*first, *rest] if r.device == "a"] == list(range(1, 901))

    run(tmp_path / "sink.db", work)


def test_what_was_deleted_is_passed_over(tmp_path):
    async def work(sink, reads):
        await sink.write([*records("a", 1, 6), *records("b", 1, 2)])
        made = MarksFollower(sink, "s", {})
        with sqlite3.connect(tmp_path / "sink.db") as db:
            db.execute("DELETE FROM records WHERE device='b' OR seq IN (2, 5, 6)")
        db.close()
        assert keys(await made.take(99, 0)) == [("a", 1), ("a", 3), ("a", 4)]
        assert await made.take(99, 0) == []
        await sink.write(records("a", 7, 7))
        assert keys(await made.take(99, 0)) == [("a", 7)]
        assert reads[-1] == [("a", 6, 7)]

    run(tmp_path / "sink.db", work)


def test_what_comes_while_it_waits_is_taken_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "POLL_S", 0.01)

    async def work(sink, reads):
        made = MarksFollower(sink, "s", {})
        task = asyncio.create_task(made.take(9, 10.0))
        await asyncio.sleep(0.05)
        await sink.write(records("a", 1, 1))
        assert keys(await asyncio.wait_for(task, 5)) == [("a", 1)]

    run(tmp_path / "sink.db", work)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_each_record_once_and_in_order(tmp_path_factory, seed, limit):
    rng = random.Random(seed)
    written, taken = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    path = tmp_path_factory.mktemp("sink") / "sink.db"

    async def work(sink, reads):
        made = MarksFollower(sink, "s", {})
        for step in range(30):
            device = rng.choice("abc")
            if rng.random() < 0.5 and step < 22:
                count = rng.randrange(1, 8)
                await sink.write(records(device, written[device] + 1, written[device] + count))
                written[device] += count
            elif rng.random() < 0.2:
                made = MarksFollower(sink, "s", taken)  # as after a restart
            for record in await made.take(limit, 0):
                assert record.seq == taken[record.device] + 1
                taken[record.device] = record.seq
        rest = MarksFollower(sink, "s", taken)
        while some := await rest.take(limit, 0):
            for record in some:
                assert record.seq == taken[record.device] + 1
                taken[record.device] = record.seq
        assert taken == written

    run(path, work)


def test_names_of_consumers_differ():
    streams = ["a.b", "a_b", "a_-b", "a__b", "a-b", "a._b", "a_.b"]
    assert len({_name(stream) for stream in streams}) == len(streams)
    assert not any("." in _name(stream) for stream in streams)


def answered(sink_of, store, write):
    """Runs a service before, while and after samples come, and again."""
    task = CloudTask("digits", STREAM, labels, SIGNATURE)
    first = [Record(f"d{n % 3}", STREAM, n // 3 + 1, sample(n % 10, n), 1.0) for n in range(12)]
    second = [Record(f"d{n % 3}", STREAM, n // 3 + 1, sample(n % 10, n), 1.0) for n in range(12, 30)]
    asyncio.run(write(first))
    with running(CloudService(sink_of(), [task], store, batch=5)):
        until(lambda: len(store.answers()) == 12)
        asyncio.run(write(second))
        until(lambda: len(store.answers()) == 30)
        until(lambda: store.positions(STREAM) == {f"d{n}": 10 for n in range(3)})
    with running(CloudService(sink_of(), [task], store, batch=5)):
        pass
    found = store.answers()
    assert sorted((a.device, a.seq) for a in found) == sorted((r.device, r.seq) for r in [*first, *second])
    assert {unpack(a.answer)["label"] == int(a.run.split("/")[1]) % 10 for a in found} == {True}
    assert sum(int(row.samples) for row in store.counted()) == 30


def writer(sink_of):
    async def write(some):
        sink = sink_of()
        await sink.open()
        await sink.write(some)
        await sink.close()

    return write


def test_with_postgres(postgres_server, store):
    from walle_pipeline.tunnel.sinks.postgres import PostgresSink

    answered(
        lambda: PostgresSink(postgres_server.conninfo),
        store,
        writer(lambda: PostgresSink(postgres_server.conninfo)),
    )


def test_with_nats(tmp_path, store):
    from servers import library, nats_cluster

    library("nats")
    from walle_pipeline.tunnel.sinks.nats import NatsSink

    (tmp_path / "nats").mkdir()
    with nats_cluster(tmp_path / "nats", 1) as (server,):
        answered(
            lambda: NatsSink(server.url, timeout=10), store, writer(lambda: NatsSink(server.url, timeout=10))
        )


def test_a_sink_that_comes_back(tmp_path, store, monkeypatch):
    monkeypatch.setattr("walle_deploy.cloud.service.RETRY_S", 0.01)
    path = tmp_path / "sink.db"
    fill(path, sample(1))
    sink = SqliteSink(path)
    inner, failures = sink.marks, [OSError("gone"), ValueError("odd"), KeyError("worse")]

    async def marks(stream):
        if failures:
            raise failures.pop()
        return await inner(stream)

    sink.marks = marks
    service = CloudService(sink, [CloudTask("digits", STREAM, labels, SIGNATURE)], store)
    with running(service):
        until(lambda: len(store.answers()) == 1)
        until(lambda: service.problem == "")
