"""Reads what is new in one stream of a tunnel's sink, of all devices, without reading what is old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from walle_deploy.errors import CloudError

POLL_S = 0.2
LONGEST_POLL_S = 1.0


class Record(Protocol):
    """What this needs of `walle_pipeline.tunnel.contract.Record`."""

    device: str
    stream: str
    seq: int
    payload: bytes
    received: float


class Follower(Protocol):
    """Hands out records, of each device in order, at least once."""

    async def take(self, limit: int, wait: float) -> Sequence[Record]:
        """About `limit` of them; none after `wait` seconds. Raises walle_pipeline's StoreError."""

    async def done(self) -> None:
        """All that was taken is dealt with. Raises StoreError."""

    async def close(self) -> None:
        """Ends it."""


async def follower(sink: Any, stream: str, name: str, positions: Mapping[str, int]) -> Follower:
    """The follower of an open sink's stream. Raises CloudError for a sink that cannot be followed, StoreError.

    Args:
        sink: see `walle_pipeline.tunnel.contract.Followed` and `Consumed`.
        stream: of the tunnel.
        name: of this consumer, for sinks that remember themselves how far it is.
        positions: device -> seq up to which everything is dealt with, for the others.
    """
    from walle_pipeline.tunnel.contract import Consumed, Followed

    if isinstance(sink, Followed):
        return MarksFollower(sink, stream, positions)
    if isinstance(sink, Consumed):
        return ConsumerFollower(await sink.consumer(stream, name))
    raise CloudError(f"the sink {sink.name} cannot be followed; SQLite, PostgreSQL and NATS can")


class MarksFollower:
    """Of a sink that says how far each device's records go. Asks every `POLL_S`, less often while nothing comes."""

    def __init__(self, sink: Any, stream: str, positions: Mapping[str, int]) -> None:
        self._sink, self._stream = sink, stream
        self._after = dict(positions)
        self._seen: Any = None  # marks that hold nothing new
        self._poll = POLL_S

    async def take(self, limit: int, wait: float) -> Sequence[Record]:
        """See `Follower`."""
        until = time.monotonic() + wait
        while True:
            marks = await self._sink.marks(self._stream)
            if marks is not self._seen and (found := await self._new(marks, limit)):
                self._poll = POLL_S
                return found
            left = until - time.monotonic()
            if left <= 0:
                return []
            await asyncio.sleep(min(self._poll, left))
            self._poll = min(self._poll * 1.5, LONGEST_POLL_S)

    async def _new(self, marks: Mapping[str, int], limit: int) -> Sequence[Record]:
        after = self._after
        while True:
            behind = ((d, after.get(d, 0), mark) for d, mark in marks.items() if mark > after.get(d, 0))
            spans = list(islice(behind, limit))
            if not spans:
                self._seen = marks
                return []
            each = max(1, limit // len(spans))
            found: Sequence[Record] = await self._sink.read(self._stream, spans, each)
            read = dict.fromkeys((device for device, _, _ in spans), 0)
            last: dict[str, int] = {}
            for record in found:
                read[record.device] += 1
                last[record.device] = record.seq
            for device, _, mark in spans:
                # Fewer than asked for: what is missing up to the mark was deleted.
                after[device] = mark if read[device] < each else last[device]
            if found:
                return found

    async def done(self) -> None:
        """See `Follower`."""

    async def close(self) -> None:
        """See `Follower`."""


class ConsumerFollower:
    """Of a sink that remembers the position of a consumer."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    async def take(self, limit: int, wait: float) -> Sequence[Record]:
        """See `Follower`."""
        found: Sequence[Record] = await self._consumer.take(wait)
        return found

    async def done(self) -> None:
        """See `Follower`."""
        await self._consumer.done()

    async def close(self) -> None:
        """See `Follower`."""
        await self._consumer.close()
