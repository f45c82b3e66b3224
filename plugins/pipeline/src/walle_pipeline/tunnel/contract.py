"""What a transport and a sink of the tunnel must offer; everything else is built on these.

A *transport* moves whole frames (bytes, at most `MAX_FRAME`) between one device and the server, in order while a
connection lives; it may lose any suffix of what was sent when the connection breaks, and it may repeat frames. It adds
no acknowledgement of its own: the tunnel's cumulative acks say what is durable.

A *sink* stores what arrives. It is the only place where exactly-once is decided: by (device, stream, seq).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

MAX_FRAME = 1 << 20  # bytes, both directions, before and after decompression of the payload


@attrs.frozen
class Record:
    """One payload as the server stores it.

    Attributes:
        device: who sent it, as authenticated; never taken from a frame.
        stream: name of the stream, at most 64 characters of ``[A-Za-z0-9_.-]``.
        seq: 1, 2, 3, ... per (device, stream), without gaps.
        payload: uncompressed bytes.
        received: seconds since the epoch at the server.
    """

    device: str
    stream: str
    seq: int
    payload: bytes
    received: float


@runtime_checkable
class Connection(Protocol):
    """One live, authenticated connection, either end of it. Used by one task for sending and one for receiving."""

    device: str

    async def send(self, frame: bytes) -> None:
        """Hands a frame over; waits while the other side is slow. Raises TransportClosedError."""

    async def receive(self) -> bytes:
        """The next frame. Raises TransportClosedError when there will be none."""

    async def close(self, reason: str = "") -> None:
        """Ends the connection; never raises."""


@runtime_checkable
class Transport(Protocol):
    """The device's side: makes connections.

    Attributes:
        name: under which plugins register it: ``websocket``, ``mqtt``.
        schemes: of the URLs it serves, for example ``("wss", "ws")``.
    """

    name: str
    schemes: tuple[str, ...]

    async def connect(self, url: str, *, device: str, token: str, tls: Any = None) -> Connection:
        """Connects and authenticates, within 10 s. `tls`: an ssl.SSLContext, or None for the system's trust.

        Raises TransportClosedError if that may work later, TunnelError if it never will (not authorised, bad URL).
        """


@runtime_checkable
class Listener(Protocol):
    """The server's side of a transport that is not carried by the ASGI app (brokers)."""

    name: str

    def connections(self) -> AsyncIterator[Connection]:
        """Every device that connects, from now on, until the iterator is closed."""


@runtime_checkable
class Sink(Protocol):
    """Where the server stores records.

    Attributes:
        name: under which plugins register it: ``sqlite``, ``nats``, ``postgres``.
    """

    name: str

    async def open(self) -> None:
        """Connects, creates what is missing. Raises StoreError with what to do."""

    async def close(self) -> None:
        """Flushes and disconnects."""

    async def write(self, records: Sequence[Record]) -> None:
        """Stores `records`, durable when it returns; one that is there already changes nothing.

        All or nothing per call as far as a caller can tell: after an error the same records are written again.
        Raises StoreError.
        """

    async def high_water(self, device: str) -> Mapping[str, int]:
        """Stream -> the largest seq such that it and all before it are stored; streams without records are left out."""

    def records(self, device: str | None = None, stream: str | None = None) -> AsyncIterator[Record]:
        """What is stored, by (device, stream, seq); for consumers and tests."""


@runtime_checkable
class Followed(Protocol):
    """A sink that can be asked what is new without reading what is old."""

    async def marks(self, stream: str) -> Mapping[str, int]:
        """Device -> high water of its records in `stream`; the same object as before where nothing has changed.

        Raises StoreError.
        """

    async def read(
        self, stream: str, spans: Sequence[tuple[str, int, int]], each: int = 64
    ) -> Sequence[Record]:
        """Of each (device, after, upto) the first `each` records from seq `after` + 1 to `upto`; deleted ones are left out.

        Raises StoreError.
        """


@runtime_checkable
class Consumed(Protocol):
    """A sink that remembers itself how far a consumer is."""

    async def consumer(self, stream: str, name: str) -> Consumer:
        """The consumer `name` of a stream, made if need be: it begins with the oldest record. Raises StoreError."""


@runtime_checkable
class Consumer(Protocol):
    """Hands out the records of one stream, of all devices, at least once."""

    async def take(self, wait: float) -> Sequence[Record]:
        """Some that were not taken; none after `wait` seconds. Raises StoreError."""

    async def done(self) -> None:
        """All that was taken is dealt with; without this it is handed out again some time. Raises StoreError."""

    async def close(self) -> None:
        """Ends taking; how far it is stays known."""
