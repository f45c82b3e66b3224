"""Client and server over real sockets: the transport's contract, TLS, dictionaries, failures of the store, idleness."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import urllib.request

import attrs
import pytest
from harness import DEVICES, QUICK, certificate_of, served, until
from test_frames import samples
from transport_conformance import TransportConformance, exchange
from walle_pipeline.errors import StoreError, TransportClosedError, TunnelError
from walle_pipeline.testing.chaos import ChaosProxy, Weather
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.auth import tokens, tokens_from_file
from walle_pipeline.tunnel.client import ClientConfig, TunnelClient
from walle_pipeline.tunnel.dictionary import train
from walle_pipeline.tunnel.facade import Tunnel
from walle_pipeline.tunnel.frames import Data, Hello
from walle_pipeline.tunnel.outbox import Outbox
from walle_pipeline.tunnel.serve import serve
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.settings import Limits
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink
from walle_pipeline.tunnel.websocket import WebSocketTransport


class TestWebSocket(TransportConformance):
    def serve(self, folder):
        return served(folder)


class TestWebSocketTls(TransportConformance):
    def serve(self, folder):
        return served(folder, certificate=certificate_of(folder))


def test_untrusted_certificate(tmp_path):
    async def main():
        async with served(tmp_path, certificate=certificate_of(tmp_path)) as server:
            with pytest.raises(TransportClosedError, match="certificate"):
                await server.transport.connect(
                    server.url, device="d0", token=server.token, tls=ssl.create_default_context()
                )

    asyncio.run(main())


def test_http(tmp_path):
    def get(port, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.read().decode()

    async def main():
        async with served(tmp_path) as server:
            assert await asyncio.to_thread(get, server.port, "/healthz") == "ok\n"
            with pytest.raises(urllib.error.HTTPError, match="404"):
                await asyncio.to_thread(get, server.port, "/other")
            with Outbox(tmp_path / "o.db") as outbox:
                async with server.client(outbox) as client:
                    await client.send("s", b"x")
                    await client.flush(5)
            pytest.importorskip("prometheus_client")
            text = await asyncio.to_thread(get, server.port, "/metrics")
            assert "walle_tunnel_records_total 1.0" in text

    asyncio.run(main())


@pytest.mark.parametrize("owner", ["client", "server"])
def test_dictionaries_cross_the_tunnel(tmp_path, owner):
    dictionary = train(samples())
    learned = []

    async def main():
        ours = {"dictionaries": [dictionary]}
        async with served(tmp_path, **(ours if owner == "server" else {})) as server:
            for turn in range(2):
                with Outbox(tmp_path / "o.db") as outbox:
                    options = ours if owner == "client" else {"on_dictionary": learned.append}
                    async with server.client(outbox, **options) as client:
                        await client.send("s", b"first, to connect")
                        await client.flush(5)
                        before = client.stats.sent_bytes
                        payload = samples(turn + 1)[-1]
                        await client.send("s", payload)
                        await client.flush(5)
                        plain = len(frames.encode(Data(0, 1, 0, payload)))
                        assert client.stats.sent_bytes - before < plain * 0.7
            assert [r.payload for r in await server.stored()][1::2] == [samples(1)[-1], samples(2)[-1]]

    asyncio.run(main())
    assert learned == ([dictionary] * 2 if owner == "server" else [])


def test_streams_have_dictionaries_of_their_own(tmp_path):
    """More than the server takes from one connection: the others go without."""
    made = [train([b"%d " % i + text for text in samples()]) for i in range(6)]

    async def main():
        async with served(tmp_path) as server:
            with Outbox(tmp_path / "o.db") as outbox:
                async with server.client(outbox) as client:
                    sizes = []
                    for i, dictionary in enumerate([None, *made]):
                        client.use(f"s{i}", dictionary)
                        await client.send(f"s{i}", b"first, to connect")
                        await client.flush(5)
                        before = client.stats.sent_bytes
                        await client.send(f"s{i}", b"0 " + samples(9)[-1])
                        await client.flush(5)
                        sizes.append(client.stats.sent_bytes - before)
            assert len(await server.stored()) == 14
            assert max(sizes[1:5]) < 0.8 * sizes[0]
            assert min(sizes[5:]) == sizes[0]
            assert server.app.counters.ended.get("limit", 0) == 0

    asyncio.run(main())


class FailingSink(SqliteSink):
    """Fails `failures` times, half of them after the records were stored."""

    failures = 6

    async def write(self, records):
        if self.failures:
            self.failures -= 1
            if self.failures % 2:
                await super().write(records)
            raise StoreError("database or disk is full")
        await super().write(records)


def test_failing_store(tmp_path):
    async def main():
        async with served(tmp_path, sink=FailingSink(tmp_path / "sink.db")) as server:
            with Outbox(tmp_path / "o.db") as outbox:
                async with server.client(outbox) as client:
                    for i in range(300):
                        outbox.put("s", b"%d" % i)
                        if i % 50 == 0:
                            await asyncio.sleep(0.02)
                    await client.flush(20)
            assert server.app.counters.sink_errors == 6
            assert server.app.counters.ended["retry"] > 0
            assert [r.payload for r in await server.stored()] == [b"%d" % i for i in range(300)]

    asyncio.run(main())


def test_disk_full_is_a_store_error(tmp_path):
    async def main():
        sink = SqliteSink(tmp_path / "sink.db")
        await sink.open()
        from walle_pipeline.tunnel.contract import Record

        sink._db.execute("PRAGMA max_page_count=30")
        with pytest.raises(StoreError, match="full"):
            await sink.write([Record("d", "s", i, bytes(4000), 0.0) for i in range(1, 100)])
        assert await sink.high_water("d") == {}
        await sink.write([Record("d", "s", 1, b"small", 0.0)])
        assert await sink.high_water("d") == {"s": 1}
        await sink.close()
        await sink.close()
        with pytest.raises(StoreError, match="not open"):
            await sink.write([])

    asyncio.run(main())


def test_sink_high_water_and_gaps(tmp_path):
    from walle_pipeline.tunnel.contract import Record, Sink

    async def main():
        sink = SqliteSink(tmp_path / "deep" / "sink.db")
        assert isinstance(sink, Sink)
        await sink.open()
        for batch in ([1, 2], [2, 3], [5, 7], [4], [6]):
            await sink.write([Record("d", "s", seq, b"%d" % seq, 1.0) for seq in batch])
        assert await sink.high_water("d") == {"s": 7}
        await sink.write([Record("e", "s", 2, b"", 1.0), Record("d", "t", 1, b"", 1.0)])
        assert await sink.high_water("e") == {}
        assert [(r.device, r.stream, r.seq) async for r in sink.records()] == [
            *(("d", "s", i) for i in range(1, 8)),
            ("d", "t", 1),
            ("e", "s", 2),
        ]
        assert [r.seq async for r in sink.records("d", "t")] == [1]
        assert [r.device async for r in sink.records(stream="s")] == ["d"] * 7 + ["e"]
        sink._db.execute("DELETE FROM records")  # a consumer is done with them
        await sink.write([Record("d", "s", 7, b"7", 1.0)])
        assert [r async for r in sink.records()] == []
        await sink.close()

    asyncio.run(main())


def test_damaged_outbox_goes_on_behind_the_server(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            path = tmp_path / "o.db"
            with Outbox(path) as outbox:
                async with server.client(outbox) as client:
                    outbox.put_many([("s", b"old %d" % i, None) for i in range(10)])
                    await client.flush(5)
            path.write_bytes(b"damaged" * 1000)
            with Outbox(path) as outbox:
                assert outbox.damaged
                outbox.put_many([("s", b"new %d" % i, None) for i in range(5)])
                async with server.client(outbox) as client:
                    await client.flush(5)
                    await client.send("s", b"newest")
                    await client.send("t", b"another stream")
                    await client.flush(5)
            expected = [b"old %d" % i for i in range(10)] + [b"new %d" % i for i in range(5)] + [b"newest"]
            assert [r.payload for r in await server.stored(stream="s")] == expected

    asyncio.run(main())


def test_server_that_lost_records_is_reported(tmp_path):
    async def main():
        with Outbox(tmp_path / "o.db") as outbox:
            async with served(tmp_path / "a") as server, server.client(outbox) as client:
                await client.send("s", b"1")
                await client.flush(5)
            async with served(tmp_path / "b") as server, server.client(outbox) as client:
                await client.send("s", b"2")
                with pytest.raises(TunnelError, match="restore"):
                    await client.flush(5)
                assert len(outbox) == 1

    asyncio.run(main())


def test_refused_device_is_reported_and_recovers(tmp_path):
    async def main():
        today = ["wrong"]
        async with served(tmp_path) as server:
            with Outbox(tmp_path / "o.db") as outbox:
                async with server.client(outbox, token=lambda: today[0]) as client:
                    await client.send("s", b"1")
                    with pytest.raises(TunnelError, match="401"):
                        await client.flush(5)
                    today[0] = server.token
                    await until(lambda: not len(outbox))
                    assert client.error is None

    asyncio.run(main())


def test_hello_for_another_device(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            connection = await server.connect("d0")
            answer = await exchange(connection, Hello("d1", {}))
            assert answer.code == frames.Code.UNAUTHORISED
            await connection.close()

    asyncio.run(main())


def test_server_restart(tmp_path):
    async def main():
        with Outbox(tmp_path / "o.db") as outbox:
            async with served(tmp_path) as server:
                port = server.port
                client = server.client(outbox)
                await client.start()
                await client.send("s", b"1")
                await client.flush(5)
            await client.send("s", b"2")
            with pytest.raises(TunnelError, match="wait"):
                await client.flush(0.05)
            async with served(tmp_path, port=port) as server:
                await client.flush(5)
                await client.stop()
                assert [r.payload for r in await server.stored()] == [b"1", b"2"]

    asyncio.run(main())


def test_idle_means_no_timers(tmp_path):
    """With nothing to send, neither side's event loop has more than its keepalive and its sweep."""

    async def main():
        async with served(tmp_path, limits=Limits(idle_timeout=300)) as server:
            with Outbox(tmp_path / "o.db") as outbox:
                config = ClientConfig(keepalive=60)
                async with server.client(outbox, config=config) as client:
                    await client.send("s", b"x")
                    await client.flush(5)
                    await asyncio.sleep(0.2)
                    steps, step = [], client._links._step
                    client._links._step = lambda now: (steps.append(now), step(now))[1]
                    await asyncio.sleep(0.5)
                    assert steps == []
                    assert not server.app._committer._filled.is_set()

    asyncio.run(main())


def test_keepalive_keeps_and_finds(tmp_path):
    async def main():
        config = ClientConfig(keepalive=0.05, dead_after=0.2, backoff_first=0.01, backoff_max=0.05)
        async with (
            served(tmp_path, limits=Limits(idle_timeout=0.4)) as server,
            ChaosProxy("127.0.0.1", server.port) as proxy,
        ):
            with Outbox(tmp_path / "o.db") as outbox:
                async with server.client(outbox, proxy.url(), config=config) as client:
                    await asyncio.sleep(0.7)
                    assert client.stats.connects == 1
                    assert client.stats.cuts == 0
                    proxy.freeze_all()
                    await until(lambda: client.stats.connects > 1)
                    await until(lambda: server.app.counters.ended.get("timeout", 0) > 0)

    asyncio.run(main())


def test_late_acknowledgements_are_hedged(tmp_path):
    async def main():
        async with served(tmp_path) as server, ChaosProxy("127.0.0.1", server.port) as proxy:
            with Outbox(tmp_path / "o.db") as outbox:
                config = ClientConfig(dead_after=60)
                async with server.client(outbox, proxy.url(), config=config) as client:
                    await client.send("s", b"1")
                    await client.flush(5)
                    proxy.freeze_all()
                    await client.send("s", b"2")
                    await client.flush(5)
                    assert client.stats.hedges == 1
            assert [r.payload for r in await server.stored()] == [b"1", b"2"]

    asyncio.run(main())


class CountingTransport(WebSocketTransport):
    """Knows how many connections are being opened, and were at once."""

    opening = most = 0

    async def connect(self, url, *, device, token, tls=None):
        self.opening += 1
        self.most = max(self.most, self.opening)
        try:
            return await super().connect(url, device=device, token=token, tls=tls)
        finally:
            self.opening -= 1


@pytest.mark.parametrize("spare_for", [300.0, 0.0])
def test_spare_connection_on_long_round_trips(tmp_path, spare_for):
    async def main():
        async with (
            served(tmp_path) as server,
            ChaosProxy("127.0.0.1", server.port, Weather(delay=0.02)) as proxy,
        ):
            server.transport = transport = CountingTransport()
            with Outbox(tmp_path / "o.db") as outbox:
                config = attrs.evolve(QUICK, spare_for=spare_for)
                async with server.client(outbox, proxy.url(), config=config) as client:
                    await client.send("s", b"1")
                    await client.flush(5)
                    if not spare_for:
                        await asyncio.sleep(0.2)
                        assert client.stats.connects == 1
                        return
                    await until(lambda: [bool(x.welcome) for x in client._links.all] == [True, True])
                    assert transport.most == 1
                    first = client._links.primary
                    (spare,) = (x for x in client._links.all if x is not first)
                    client.ended(first, TransportClosedError("cut"))
                    await client.send("s", b"2")
                    await until(lambda: client._links.primary is spare)
                    await client.flush(5)
                    await until(lambda: client.stats.connects == 3)
                    assert transport.most == 1
                    proxy.cut_all()  # both at once, and both come back at once
                    await until(lambda: client.stats.connects == 5)
                    assert transport.most == 2
            assert [r.payload for r in await server.stored()] == [b"1", b"2"]

    asyncio.run(main())


def test_backoff_is_random_and_bounded(tmp_path):
    waits = []

    class Dice(random.Random):
        def uniform(self, low, high):
            waits.append((low, high))
            return 0.0

    class Unreachable:
        name, schemes = "none", ("none",)

        async def connect(self, url, *, device, token, tls=None):
            raise TransportClosedError("unreachable")

    async def main():
        with Outbox(tmp_path / "o.db") as outbox:
            config = ClientConfig(backoff_first=0.1, backoff_max=1.0)
            options = {
                "device": "d",
                "token": "t",
                "transport": Unreachable(),
                "config": config,
                "dice": Dice(),
            }
            async with TunnelClient("none://x", outbox=outbox, **options):
                await until(lambda: len(waits) >= 6)

    asyncio.run(main())
    assert [low for low, _ in waits[:6]] == [0] * 6
    assert [high for _, high in waits[:6]] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_facade(tmp_path):
    async def main():
        async with served(tmp_path) as server:

            def work():
                options = {
                    "device": "d0",
                    "token": server.token,
                    "outbox": tmp_path / "o.db",
                    "config": QUICK,
                }
                with Tunnel(server.url, **options) as tunnel:
                    assert tunnel.send("ipv", b"one") == 1
                    assert tunnel.send("ipv", b"two", unique_key="k") == 2
                    tunnel.flush(5)
                    assert tunnel.send_many([("ipv", b"two", "k"), ("ipv", b"three", None)]) == [2, 3]
                tunnel.close()
                with pytest.raises(TunnelError, match="closed"):
                    tunnel.flush(1)

            await asyncio.to_thread(work)
            assert [r.payload for r in await server.stored()] == [b"one", b"two", b"three"]

    asyncio.run(main())


def test_large_payloads_and_windows(tmp_path):
    async def main():
        dice = random.Random(3)
        payloads = [dice.randbytes(size) for size in (frames.MAX_PAYLOAD, 10, 300_000, 70_000, 1, 500_000)]
        async with served(tmp_path, limits=Limits(window=100_000)) as server:
            with Outbox(tmp_path / "o.db") as outbox:
                async with server.client(outbox) as client:
                    outbox.put_many([("s", p, None) for p in payloads])
                    await client.flush(20)
            assert [r.payload for r in await server.stored()] == payloads

    asyncio.run(main())


def test_evicted_payloads_arrive_empty(tmp_path):
    async def main():
        async with served(tmp_path) as server:
            with Outbox(tmp_path / "o.db", max_bytes=1000, evict="oldest") as outbox:
                for _ in range(6):
                    outbox.put("s", bytes(200))
                async with server.client(outbox) as client:
                    await client.flush(5)
                assert outbox.evicted
            assert [len(r.payload) for r in await server.stored()] == [0] * outbox.evicted + [200] * (
                6 - outbox.evicted
            )

    asyncio.run(main())


def test_serve_that_cannot_start(tmp_path):
    (tmp_path / "file").touch()
    app = TunnelServer(SqliteSink(tmp_path / "file" / "sink.db"), tokens(DEVICES))
    with pytest.raises(TunnelError, match="did not start"):
        serve(app, port=0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        app = TunnelServer(SqliteSink(tmp_path / "sink.db"), tokens(DEVICES))
        with pytest.raises(TunnelError, match="did not start"):
            serve(app, port=taken.getsockname()[1])


def test_tokens_from_file(tmp_path):
    path = tmp_path / "tokens"
    digest = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    path.write_text(f"# devices\n\nphone token-1\nwatch {digest}\n")
    authenticate = tokens_from_file(path)
    assert [authenticate(t) for t in ("token-1", "secret", digest, "", "other", "ü")] == [
        "phone",
        "watch",
        None,
        None,
        None,
        None,
    ]
    for bad in ("one\n", "a b c\n", "a x\na y\n", "a x\nb x\n"):
        path.write_text(bad)
        with pytest.raises(TunnelError):
            tokens_from_file(path)
    with pytest.raises(TunnelError, match="cannot be read"):
        tokens_from_file(tmp_path / "missing")
    assert tokens(DEVICES)(DEVICES["d3"]) == "d3"
