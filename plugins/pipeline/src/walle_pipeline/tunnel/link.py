"""The client's side of one connection: what was sent on it, what is in flight, what the server said."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs

from walle_core.errors import WalleError
from walle_pipeline.errors import FrameError, TransportClosedError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.contract import Connection
from walle_pipeline.tunnel.dictionary import Dictionary
from walle_pipeline.tunnel.frames import Ack, Code, Data, Dict, Error, Hello, Open, Ping, Pong, Welcome

EARLY_WINDOW = 64 << 10  # bytes in flight before the server has said its window


class RefusedError(TunnelError):
    """The server ended the connection with an ERROR frame. `code`: a `frames.Code` or another number."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the server ended the connection: {text} ({code})")
        self.code = code


class RoundTrip:
    """Smoothed round trip time and its deviation, in seconds, as TCP computes them (RFC 6298)."""

    def __init__(self) -> None:
        self.mean: float | None = None
        self.deviation = 0.0

    def add(self, sample: float) -> None:
        """Takes one measurement into account."""
        if self.mean is None:
            self.mean, self.deviation = sample, sample / 4
        else:
            self.deviation += (abs(sample - self.mean) - self.deviation) / 4
            self.mean += (sample - self.mean) / 8


class Source(Protocol):
    """What a link asks of its client."""

    def next_message(self, link: Link) -> bytes | None:
        """The next message with DATA for this link, or None while there is nothing to send or no room."""

    async def welcomed(self, link: Link, welcome: Welcome) -> None:
        """The server said its high waters."""

    def acknowledged(self, link: Link, stream: str, seq: int) -> None:
        """Everything of the stream up to `seq` is durable at the server."""

    def learned(self, dictionary: Dictionary) -> None:
        """The server sent a dictionary."""

    def ended(self, link: Link, error: WalleError) -> None:
        """The link is of no more use."""


@attrs.define
class Sent:
    """One DATA frame in flight. `size` in bytes; `time`: of the client's clock."""

    seq: int
    size: int
    time: float


class Link:
    """One connection of the client.

    Attributes:
        sent: stream -> last seq sent here; in_flight: what of that is not acknowledged, and `bytes` of it.
        welcome: the server's WELCOME, once it has come.
        promised: stream -> what was acknowledged before the HELLO; the WELCOME must not say less.
        heard, spoke: clock times of the last message from and to the server.
        due: clock time since which an answer is due (of a HELLO, PING or DATA), or None.
        stalled: whether acknowledgements are so late that another link should take over.
    """

    def __init__(self, connection: Connection, source: Source, clock: Callable[[], float]) -> None:
        self._connection, self._source, self._clock = connection, source, clock
        self.ids: dict[str, int] = {}
        self._names: list[str] = []
        self.sent: dict[str, int] = {}
        self.in_flight: dict[str, deque[Sent]] = {}
        self.bytes = 0
        self.welcome: Welcome | None = None
        self.promised: dict[str, int] = {}
        self.dictionaries: set[int] = set()
        self.opened = self.heard = self.spoke = clock()
        self.due: float | None = self.opened
        self.stalled = False
        self.progressed = False
        self.control: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self._ping: tuple[int, float] | None = None
        self._hello_at = self.opened
        self.round_trips: list[float] = []
        self._task: asyncio.Task[None] | None = None

    def start(self, hello: Hello, promised: dict[str, int]) -> None:
        """Binds the streams of `hello`, sends it and begins to work."""
        self.promised = promised
        self._names = list(hello.streams)
        self.ids = dict(hello.streams)
        self.control.append(frames.encode(hello))
        self._task = asyncio.create_task(self._run(), name="tunnel link")

    async def close(self, reason: str = "") -> None:
        """Ends the link and waits for that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._connection.close(reason)

    @property
    def window(self) -> int:
        """Bytes that the server lets be in flight."""
        return self.welcome.window if self.welcome is not None else EARLY_WINDOW

    @property
    def oldest(self) -> float | None:
        """When the oldest frame in flight was sent, or None."""
        times = [queue[0].time for queue in self.in_flight.values() if queue]
        return min(times) if times else None

    def front(self, batch: int) -> int:
        """Bytes that may have to arrive before the next acknowledgement can come; messages have about `batch` bytes."""
        largest = max((queue[0].size for queue in self.in_flight.values() if queue), default=0)
        return min(self.bytes, max(batch, largest))

    def stream_id(self, name: str) -> int:
        """The id of a stream, which is opened if need be. Raises TunnelError after 65 536 streams."""
        number = self.ids.get(name)
        if number is None:
            number = self.ids[name] = len(self._names)
            self._names.append(name)
            self.control.append(frames.encode(Open(number, name)))
        return number

    def flying(self, name: str, seq: int, size: int) -> None:
        """Notes a DATA frame as sent."""
        now = self._clock()
        self.sent[name] = seq
        self.in_flight.setdefault(name, deque()).append(Sent(seq, size, now))
        self.bytes += size
        if self.due is None:
            self.due = now

    def landed(self, name: str, seq: int) -> float | None:
        """Drops what `seq` acknowledges, on whichever link that came; the age of the newest such frame, if any."""
        queue = self.in_flight.get(name)
        age = None
        while queue and queue[0].seq <= seq:
            item = queue.popleft()
            self.bytes -= item.size
            age = self._clock() - item.time
        if self.sent.get(name, 0) < seq:
            self.sent[name] = seq
        if age is not None:
            self._settle()
            self.wake.set()
        return age

    def _settle(self) -> None:
        waiting = self._ping is not None or self.welcome is None or any(self.in_flight.values())
        self.due = self._clock() if waiting else None

    def ping(self) -> None:
        """Asks for a sign of life."""
        if self._ping is None:
            now = self._clock()
            self._ping = (int(now * 1000) & 0xFFFFFFFF, now)
            self.control.append(frames.encode(Ping(self._ping[0])))
            if self.due is None:
                self.due = now
            self.wake.set()

    async def _run(self) -> None:
        error: WalleError = TransportClosedError("closed")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive())
                group.create_task(self._send())
        except BaseExceptionGroup as failed:
            known = [e if isinstance(e, WalleError) else TunnelError(repr(e)) for e in failed.exceptions]
            # What the server said explains a send that failed at the same time.
            error = next((e for e in known if not isinstance(e, TransportClosedError)), known[0])
        self._source.ended(self, error)

    async def _send(self) -> None:
        while True:
            self.wake.clear()
            message = self._source.next_message(self)
            while self.control:  # holds the HELLO, and the OPEN or DICT that the message relies on
                await self._connection.send(self.control.popleft())
            if message is None:
                await self.wake.wait()
            else:
                await self._connection.send(message)
                self.spoke = self._clock()

    async def _receive(self) -> None:
        while True:
            message = await self._connection.receive()
            self.heard = self._clock()
            for frame in frames.parse(message):
                await self._dispatch(frame)

    async def _dispatch(self, frame: frames.Frame) -> None:
        match frame:
            case Ack(stream_id, seq):
                if stream_id >= len(self._names):
                    raise FrameError(f"ACK of stream id {stream_id}, which was not opened")
                self.progressed = True
                self._source.acknowledged(self, self._names[stream_id], seq)
            case Welcome():
                if self.welcome is not None:
                    raise FrameError("a second WELCOME")
                await self._source.welcomed(self, frame)
                self.welcome = frame
                self.dictionaries.update(frame.dictionaries)
                self.round_trips.append(self.heard - self._hello_at)
                self._settle()
                self.wake.set()
            case Pong(token):
                if self._ping is not None and self._ping[0] == token:
                    self._ping = None
                    self._settle()
            case Ping(token):
                self.control.append(frames.encode(Pong(token)))
                self.wake.set()
            case Dict(version, data):
                self._source.learned(Dictionary.from_bytes(data, version))
            case Error(code, text):
                if code == Code.CLOSING:
                    raise TransportClosedError(text)
                raise RefusedError(code, text)
            case Data() | Hello() | Open():
                raise FrameError(f"unexpected {type(frame).__name__}")
