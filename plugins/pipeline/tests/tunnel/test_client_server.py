"""Client and server over real sockets: the transport's contract, TLS, tokens, dictionaries, large payloads."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import urllib.request

import pytest
from harness import DEVICES, QUICK, certificate_of, served, until
from test_frames import samples
from transport_conformance import TransportConformance, exchange
from walle_pipeline.errors import TransportClosedError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.auth import tokens, tokens_from_file
from walle_pipeline.tunnel.dictionary import train
from walle_pipeline.tunnel.facade import Tunnel
from walle_pipeline.tunnel.frames import Data, Hello
from walle_pipeline.tunnel.outbox import Outbox
from walle_pipeline.tunnel.serve import serve
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.settings import Limits
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink


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
