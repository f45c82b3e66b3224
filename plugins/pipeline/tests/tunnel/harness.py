"""A tunnel's server on loopback, for tests: real sockets, one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path

import attrs
import pytest
from walle_pipeline.tunnel.auth import tokens
from walle_pipeline.tunnel.client import ClientConfig, TunnelClient
from walle_pipeline.tunnel.outbox import Outbox
from walle_pipeline.tunnel.serve import config
from walle_pipeline.tunnel.server import TunnelServer
from walle_pipeline.tunnel.settings import Limits
from walle_pipeline.tunnel.sinks.sqlite import SqliteSink
from walle_pipeline.tunnel.websocket import WebSocketTransport

DEVICES = {f"d{i}": f"token-{i}" for i in range(8)}
MQTT_DEVICES = {**DEVICES, "ü x": "token-x"}  # a broker takes any name
QUICK = ClientConfig(backoff_first=0.01, backoff_max=0.05, dead_after=2.0)


@attrs.define
class Served:
    """A started server and how to reach it."""

    url: str
    port: int
    app: TunnelServer
    transport: WebSocketTransport
    device: str = "d0"
    token: str = DEVICES["d0"]
    tls: ssl.SSLContext | None = None

    def client(self, outbox: Outbox, url: str = "", **options) -> TunnelClient:
        options = {"config": QUICK, "tls": self.tls, "device": self.device, "token": self.token, **options}
        return TunnelClient(url or self.url, outbox=outbox, transport=self.transport, **options)

    async def connect(self, device: str = "d0"):
        return await self.transport.connect(self.url, device=device, token=DEVICES[device], tls=self.tls)

    async def stored(self, device: str = "d0", stream: str | None = None):
        return [r async for r in self.app.sink.records(device, stream)]


def uvicorn_server(settings):
    """A uvicorn.Server that starts and ends without the 0.2 s that its pauses take."""
    uvicorn = pytest.importorskip("uvicorn")

    class Server(uvicorn.Server):
        async def main_loop(self) -> None:
            while not await self.on_tick(0):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

        async def shutdown(self, sockets=None) -> None:
            for listener in self.servers:
                listener.close()
            state, patience = self.server_state, self.config.timeout_graceful_shutdown
            for connection in list(state.connections):
                connection.shutdown()
            with contextlib.suppress(TimeoutError):
                await until(lambda: not (state.connections or state.tasks), patience)
            for task in state.tasks:
                task.cancel()
            await self.lifespan.shutdown()

    return Server(settings)


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    *,
    sink=None,
    limits: Limits | None = None,
    certificate=None,
    port=0,
    handshake=10.0,
    small=False,
    **options,
):
    pytest.importorskip("uvicorn")
    app = TunnelServer(sink or SqliteSink(folder / "sink.db"), tokens(DEVICES), limits=limits, **options)
    files = {"certfile": certificate[0], "keyfile": certificate[1]} if certificate else {}
    server = uvicorn_server(config(app, "127.0.0.1", port, handshake_timeout=handshake, **files))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    listener = server.servers[0].sockets[0]
    if small:  # buffers of the accepted connections, so that a slow reader shows soon
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    port = listener.getsockname()[1]
    tls = ssl.create_default_context(cafile=certificate[0]) if certificate else None
    try:
        yield Served(
            f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/tunnel", port, app, WebSocketTransport(), tls=tls
        )
    finally:
        server.should_exit = True
        await task


def certificate_of(folder: Path) -> tuple[Path, Path]:
    """See `make_certificate`; skips without `cryptography`."""
    pytest.importorskip("cryptography")
    from walle_pipeline.testing.certificate import make_certificate

    return make_certificate(folder)


async def until(condition, seconds: float = 10.0) -> None:
    """Waits until `condition()` is true; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
