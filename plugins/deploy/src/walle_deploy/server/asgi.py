"""The server as one ASGI callable: what devices ask for in front, everything else behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from walle_core.errors import WalleError
from walle_deploy.server import tunnel
from walle_deploy.server.answers import ApiError, Receive, Scope, Send, refuse, reply
from walle_deploy.server.api import api
from walle_deploy.server.devices import Devices
from walle_deploy.server.files import Files
from walle_deploy.server.services import Services

Asgi = Callable[[Scope, Receive, Send], Any]


class App:
    """One worker's application; it can be sent to another process until it is started.

    Args:
        make: opens the services, at the application's startup; its shutdown closes them.
    """

    services: Services
    _devices: Devices
    _files: Files
    _rest: Asgi
    _tunnel: Any = None

    def __init__(self, make: Callable[[], Services]) -> None:
        self._make = make

    async def start(self) -> None:
        """Opens everything. Raises DeployError."""
        self.services = services = await asyncio.to_thread(self._make)
        self._devices = Devices(services)
        self._files = Files(services.store, services.images.folder, services.metrics)
        self._rest = api(services)
        await services.start()
        if tunnel.wanted(services.settings):
            self._tunnel = tunnel.tunnel(services.settings, services.platform, services.secret)
            await self._tunnel.start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == "/walle/check":
                if scope["method"] == "GET":
                    await self._devices.check_digest(scope, send)
                else:
                    await self._devices.check(scope, receive, send)
            elif path.startswith("/walle/"):
                await self._device(path, scope, receive, send)
            elif path == "/healthz":
                await self._health(scope, send)
            elif path == "/metrics":
                await self._metrics(scope, send)
            else:
                await self._rest(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket" and scope["path"] == tunnel.PATH and self._tunnel is not None:
            await self._tunnel(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _device(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path == "/walle/reports":
            await self._devices.report(scope, receive, send)
        elif path == "/walle/register":
            await self._devices.register(scope, receive, send)
        else:
            await self._files(scope, receive, send)

    async def _health(self, scope: Scope, send: Send) -> None:
        try:
            _only_get(scope)
            await self.services.apart(self.services.check_health)
        except Exception as error:
            await refuse(
                scope, send, error if isinstance(error, ApiError) else ApiError(503, f"not ready: {error}")
            )
        else:
            await reply(send, 200, b"ok\n", b"text/plain", head=scope["method"] == "HEAD")

    async def _metrics(self, scope: Scope, send: Send) -> None:
        try:
            _only_get(scope)
            body, kind = await self.services.apart(self.services.exposition)
        except Exception as error:
            await refuse(scope, send, error)
        else:
            await reply(send, 200, body, kind.encode(), head=scope["method"] == "HEAD")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            if not isinstance(error, WalleError):
                logging.getLogger(__name__).exception("failure")
            await send({"type": "lifespan.startup.failed", "message": str(error) or type(error).__name__})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._tunnel is not None:
            await self._tunnel.stop()
        await self.services.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _only_get(scope: Scope) -> None:
    if scope["method"] not in {"GET", "HEAD"}:
        raise ApiError(405, f"{scope['method']} is not allowed here", "use GET")
