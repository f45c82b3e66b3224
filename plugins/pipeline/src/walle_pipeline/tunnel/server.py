"""The tunnel's server, an ASGI application: the WebSocket /tunnel, and GET /healthz and /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

from walle_pipeline.errors import StoreError, TunnelError
from walle_pipeline.tunnel.auth import Authenticate
from walle_pipeline.tunnel.commit import Committer, Counters
from walle_pipeline.tunnel.contract import Connection, Listener, Sink
from walle_pipeline.tunnel.dictionary import Dictionary
from walle_pipeline.tunnel.frames import Code
from walle_pipeline.tunnel.metrics import exposition
from walle_pipeline.tunnel.session import Session, Shared
from walle_pipeline.tunnel.settings import Limits
from walle_pipeline.tunnel.websocket import AsgiConnection, Message, Receive, Send, bearer

log = logging.getLogger(__name__)

PATH = "/tunnel"


class TunnelServer:
    """Takes payloads of authenticated devices into a sink.

    Arguments:
        sink: opened by the application's startup and closed by its shutdown; it belongs to this server.
        authenticate: token -> device, or None; see `auth.tokens_from_file`.
        limits: bounds of everything that a device could exhaust.
        dictionaries: for compression, the preferred one first; devices that lack it are sent it.
    """

    def __init__(
        self,
        sink: Sink,
        authenticate: Authenticate,
        *,
        limits: Limits | None = None,
        dictionaries: Sequence[Dictionary] = (),
    ) -> None:
        self.sink, self.limits, self.counters = sink, limits or Limits(), Counters()
        self._authenticate = authenticate
        self._dictionaries = dictionaries
        self._sessions: set[Session] = set()
        self._shared: Shared | None = None
        self._committer: Committer | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the sink and begins to serve. Raises StoreError."""
        await self.sink.open()
        self._committer = Committer(
            self.sink, self.counters, count=self.limits.commit_count, linger=self.limits.commit_linger
        )
        self._committer.start()
        self._shared = Shared(self._committer, self.counters, self.limits, self._dictionaries)

    async def stop(self) -> None:
        """Ends all connections, writes what was taken and closes the sink."""
        self._shared = None
        for session in tuple(self._sessions):
            session.end(Code.CLOSING, "the server stops")
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        if self._committer is not None:
            await self._committer.stop()
            self._committer = None
            await self.sink.close()

    async def handle(self, connection: Connection) -> None:
        """Serves one authenticated connection of any transport until it ends."""
        if self._shared is None or len(self._sessions) >= self.limits.connections:
            self.counters.end("limit")
            await connection.close("the server is full; come again later")
            return
        session = Session(connection, self._shared)
        self._sessions.add(session)
        self.counters.accepted += 1
        self.counters.open += 1
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = asyncio.create_task(self._sweep(), name="tunnel sweep")
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            self.counters.open -= 1

    async def listen(self, listener: Listener) -> None:
        """Serves the connections of a transport that ASGI does not carry, until cancelled."""
        tasks: set[asyncio.Task[None]] = set()
        connections: AsyncIterator[Connection] = listener.connections()
        try:
            async for connection in connections:
                task = asyncio.create_task(self.handle(connection))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _sweep(self) -> None:
        """One timer for the silence of all connections; none while there are no connections."""
        time = asyncio.get_running_loop().time
        while self._sessions:
            await asyncio.sleep(self.limits.idle_timeout / 4)
            oldest = time() - self.limits.idle_timeout
            for session in tuple(self._sessions):
                if session.heard < oldest:
                    session.end(Code.TIMEOUT, "silent for too long")

    # -- ASGI ---------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except (StoreError, TunnelError) as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Message, send: Send) -> None:
        status, kind, body = 404, "text/plain; charset=utf-8", b"not found\n"
        if scope["method"] not in ("GET", "HEAD"):
            status, body = 405, b"only GET is allowed\n"
        elif scope["path"] == "/healthz":
            status, body = (200, b"ok\n") if self._shared is not None else (503, b"not ready\n")
        elif scope["path"] == "/metrics":
            status, kind, body = exposition(self.counters)
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _websocket(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        token = bearer(scope)
        device = self._authenticate(token) if token else None
        if scope["path"] != PATH:
            await self._deny(scope, send, 404, "path")
        elif device is None:
            await self._deny(scope, send, 401, "unauthorised")
        elif self._shared is None or len(self._sessions) >= self.limits.connections:
            await self._deny(scope, send, 503, "limit")
        else:
            try:
                await send({"type": "websocket.accept"})
            except (OSError, RuntimeError):  # the device went away during the handshake
                self.counters.end("closed")
                return
            scope["headers"] = []  # they would stay as long as the connection
            abort = scope.get("extensions", {}).get("walle.abort")
            await self.handle(AsgiConnection(device, receive, send, self.limits.send_timeout, abort))

    async def _deny(self, scope: Message, send: Send, status: int, reason: str) -> None:
        self.counters.end(reason)
        with contextlib.suppress(OSError, RuntimeError):
            if "websocket.http.response" in (scope.get("extensions") or {}):
                headers: list[Any] = [(b"content-length", b"0")]
                await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
                await send({"type": "websocket.http.response.body", "body": b""})
            else:
                await send({"type": "websocket.close", "code": 1008})
