"""Connections that are idle, late, cut, spare, or cannot be had."""

from __future__ import annotations

import asyncio
import random

import attrs
import pytest
from harness import QUICK, served, until
from walle_pipeline.errors import TransportClosedError, TunnelError
from walle_pipeline.testing.chaos import ChaosProxy, Weather
from walle_pipeline.tunnel.client import ClientConfig, TunnelClient
from walle_pipeline.tunnel.outbox import Outbox
from walle_pipeline.tunnel.settings import Limits
from walle_pipeline.tunnel.websocket import WebSocketTransport


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
