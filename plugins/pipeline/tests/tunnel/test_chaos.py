"""Delivery through a network that delays, cuts, freezes and corrupts."""

from __future__ import annotations

import asyncio
import os
import random

import pytest
from harness import certificate_of, served, until
from walle_pipeline.testing.chaos import ChaosProxy, Weather
from walle_pipeline.tunnel import links
from walle_pipeline.tunnel.client import ClientConfig
from walle_pipeline.tunnel.outbox import Outbox

FULL = os.environ.get("WALLE_FULL") == "1"
CONFIG = ClientConfig(backoff_first=0.01, backoff_max=0.1, dead_after=0.5, keepalive=0.3, slowest=1e6)

WEATHERS = {
    "delay": Weather(delay=0.02, jitter=0.02),
    "cuts": Weather(delay=0.005, jitter=0.005, cut=0.05),
    "cuts any time": Weather(cuts_per_second=5),
    "freezes": Weather(delay=0.002, freeze=0.02),
    "noise": Weather(corrupt=0.05),
    "all": Weather(delay=0.005, jitter=0.01, cut=0.02, freeze=0.01, corrupt=0.02, cuts_per_second=0.5),
}


async def deliver(folder, weather, seed, count):
    dice = random.Random(seed)
    payloads = [b"%d:" % i + dice.randbytes(dice.choice([10, 1300, 30_000])) for i in range(count)]
    # Only TLS can find a changed bit inside a payload.
    certificate = certificate_of(folder) if weather.corrupt else None
    async with (
        served(folder, certificate=certificate) as server,
        ChaosProxy("127.0.0.1", server.port, weather, seed=seed) as proxy,
    ):
        with Outbox(folder / "o.db") as outbox:
            async with server.client(
                outbox, proxy.url("wss" if certificate else "ws"), config=CONFIG
            ) as client:
                for payload in payloads:
                    outbox.put("s", payload)
                    await asyncio.sleep(dice.random() * 0.01)
                async with asyncio.timeout(30):
                    while weather.cut and not proxy.cuts:  # how many chunks there are is a matter of timing
                        payloads.append(b"more")
                        outbox.put("s", b"more")
                        await asyncio.sleep(0.01)
                await until(lambda: not len(outbox), 30)
                if weather.cut:
                    await until(lambda: client.stats.connects > 1)
                stats = client.stats
        stored = [r.payload for r in await server.stored()]
    return payloads, stored, stats, proxy


@pytest.mark.parametrize("seed", range(20 if FULL else 1))
@pytest.mark.parametrize("name", WEATHERS)
def test_exactly_once(tmp_path, name, seed):
    payloads, stored, stats, proxy = asyncio.run(
        deliver(tmp_path, WEATHERS[name], seed, 500 if FULL else 120)
    )
    assert stored == payloads
    if WEATHERS[name].cut:
        assert proxy.cuts
        assert stats.connects > 1


def test_refused_connections_then_calm(tmp_path):
    async def main():
        async with (
            served(tmp_path) as server,
            ChaosProxy("127.0.0.1", server.port, Weather(refuse=True)) as proxy,
        ):
            with Outbox(tmp_path / "o.db") as outbox:
                outbox.put("s", b"1")
                async with server.client(outbox, proxy.url(), config=CONFIG) as client:
                    await until(lambda: proxy.connections >= 3)
                    proxy.weather.refuse = False
                    await client.flush(5)

    asyncio.run(main())


def test_frozen_handshake(tmp_path, monkeypatch):
    """A first connection whose handshake is lost does not cost the time that a slow one may take."""
    monkeypatch.setattr(links, "_FIRST_PATIENCE", 0.2)

    async def main():
        async with (
            served(tmp_path) as server,
            ChaosProxy("127.0.0.1", server.port, Weather(freeze=1.0)) as proxy,
        ):
            with Outbox(tmp_path / "o.db") as outbox:
                outbox.put("s", b"1")
                async with server.client(outbox, proxy.url(), config=CONFIG) as client:
                    await until(lambda: proxy.freezes)
                    proxy.weather.freeze = 0.0
                    await client.flush(5)

    asyncio.run(main())
