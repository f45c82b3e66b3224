"""Keep-alive connections that carry many devices' requests, several at a time on each."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from walle_deploy.fleet.errors import FleetError
from walle_deploy.fleet.wire import Address, answers

AGAIN_S = 0.2  # before a connection is made anew
LOST_S = 30.0  # without any connection, after which there is no server

Job = tuple[int, int, Any, float]  # kind, device, what the kind needs, when it was sent


class Link(asyncio.Protocol):
    """One connection, with a number that the one after it keeps. Requests wait in line; all of them may be sent twice."""

    def __init__(self, links: Links, number: int) -> None:
        self._links, self.number = links, number
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.waiting: deque[Job] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._links.fill(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        links = self._links
        links.down += len(data)
        if self._rest:
            data = self._rest + data
        at, waiting, done = 0, self.waiting, links.done
        try:
            for (status, body, closing), at in answers(data):  # noqa: B007
                if not waiting:
                    raise FleetError(
                        f"an answer that nobody waits for: {status.decode('latin-1')} {body[:100]!r}"
                    )
                done(waiting.popleft(), status, body)
                if closing:
                    self.close()
                    return
        except Exception as error:
            links.fail(error)
            return
        self._rest = data[at:]
        links.fill(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._links.lost(self)

    def write(self, data: bytes) -> None:
        """Sends requests, for which `waiting` has jobs."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()


class Links:
    """Connections to one server.

    Args:
        address: of the server.
        number: of connections.
        depth: requests that wait for an answer on each.
        take: gives the next request of the connection with this number, and its job; None if there is none.
        done: is called with a job, the status and the body of its answer.
        back: is called with a job whose connection was lost before its answer came.
    """

    def __init__(
        self,
        address: Address,
        number: int,
        depth: int,
        take: Callable[[int], tuple[bytes, Job] | None],
        done: Callable[[Job, bytes, bytes], None],
        back: Callable[[Job], None],
    ) -> None:
        self._address, self._number, self._depth = address, number, depth
        self._take, self.done, self._back = take, done, back
        self._links: set[Link] = set()
        self._idle: set[Link] = set()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.up = self.down = self.broken = 0
        self.error: Exception | None = None
        self.failed = asyncio.Event()

    async def open(self) -> None:
        """Makes all connections. Raises FleetError if the server is not there."""
        try:
            await asyncio.gather(*(self._connect(number) for number in range(self._number)))
        except OSError as error:
            self.close()
            raise FleetError(
                f"{self._address.host}:{self._address.port}: no server answers ({error}); start one with `walle deploy serve`"
            ) from error

    def close(self) -> None:
        """Ends all connections."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for link in tuple(self._links):
            link.close()

    def wake(self) -> None:
        """There are new requests: connections that wait for nothing take them."""
        for link in tuple(self._idle):
            self._idle.discard(link)
            self.fill(link)

    def fill(self, link: Link) -> None:
        """Sends as many requests on a connection as it may have."""
        room, parts = self._depth - len(link.waiting), []
        try:
            while room > 0 and (found := self._take(link.number)) is not None:
                parts.append(found[0])
                link.waiting.append(found[1])
                room -= 1
        except Exception as error:
            self.fail(error)
            return
        if parts:
            data = b"".join(parts)
            self.up += len(data)
            link.write(data)
        elif not link.waiting and not self._closing:
            self._idle.add(link)

    def lost(self, link: Link) -> None:
        """A connection ended."""
        self._links.discard(link)
        self._idle.discard(link)
        for job in link.waiting:
            self._back(job)
        link.waiting.clear()
        if not self._closing:
            self.broken += 1
            task = asyncio.get_running_loop().create_task(self._again(link.number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def fail(self, error: Exception) -> None:
        """Ends everything because of an error."""
        self.error = self.error or error
        self.failed.set()
        self.close()

    async def _connect(self, number: int) -> None:
        context = ssl.create_default_context() if self._address.tls else None
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(
            lambda: Link(self, number), self._address.host, self._address.port, ssl=context
        )
        if self._closing:
            link.close()
        self._links.add(link)

    async def _again(self, number: int) -> None:
        end = asyncio.get_running_loop().time() + LOST_S
        while not self._closing:
            await asyncio.sleep(AGAIN_S)
            with contextlib.suppress(OSError):
                await self._connect(number)
                return
            if asyncio.get_running_loop().time() > end:
                self.fail(
                    FleetError(
                        f"{self._address.host}:{self._address.port}: the server is gone for {LOST_S:.0f} s"
                    )
                )
