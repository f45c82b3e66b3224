"""The business server's side of push-then-pull: an ASGI middleware that adds one header where there is news."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from walle_deploy.errors import HookError
from walle_deploy.hooks import headers as wire
from walle_deploy.hooks.checking import Checker
from walle_deploy.hooks.contract import Check

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]

_PROFILE, _DEVICE, _TOKEN = (name.lower().encode() for name in wire.NAMES)
_ANSWER = wire.ANSWER.lower().encode()

log = logging.getLogger(__name__)


class WalleMiddleware:
    """Adds the header `Walle-Answer` to responses to devices for which there is news; else every byte is `app`'s.

    The check runs beside the application, which sees neither the full profile nor the token. A response waits for it
    until `deadline` seconds after the request came, and goes out without it then; an answer that is late waits for the
    device's next request. After several checks in a row that failed or were late there are none for some seconds.
    Nothing is added to what shared caches may keep (Cache-Control public or s-maxage): it would reach other devices.

    What is no HTTP request passes untouched. At the end of the application's lifespan the check is closed.
    """

    def __init__(self, app: App, check: Check, *, deadline: float = 0.05) -> None:
        self.app = app
        self._checker = Checker(check, deadline)
        self.counters = self._checker.counters

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http":
            for name, _ in scope["headers"]:
                if name == _PROFILE:
                    await self._http(scope, receive, send)
                    return
        elif scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                await self._checker.close()
            return
        await self.app(scope, receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = scope["headers"]
        kept = [pair for pair in headers if pair[0] not in (_DEVICE, _TOKEN)]
        if len(kept) != len(headers):
            scope = {**scope, "headers": kept}
        try:
            begun, start = self._checker.begin(*_read(headers))
        except HookError as error:
            self.counters.malformed += 1
            log.debug("%s", error)
            begun, start = "", 0.0
        if not begun:
            await self.app(scope, receive, send)
            return

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                value = await self._checker.value(begun, start)
                if value:
                    message = self._answered(message, value)
            await send(message)

        try:
            await self.app(scope, receive, answering)
        finally:
            self._checker.end(begun)

    def _answered(self, message: Message, value: str) -> Message:
        headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != _ANSWER]
        if _is_shared(headers):
            self.counters.shared += 1
            return message
        return {**message, "headers": [*headers, (_ANSWER, value.encode())]}


def _read(headers: RawHeaders) -> tuple[bytes, tuple[bytes, str] | None]:
    """Digest, and profile and token if they are there. Raises HookError."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name in (_PROFILE, _DEVICE, _TOKEN):
            if name in found:
                raise HookError(f"{name.decode()}: comes twice")
            found[name] = value.decode("latin-1")
    digest = wire.read_digest(found[_PROFILE])
    if _DEVICE not in found:
        return digest, None
    return digest, (wire.read_profile(found[_DEVICE]), wire.read_token(found.get(_TOKEN, "")))


def _is_shared(headers: RawHeaders) -> bool:
    return any(
        name.lower() == b"cache-control" and (b"public" in value.lower() or b"s-maxage" in value.lower())
        for name, value in headers
    )
