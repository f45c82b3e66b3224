"""The server's side of reports that come through the tunnel: a sink that hands them over before it stores them.

Handed over first: what the inner sink has stored is acknowledged to the device after a crash too, and would never come
again. So a report may be handed over twice, with the same number.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from walle_deploy.agent.delivery import STREAM
from walle_deploy.agent.journal import Outcome

MAX_REPORTS = 256  # of one payload
_TOKEN = re.compile(r"([\x21-\x7e]{1,128}):([A-Za-z0-9_-]{1,128})")
_decode = msgspec.msgpack.Decoder(list[Outcome]).decode
_log = logging.getLogger(__name__)


def tunnel_token(device: str, token: str) -> str:
    """What a device shows to the tunnel's server, which is told no name beside it."""
    return f"{device}:{token}"


def authenticate(good: Callable[[str, str], bool]) -> Callable[[str], str | None]:
    """For the tunnel's server: the device whose `tunnel_token` this is; None if its token is not `good` (device, token)."""

    def device_of(shown: str) -> str | None:
        found = _TOKEN.fullmatch(shown)
        return found[1] if found is not None and good(found[1], found[2]) else None

    return device_of


class OutcomeSink:
    """Wraps a sink of the tunnel.

    Args:
        inner: stores all records, those of reports too: they say how far each device has been heard.
        take: called with a device and its reports, in another thread; they are durable when it returns, or when the
            Future that it returns ends. What it raises is raised by `write`, and the device sends again later.

    Attributes:
        malformed: payloads that were no reports, and were passed over.
    """

    def __init__(self, inner: Any, take: Callable[[str, list[Outcome]], Future[None] | None]) -> None:
        self.name: str = inner.name
        self.malformed = 0
        self._inner, self._take = inner, take

    async def open(self) -> None:
        """See Sink."""
        await self._inner.open()

    async def close(self) -> None:
        """See Sink."""
        await self._inner.close()

    async def write(self, records: Sequence[Any]) -> None:
        """See Sink. Raises StoreError, and what `take` raises."""
        by_device: dict[str, list[Outcome]] = {}
        for record in records:
            if record.stream == STREAM:
                by_device.setdefault(record.device, []).extend(self._read(record))
        if by_device:
            waiting = await asyncio.to_thread(self._hand_over, by_device)
            await asyncio.gather(*map(asyncio.wrap_future, waiting))
        await self._inner.write(records)

    def _hand_over(self, by_device: Mapping[str, list[Outcome]]) -> list[Future[None]]:
        made = [
            self._take(device, outcomes[at : at + MAX_REPORTS])
            for device, outcomes in by_device.items()
            for at in range(0, len(outcomes), MAX_REPORTS)
        ]
        return [future for future in made if future is not None]

    def _read(self, record: Any) -> list[Outcome]:
        try:
            found = _decode(record.payload) if record.payload else []
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.malformed += 1
            _log.warning("device %s, report %d: %s", record.device, record.seq, error)
            return []
        return found[:MAX_REPORTS]

    async def high_water(self, device: str) -> Mapping[str, int]:
        """See Sink."""
        found: Mapping[str, int] = await self._inner.high_water(device)
        return found

    def records(self, device: str | None = None, stream: str | None = None) -> AsyncIterator[Any]:
        """See Sink."""
        found: AsyncIterator[Any] = self._inner.records(device, stream)
        return found
