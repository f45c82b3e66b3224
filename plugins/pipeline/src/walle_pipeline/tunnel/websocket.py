"""WebSocket as the tunnel's transport: the device's side on the library `websockets`, the server's side on ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.client import ClientConnection, connect

from walle_pipeline.errors import TransportClosedError, TunnelError
from walle_pipeline.tunnel.contract import MAX_FRAME, Connection

CONNECT_TIMEOUT = 10.0  # seconds
CLOSE_TIMEOUT = 2.0  # seconds
_NEVER = (400, 401, 403, 404, 405, 426)  # HTTP statuses that the same request will meet again
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class WebSocketConnection:
    """The device's end of one WebSocket; a `contract.Connection`."""

    def __init__(self, device: str, socket: ClientConnection) -> None:
        self.device = device
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        """See `contract.Connection`."""
        try:
            await self._socket.send(frame)
        except (websockets.ConnectionClosed, OSError) as error:
            raise TransportClosedError(_reason(error)) from error

    async def receive(self) -> bytes:
        """See `contract.Connection`."""
        try:
            message = await self._socket.recv()
        except (websockets.ConnectionClosed, OSError) as error:
            raise TransportClosedError(_reason(error)) from error
        if isinstance(message, str):
            raise TransportClosedError("the server sent text; only binary frames are allowed")
        return message

    async def close(self, reason: str = "") -> None:
        """See `contract.Connection`. Waits at most CLOSE_TIMEOUT for the other side."""
        with contextlib.suppress(Exception):
            await self._socket.close(1000, reason[:100])


class WebSocketTransport:
    """The device's side; a `contract.Transport`. The token travels as ``Authorization: Bearer``."""

    name: str = "websocket"
    schemes: tuple[str, ...] = ("wss", "ws")

    async def connect(self, url: str, *, device: str, token: str, tls: Any = None) -> Connection:
        """See `contract.Transport`."""
        parts = urlsplit(url)
        if parts.scheme not in self.schemes or not parts.hostname:
            raise TunnelError(f"{url!r}: the tunnel's URL begins with ws:// or wss:// and names a host")
        if not _TOKEN.fullmatch(token):
            raise TunnelError("the token must be 1 to 4096 printable ASCII characters without spaces")
        options = {"ssl": tls} if parts.scheme == "wss" and tls is not None else {}
        try:
            ws = await connect(
                url,
                additional_headers={"Authorization": f"Bearer {token}"},
                user_agent_header="walle",
                compression=None,  # payloads are compressed already
                max_size=MAX_FRAME,
                max_queue=64,
                write_limit=1 << 16,
                ping_interval=None,  # the tunnel's own pings cross every transport
                open_timeout=CONNECT_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                proxy=None,
                **options,
            )
        except websockets.InvalidStatus as error:
            status = error.response.status_code
            if status in _NEVER:
                raise TunnelError(
                    f"{url}: the server refuses this device (HTTP {status}): check URL and token"
                ) from error
            raise TransportClosedError(f"{url}: HTTP {status}") from error
        except websockets.InvalidURI as error:
            raise TunnelError(f"{url!r}: {error}") from error
        except (OSError, websockets.WebSocketException, TimeoutError, EOFError) as error:
            raise TransportClosedError(f"{url}: {_reason(error)}") from error
        sock = ws.transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return WebSocketConnection(device, ws)


class AsgiConnection:
    """The server's end of one WebSocket that an ASGI server carries; a `contract.Connection`."""

    def __init__(
        self,
        device: str,
        receive: Receive,
        send: Send,
        send_timeout: float,
        abort: Callable[[], None] | None = None,
    ) -> None:
        self.device = device
        self._receive, self._send, self._send_timeout, self._abort = receive, send, send_timeout, abort
        self._closed = False

    async def send(self, frame: bytes) -> None:
        """See `contract.Connection`. Gives up after the send timeout: a reader that slow is gone."""
        if self._closed:
            raise TransportClosedError("closed")
        try:
            async with asyncio.timeout(self._send_timeout):
                await self._send({"type": "websocket.send", "bytes": frame})
        except TimeoutError as error:
            self._closed = True
            if self._abort is not None:
                self._abort()
            raise TransportClosedError("slow reader") from error
        except (OSError, RuntimeError) as error:  # ASGI servers differ in what a send after the end raises
            raise TransportClosedError(_reason(error)) from error

    async def receive(self) -> bytes:
        """See `contract.Connection`."""
        message = await self._receive()
        if message["type"] == "websocket.receive":
            frame: bytes | None = message.get("bytes")
            if frame is not None:
                return frame
            raise TransportClosedError("text message; only binary frames are allowed")
        self._closed = True
        raise TransportClosedError(f"closed by the device ({message.get('code', 1005)})")

    async def close(self, reason: str = "") -> None:
        """See `contract.Connection`."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._send_timeout):
                    await self._send({"type": "websocket.close", "code": 1000, "reason": reason[:100]})


def bearer(scope: MutableMapping[str, Any]) -> str | None:
    """The token of an ASGI scope's Authorization header, or None."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            token: str = value[7:].strip().decode("latin-1")
            return token
    return None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
