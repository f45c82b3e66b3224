"""The cloud's side over HTTP: devices fetch their answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from urllib.parse import parse_qsl

import msgspec

from walle_core.errors import WalleError
from walle_deploy.cloud.service import CloudService
from walle_deploy.cloud.values import CloudAnswer, Page
from walle_deploy.server.answers import ApiError, Receive, Scope, Send, bearer, header, refuse, reply
from walle_deploy.server.limits import Buckets

MAX_WAIT_S = 25.0
LIMIT = 256  # answers at once
ASKS_PER_S, ASKS_AT_ONCE = 1.0, 30

_NUMBER = re.compile(r"[0-9]{1,18}")
_encode = msgspec.msgpack.Encoder().encode


class CloudApp:
    """``GET /walle/answers?since=N&wait=S`` for devices, ``/healthz``; starts and stops the service with its lifespan.

    A device names itself by the header Walle-Id and shows its token as Bearer. The answers come as MessagePack of a
    `Page`, in order, at most `LIMIT` at once; with `wait`, when there are some or after so many seconds.

    Arguments:
        authenticate: whether a token (second) is the one of a device (first).
    """

    def __init__(self, service: CloudService, authenticate: Callable[[str, str], bool]) -> None:
        self.service, self._authenticate = service, authenticate
        self._asks = Buckets(ASKS_PER_S, ASKS_AT_ONCE)
        self._refused = Buckets(1.0, 30, 1 << 12)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            return
        elif scope["path"] == "/healthz":
            problem = self.service.problem
            await reply(
                send,
                503 if problem else 200,
                (problem or "ok").encode() + b"\n",
                b"text/plain; charset=utf-8",
            )
        elif scope["path"] == "/walle/answers":
            await self.answers(scope, send)
        else:
            await refuse(
                scope, send, ApiError(404, f"there is nothing at {scope['path']}", "see /walle/answers")
            )

    async def answers(self, scope: Scope, send: Send) -> None:
        """One question of a device."""
        try:
            if scope["method"] != "GET":
                raise ApiError(405, f"{scope['method']} is not allowed here", "use GET")
            device = self._device(scope)
            since, wait = _asked(scope)
            found = await self._answers(device, since, wait)
        except Exception as error:
            await refuse(scope, send, error)
        else:
            page = Page(found[-1].number if found else since, found)
            await reply(
                send, 200, _encode(page), b"application/vnd.msgpack", [(b"cache-control", b"no-store")]
            )

    async def _answers(self, device: str, since: int, wait: float) -> list[CloudAnswer]:
        store, time = self.service.store, asyncio.get_running_loop().time
        until = time() + wait
        with self.service.news(device) as news:
            while True:
                found = await asyncio.to_thread(store.answers, device, since, LIMIT)
                if found or (left := until - time()) <= 0:
                    return found
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), left)
                news.clear()

    def _device(self, scope: Scope) -> str:
        """Who asks. Raises ApiError."""
        device = (header(scope, b"walle-id") or b"").decode("latin-1")
        if not device or not self._authenticate(device, bearer(scope)):
            client = scope.get("client")
            if wait := self._refused.wait(client[0] if client else ""):
                raise ApiError(
                    429, "too many wrong tokens from this address", "register the device anew", wait
                )
            raise ApiError(401, "the token is not this device's", "register the device: POST /walle/register")
        if wait := self._asks.wait(device):
            raise ApiError(429, "this device asks too often", "ask with wait=25", wait)
        return device

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.service.start()
        except WalleError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.service.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _asked(scope: Scope) -> tuple[int, float]:
    """Since and wait. Raises ApiError."""
    found = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    numbers = [found.pop(name, "0") for name in ("since", "wait")]
    if found or not all(_NUMBER.fullmatch(number) for number in numbers):
        raise ApiError(
            400, "since and wait are whole numbers, and there is nothing else to ask", "see the documentation"
        )
    return int(numbers[0]), min(float(numbers[1]), MAX_WAIT_S)
