"""Answers that become ready in one turn of the event loop, signed together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from walle_deploy.profile import Profile
from walle_deploy.server.checks import Unsigned


class Platform(Protocol):
    """What this needs of `server.platform.Platform`."""

    def prepare_check(self, profile: Profile, nonce: bytes = b"") -> Unsigned | Future[bytes | None] | None:
        """See there."""

    def seal(self, some: Sequence[Unsigned]) -> list[bytes]:
        """See there."""


class Gathering:
    """Of one event loop, for one platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._waiting: list[tuple[Unsigned, asyncio.Future[bytes]]] = []

    async def check(self, profile: Profile, nonce: bytes = b"") -> bytes | None:
        """As Platform.check."""
        found = self._platform.prepare_check(profile, nonce)
        if found is None:
            return None
        if isinstance(found, Future):
            return await asyncio.wrap_future(found)
        loop = asyncio.get_running_loop()
        made: asyncio.Future[bytes] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._seal)
        self._waiting.append((found, made))
        return await made

    def _seal(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            wires = self._platform.seal([each for each, _ in waiting])
        except Exception as error:
            for _, made in waiting:
                if not made.done():
                    made.set_exception(error)
            return
        for (_, made), wire in zip(waiting, wires, strict=True):
            if not made.done():  # its request was cancelled
                made.set_result(wire)
