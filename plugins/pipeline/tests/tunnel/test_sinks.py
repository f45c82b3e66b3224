"""What every sink must do, over every sink; and what happens when its server fails."""

import asyncio
import random
import signal
import time

import pytest
from servers import library, nats_cluster, postgres
from walle_pipeline.errors import StoreError
from walle_pipeline.tunnel.contract import MAX_FRAME, Consumed, Consumer, Followed, Record, Sink

from walle_core.errors import InputError


def records(device="d", stream="s", first=1, last=1, size=20):
    return [Record(device, stream, n, b"%d " % n * size, float(n)) for n in range(first, last + 1)]


async def stored(sink, *of):
    return [record async for record in sink.records(*of)]


class Sqlite:
    def __init__(self, folder):
        self.make = lambda: library("walle_pipeline.tunnel.sinks.sqlite").SqliteSink(folder / "sink.db")


class Nats:
    count = 0

    def __init__(self, servers, **options):
        type(self).count += 1
        self.servers, name = servers, f"S{self.count}"
        module = library("walle_pipeline.tunnel.sinks.nats")
        urls = [server.url for server in servers]
        options = {"replicas": 3, "stream": name, "prefix": f"walle{name}", **options}
        self.make = lambda: module.NatsSink(urls, **options)


class Postgres:
    count = 0

    def __init__(self, server):
        type(self).count += 1
        self.servers, name = [server], f"s{self.count}"
        module = library("walle_pipeline.tunnel.sinks.postgres")
        with library("psycopg").connect(server.conninfo, autocommit=True) as db:
            db.execute(f"CREATE SCHEMA {name}")
        self.make = lambda: module.PostgresSink(f"{server.conninfo} options=-csearch_path={name}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    library("nats")
    with nats_cluster(tmp_path_factory.mktemp("nats")) as servers:
        # Short: the first requests reach no leader and are not answered.
        asyncio.run(ready(Nats(servers, timeout=0.5)))
        yield servers


@pytest.fixture(scope="module")
def database():
    library("psycopg")
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "nats", "postgres"])
def backend(request, tmp_path):
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    if request.param == "nats":
        return Nats(request.getfixturevalue("cluster"))
    return Postgres(request.getfixturevalue("database"))


async def ready(backend, seconds=20):
    """Waits until a server, or a cluster, takes writes: leaders are elected first."""
    until = time.monotonic() + seconds
    while True:
        sink = backend.make()
        try:
            await sink.open()
            await sink.write(records("ready"))
        except StoreError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)
        else:
            return
        finally:
            await sink.close()


def run(backend, work, count=1):
    async def main():
        sinks = [backend.make() for _ in range(count)]
        for sink in sinks:
            await sink.open()
        try:
            await work(*sinks)
        finally:
            for sink in sinks:
                await sink.close()

    asyncio.run(main())


def test_protocol(backend):
    assert isinstance(backend.make(), Sink)


def test_idempotent_and_ordered(backend):
    async def work(sink):
        await sink.write([])
        assert await stored(sink) == []
        assert await sink.high_water("d") == {}
        await sink.write(records(last=5))
        await sink.write(records(last=5))
        await sink.write([Record("d", "s", 3, b"other", 9.0)])
        await sink.write(records(first=4, last=8))
        await sink.write(records(first=9, last=10) + records(first=9, last=10))
        await sink.write(records("d", "t", 1, 3)[::-1] + records("e", "s", 1, 2))
        assert await stored(sink) == [
            *records(last=10),
            *records("d", "t", 1, 3),
            *records("e", "s", 1, 2),
        ]
        assert await stored(sink, "d", "t") == records("d", "t", 1, 3)
        assert await stored(sink, None, "s") == [*records(last=10), *records("e", "s", 1, 2)]
        assert await stored(sink, "nobody") == []
        assert await sink.high_water("d") == {"s": 10, "t": 3}
        assert await sink.high_water("e") == {"s": 2}
        assert await sink.high_water("nobody") == {}

    run(backend, work)


def test_opened_again(backend):
    async def first(sink):
        await sink.write(records(last=3))

    async def second(sink):
        assert await sink.high_water("d") == {"s": 3}
        await sink.write(records(last=4))
        assert await stored(sink) == records(last=4)

    run(backend, first)
    run(backend, second)


def test_gap(backend):
    async def work(sink):
        await sink.write(records(last=2))
        try:
            await sink.write(records(first=5, last=6))
        except StoreError as error:
            assert "gap" in str(error)
        assert await sink.high_water("d") == {"s": 2}
        await sink.write(records(first=3, last=6))
        assert await sink.high_water("d") == {"s": 6}
        assert await stored(sink) == records(last=6)

    run(backend, work)


def test_names_and_sizes(backend):
    async def work(sink):
        odd = ["a.b", "a/b", "ü *>", "A=2e=B", "a-b_C", "x" * 60]
        for name in odd:
            await sink.write(records(name, "s.t-u_V", last=2))
        assert {record.device for record in await stored(sink)} == set(odd)
        for name in odd:
            assert await sink.high_water(name) == {"s.t-u_V": 2}
        large = [Record("large", "s", n, bytes([n]) * (MAX_FRAME - 64), 1.5) for n in range(1, 6)]
        large.append(Record("large", "s", 6, b"", 2.5))
        await sink.write(large)
        assert await stored(sink, "large") == large
        many = [record for i in range(40) for record in records("many", f"s{i:02}", last=9)]
        random.Random(1).shuffle(many)
        await sink.write(many)
        assert await sink.high_water("many") == {f"s{i:02}": 9 for i in range(40)}
        many.sort(key=lambda record: (record.stream, record.seq))
        assert await stored(sink, "many") == many

    run(backend, work)


def test_closed(backend):
    async def main():
        sink = backend.make()
        with pytest.raises(StoreError):
            await sink.write(records())
        with pytest.raises(StoreError):
            await sink.high_water("d")
        await sink.open()
        await sink.close()
        await sink.close()
        with pytest.raises(StoreError):
            await sink.write(records())

    asyncio.run(main())


def test_concurrent_writers(backend):
    """Four servers write what one device repeats to all of them, in pieces of their own."""

    async def work(*sinks):
        async def write(sink, seed):
            rng = random.Random(seed)
            at = 0
            while at < 120:
                last = min(120, at + rng.randrange(1, 9))
                first = max(1, at + 1 - rng.randrange(4))
                both = records("d", "s", first, last) + records("d", "t", first, last)
                rng.shuffle(both)
                try:
                    await sink.write(both)
                except StoreError as error:
                    assert "faster" in str(error)
                    continue
                assert (await sink.high_water("d"))["s"] >= last
                at = last

        await asyncio.gather(*(write(sink, seed) for seed, sink in enumerate([*sinks, *sinks])))
        assert await stored(sinks[0]) == [*records("d", "s", 1, 120), *records("d", "t", 1, 120)]

    run(backend, work, count=4)


def test_nats_beyond_the_window(cluster):
    """A repetition that comes after the dedup window, from a server that saw an older state."""
    backend = Nats(cluster)

    async def work(one, two):
        from nats.js import api

        await one._js.update_stream(
            api.StreamConfig(
                name=one._stream,
                subjects=[f"{one._prefix}.*.*"],
                num_replicas=3,
                duplicate_window=0.1,
                discard=api.DiscardPolicy.NEW,
            )
        )
        await one.write(records(last=5))
        await two.write(records(last=7))
        await asyncio.sleep(0.3)
        stale = dict(one._marks)
        assert [mark[1] for mark in stale.values()] == [5]
        await one.write(records(first=4, last=7))
        for marks in (stale, {next(iter(stale)): (0, 0)}):
            one._marks = dict(marks)
            await one.write(records(last=8))
        assert await stored(two) == records(last=8)

    run(backend, work, count=2)


def test_nats_loses_a_node(cluster):
    """kill -9 of the stream's leader during writes: what was acknowledged is there, once, in order."""
    backend = Nats(cluster, timeout=1.0)
    victim = []

    async def work(sink):
        info = await sink._js.stream_info(sink._stream)
        leader = cluster[int(info.cluster.leader[1:])]
        acked, at, stop = 0, 0, asyncio.Event()

        async def write():
            nonlocal acked, at
            until = time.monotonic() + 30
            while at < 2000 and time.monotonic() < until:
                try:
                    await sink.write(records(first=at + 1, last=at + 5))
                    acked = at = at + 5
                except StoreError:
                    await asyncio.sleep(0.05)
                if acked >= 100:
                    stop.set()
                if victim and acked >= victim[0][1] + 100:
                    return

        writer = asyncio.create_task(write())
        await asyncio.wait_for(stop.wait(), 20)
        leader.stop(signal.SIGKILL)
        victim.append((leader, acked))
        await writer
        assert acked >= victim[0][1] + 100
        until = time.monotonic() + 20
        while (
            True
        ):  # reading needs a consumer, which the remaining nodes make once they have elected a leader
            try:
                seen = await stored(sink)
                break
            except StoreError:
                assert time.monotonic() < until
                await asyncio.sleep(0.1)
        assert seen == records(last=len(seen))
        assert len(seen) >= acked

    try:
        run(backend, work)
    finally:
        for server, _ in victim:
            server.start()


def test_nats_without_servers(tmp_path):
    sink = library("walle_pipeline.tunnel.sinks.nats").NatsSink("nats://127.0.0.1:9", timeout=0.5)
    library("nats")
    with pytest.raises(StoreError, match="is it running"):
        asyncio.run(sink.open())


@pytest.mark.parametrize("kind", ["nats", "postgres"])
def test_server_stops_and_returns(kind, tmp_path, request):
    if kind == "nats":
        library("nats")
        manager = nats_cluster(tmp_path, 1)
    else:
        server = request.getfixturevalue("database")
        manager = None

    def check(backend):
        async def work(sink):
            await sink.write(records(last=10))
            backend.servers[0].stop(signal.SIGKILL if kind == "nats" else signal.SIGINT)
            begun = time.monotonic()
            with pytest.raises(StoreError):
                await sink.write(records(first=11, last=20))
            with pytest.raises(StoreError):
                await sink.high_water("d")
            assert time.monotonic() - begun < 5
            backend.servers[0].start()
            until = time.monotonic() + 20
            while True:
                try:
                    await sink.write(records(first=9, last=20))
                    break
                except StoreError:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)
            assert await sink.high_water("d") == {"s": 20}
            assert await stored(sink) == records(last=20)

        run(backend, work)

    if manager is None:
        check(Postgres(server))
    else:
        with manager as servers:
            asyncio.run(ready(Nats(servers, replicas=1, timeout=0.5)))
            check(Nats(servers, replicas=1, timeout=0.5))


@pytest.mark.parametrize("backend", ["sqlite", "postgres"], indirect=True)
def test_followed(backend):
    async def work(sink, other):
        assert isinstance(sink, Followed)
        assert not isinstance(sink, Consumed)
        assert await sink.marks("s") == {}
        await sink.write([*records("a", "s", 1, 5), *records("b", "s"), *records("a", "t", 1, 9)])
        assert await sink.marks("s") == {"a": 5, "b": 1}
        await other.write([*records("a", "s", 6, 7), *records("ü", "s")])
        assert await sink.marks("s") == await other.marks("s") == {"a": 7, "b": 1, "ü": 1}
        assert await sink.marks("nothing") == {}
        found = await sink.read("s", [("a", 2, 6), ("b", 1, 1), ("ü", 0, 1), ("none", 0, 9)])
        assert sorted((r.device, r.seq) for r in found) == [*(("a", n) for n in range(3, 7)), ("ü", 1)]
        assert found[0].payload == records("a", "s", 3, 3)[0].payload
        assert [r.seq for r in await sink.read("s", [("a", 0, 7)], each=2)] == [1, 2]
        assert await sink.read("s", []) == []

    run(backend, work, count=2)


def test_sqlite_marks_are_read_only_where_something_changed(tmp_path):
    async def work(sink, other):
        await sink.write(records())
        first = await sink.marks("s")
        assert await sink.marks("s") is first
        await other.write(records("e"))
        assert await sink.marks("s") == {"d": 1, "e": 1}

    run(Sqlite(tmp_path), work, count=2)


def test_sqlite_marks_stop_before_a_gap(tmp_path):
    async def work(sink):
        await sink.write([*records("d", "s", 1, 2), *records("d", "s", 4, 4)])
        marks = await sink.marks("s")
        assert [r.seq for r in await sink.read("s", [("d", 0, marks["d"])])] == [1, 2]

    run(Sqlite(tmp_path), work)


def test_nats_consumer(cluster):
    backend = Nats(cluster, timeout=20.0)

    async def work(sink, other):
        assert isinstance(sink, Consumed)
        with pytest.raises(InputError):
            await sink.consumer("s", "a.b")
        await sink.write([*records("a", "s", 1, 5), *records("b.x", "s"), *records("a", "t", 1, 9)])
        consumer = await sink.consumer("s", "cloud")
        assert isinstance(consumer, Consumer)
        found = await consumer.take(5.0)
        assert sorted((r.device, r.stream, r.seq) for r in found) == [
            *(("a", "s", n) for n in range(1, 6)),
            ("b.x", "s", 1),
        ]
        assert found[0].payload
        for delay in range(10):  # a busy loop sees the server's "nothing" and the end of the wait together
            asyncio.get_running_loop().call_later(delay / 1000, time.sleep, 0.02)
            assert await consumer.take(0.01) == []
        await consumer.done()
        await consumer.close()
        await sink.write(records("a", "s", 6, 6))
        again = await other.consumer("s", "cloud")  # another process goes on where the first one was
        assert [r.seq for r in await again.take(5.0)] == [6]
        await again.close()

    run(backend, work, count=2)


def test_nats_consumer_gets_again_what_was_not_done(cluster, monkeypatch):
    monkeypatch.setattr(library("walle_pipeline.tunnel.sinks.nats"), "REDELIVER_S", 0.3)

    async def work(sink):
        await sink.write(records("a", "s", 1, 3))
        consumer = await sink.consumer("s", "cloud")
        assert len(await consumer.take(5.0)) == 3
        await consumer.close()
        consumer = await sink.consumer("s", "cloud")
        found = []
        while not found:
            found = await consumer.take(1.0)
        assert [r.seq for r in found] == [1, 2, 3]
        await consumer.done()
        await consumer.close()

    run(Nats(cluster, timeout=20.0), work)
