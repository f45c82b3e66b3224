"""The server's group commit: records of all connections become one write of the sink, then acknowledgements.

Per (device, stream) the server keeps two numbers: `received`, the last seq that was taken, and `durable`, the last one
that the sink stored. A seq is taken only as `received` + 1, whichever connection of the device brings it, so what is
handed to the sink has no gap. Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

import attrs

from walle_pipeline.errors import StoreError, TunnelError
from walle_pipeline.tunnel.contract import Record, Sink
from walle_pipeline.tunnel.frames import Code

log = logging.getLogger(__name__)

STOP_TIMEOUT = 10.0  # seconds that the last write may take


class GapError(TunnelError):
    """A seq came before its predecessor."""


@attrs.define(eq=False)
class Counters:
    """What happened since the start; `ended` by reason, of connections that the server ended or refused."""

    accepted: int = 0
    open: int = 0
    frames: int = 0
    payload_bytes: int = 0
    duplicates: int = 0
    records: int = 0
    batches: int = 0
    sink_errors: int = 0
    ended: dict[str, int] = attrs.field(factory=dict)

    def end(self, reason: str) -> None:
        """Counts one ended connection."""
        self.ended[reason] = self.ended.get(reason, 0) + 1


class Member(Protocol):
    """What the committer asks of a connection's session. `unacked`: bytes taken from it that are not durable yet."""

    unacked: int

    def ack(self, stream_id: int, seq: int) -> None:
        """Sends an acknowledgement soon."""

    def room(self) -> None:
        """`unacked` has shrunk."""

    def end(self, code: Code, text: str) -> None:
        """Sends an ERROR and ends the connection soon."""


@attrs.define(eq=False)
class StreamState:
    """One stream of one device. `waiting`: sessions to acknowledge to, with their id of the stream."""

    received: int = 0
    durable: int = 0
    waiting: dict[Member, int] = attrs.field(factory=dict)


@attrs.define(eq=False)
class DeviceState:
    """One device while it is connected or has records under way. `sessions`: oldest first."""

    name: str
    streams: dict[str, StreamState] = attrs.field(factory=dict)
    sessions: list[Member] = attrs.field(factory=list)
    queued: int = 0

    def stream(self, name: str) -> StreamState:
        """The state of a stream, new if need be."""
        state = self.streams.get(name)
        if state is None:
            state = self.streams[name] = StreamState()
        return state


_Entry = tuple[Record, DeviceState, StreamState, Member]


class Committer:
    """Gathers records and writes them.

    Arguments:
        sink: where to.
        count: records that start a write at once; fewer wait `linger` seconds for company. No timer runs when idle.
        batch_bytes: about how many payload bytes one write holds at most.
    """

    def __init__(
        self,
        sink: Sink,
        counters: Counters,
        *,
        count: int = 256,
        linger: float = 0.001,
        batch_bytes: int = 8 << 20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sink, self._counters, self._clock = sink, counters, clock
        self._count, self._linger, self._batch_bytes = count, linger, batch_bytes
        self._devices: dict[str, DeviceState] = {}
        self._queue: list[_Entry] = []
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Starts writing."""
        self._task = asyncio.create_task(self._run(), name="tunnel commit")

    async def stop(self) -> None:
        """Writes what was taken and ends."""
        self._stopping = True
        self._filled.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_TIMEOUT)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def join(self, device: str, session: Member) -> tuple[DeviceState, dict[str, int]]:
        """Enters a session of a device; also the device's high water by stream. Raises StoreError."""
        state = self._devices.get(device)
        if state is None:
            state = self._devices[device] = DeviceState(device)
        state.sessions.append(session)
        try:
            # The sink is asked each time: another server process may have served this device meanwhile.
            stored = await self._sink.high_water(device)
        except BaseException:
            self.leave(state, session)
            raise
        for name, seq in stored.items():
            stream = state.stream(name)
            stream.durable = max(stream.durable, seq)
            stream.received = max(stream.received, stream.durable)
        return state, {name: stream.durable for name, stream in state.streams.items() if stream.durable}

    def leave(self, state: DeviceState, session: Member) -> None:
        """Removes a session; what it brought is still written."""
        if session in state.sessions:
            state.sessions.remove(session)
        for stream in state.streams.values():
            stream.waiting.pop(session, None)
        self._forget(state)

    def _forget(self, state: DeviceState) -> None:
        if not state.sessions and not state.queued and self._devices.get(state.name) is state:
            del self._devices[state.name]

    def take(
        self, state: DeviceState, session: Member, stream_id: int, name: str, seq: int, payload: bytes
    ) -> None:
        """Queues one payload; acknowledges it again if it is known. Raises GapError."""
        stream = state.stream(name)
        if seq == stream.received + 1:
            stream.received = seq
            session.unacked += len(payload)
            state.queued += 1
            stream.waiting[session] = stream_id
            self._queue.append(
                (Record(state.name, name, seq, payload, self._clock()), state, stream, session)
            )
            if not self._filled.is_set():
                self._filled.set()
        elif seq <= stream.received:
            self._counters.duplicates += 1
            if seq <= stream.durable:
                session.ack(stream_id, stream.durable)
            else:
                stream.waiting[session] = stream_id
        else:
            raise GapError(f"stream {name}: seq {seq} after {stream.received}")

    async def _run(self) -> None:
        while self._queue or not self._stopping:
            await self._filled.wait()
            if self._linger and len(self._queue) < self._count:
                await asyncio.sleep(self._linger)
            batch = self._queue[: self._batch()]
            try:
                if batch:
                    await self._sink.write([entry[0] for entry in batch])
            except Exception as error:
                self._failed(batch, error)
            else:
                del self._queue[: len(batch)]
                self._stored(batch)
            if not self._queue and not self._stopping:
                self._filled.clear()

    def _batch(self) -> int:
        """How many of the queue make one write."""
        size = 0
        for n, entry in enumerate(self._queue, 1):
            size += len(entry[0].payload)
            if size >= self._batch_bytes:
                return n
        return len(self._queue)

    def _stored(self, batch: list[_Entry]) -> None:
        self._counters.batches += 1
        self._counters.records += len(batch)
        streams: dict[StreamState, None] = {}
        members: dict[Member, None] = {}
        for record, state, stream, session in batch:
            stream.durable = max(stream.durable, record.seq)
            state.queued -= 1
            session.unacked -= len(record.payload)
            streams[stream] = members[session] = None
        for stream in streams:
            for session, stream_id in stream.waiting.items():
                session.ack(stream_id, stream.durable)
            if stream.received == stream.durable:
                stream.waiting.clear()
        for session in members:
            session.room()
        for _, state, _, _ in batch:
            if not state.sessions:
                self._forget(state)

    def _failed(self, batch: list[_Entry], error: Exception) -> None:
        """Takes back everything of the devices concerned; they come again and resend."""
        self._counters.sink_errors += 1
        if not isinstance(error, StoreError):
            log.error("sink %s failed", self._sink.name, exc_info=error)
        else:
            log.warning("sink %s: %s", self._sink.name, error)
        devices = dict.fromkeys(entry[1] for entry in batch)
        dropped = [entry for entry in self._queue if entry[1] in devices]
        self._queue = [entry for entry in self._queue if entry[1] not in devices]
        for record, state, _, session in dropped:
            state.queued -= 1
            session.unacked -= len(record.payload)
        for state in devices:
            for stream in state.streams.values():
                stream.received = stream.durable
                stream.waiting.clear()
            for session in tuple(state.sessions):
                session.end(Code.RETRY, "the store failed; send again later")
            self._forget(state)
