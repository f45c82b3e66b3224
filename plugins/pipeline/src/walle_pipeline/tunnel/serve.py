"""Runs the tunnel's server with uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

from walle_pipeline.errors import TunnelError
from walle_pipeline.tunnel.contract import MAX_FRAME

HANDSHAKE_TIMEOUT = 10.0  # seconds


class Inbox:
    """An asyncio.Queue with one reader, in a tenth of its memory: an open connection has one."""

    __slots__ = ("_coming", "_ready", "_waiter")

    def __init__(self) -> None:
        self._coming: list[Any] = []
        self._ready: list[Any] = []  # the oldest last
        self._waiter: asyncio.Future[None] | None = None

    def put_nowait(self, item: Any) -> None:
        """See asyncio.Queue."""
        self._coming.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def empty(self) -> bool:
        """See asyncio.Queue."""
        return not (self._ready or self._coming)

    async def get(self) -> Any:
        """See asyncio.Queue."""
        if not self._ready:
            if not self._coming:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            self._ready, self._coming = self._coming[::-1], []
        return self._ready.pop()


def websockets() -> Any:
    """The WebSocket protocol for uvicorn that suits the tunnel: little memory and no timers per open connection.

    Raises TunnelError if uvicorn is not installed.
    """
    try:
        from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
    except ImportError as error:
        raise TunnelError(
            "the tunnel's server needs uvicorn: pip install 'walle-pipeline[server]'"
        ) from error

    class Protocol(WebSocketsSansIOProtocol):
        """Lets the application drop a connection whose peer does not read, which ASGI has no word for."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.queue = Inbox()

        def start_keepalive(self) -> None:
            # Called once the handshake is done: its headers would stay as long as the connection.
            self.request.headers.clear()
            self.response.headers.clear()

        def handle_ping(self) -> None:
            # Pongs go out without waiting, so a peer that never reads them would fill the memory.
            if self.writable.is_set():
                super().handle_ping()
            else:
                self.transport.abort()

        async def run_asgi(self) -> None:
            extensions: Any = self.scope["extensions"]
            extensions["walle.abort"] = self.transport.abort
            await super().run_asgi()

    return Protocol


def config(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 8765,
    certfile: str | os.PathLike[str] | None = None,
    keyfile: str | os.PathLike[str] | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
) -> Any:
    """The uvicorn.Config that suits the tunnel: little memory and no timers per open WebSocket.

    A connection that is no WebSocket after `handshake_timeout` seconds is closed. Raises TunnelError if uvicorn is not
    installed.
    """
    try:
        import uvicorn
        from uvicorn.protocols.http.auto import AutoHTTPProtocol
    except ImportError as error:
        raise TunnelError(
            "the tunnel's server needs uvicorn: pip install 'walle-pipeline[server]'"
        ) from error

    class Http(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """Ends connections that do not get on with their request."""

        patience: asyncio.TimerHandle

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.patience = self.loop.call_later(handshake_timeout, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self.patience.cancel()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, *event: Any) -> None:
            self.patience.cancel()
            super().handle_websocket_upgrade(*event)

    return uvicorn.Config(
        app,
        host=host,
        port=port,
        ssl_certfile=certfile,
        ssl_keyfile=keyfile,
        http=Http,
        ws=websockets(),
        ws_max_size=MAX_FRAME,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        ws_ping_timeout=None,
        proxy_headers=False,
        backlog=4096,
        access_log=False,
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=5,
    )


def serve(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 8765,
    certfile: str | os.PathLike[str] | None = None,
    keyfile: str | os.PathLike[str] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM; with TLS if a certificate and its key are given (PEM files).

    Over TLS a connection costs 40 KB with uvloop, which the extra `server` installs except on Windows, and 300 KB with
    asyncio's own loop.

    Raises TunnelError if the application cannot start, for example because the sink cannot be opened.
    """
    settings = config(app, host, port, certfile, keyfile)
    import uvicorn

    server = uvicorn.Server(settings)
    with contextlib.suppress(SystemExit):  # what uvicorn makes of a port that is taken
        server.run()
    if not server.started:
        raise TunnelError(f"the server did not start on {host}:{port}; the log says why")
