"""A TCP proxy that misbehaves on purpose, the same way for the same seed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from typing import Self

import attrs

CHUNK = 64 << 10  # bytes read at once


@attrs.define
class Weather:
    """What happens to bytes; may be changed while the proxy runs.

    Attributes:
        delay: seconds one way; `jitter`: up to so many more, the order is kept.
        cut: probability per chunk that both sides of its connection are closed instead of forwarding it.
        cuts_per_second: rate at which a live connection is closed at a random moment.
        freeze: probability per chunk that its connection stays open and forwards nothing any more.
        corrupt: probability per chunk that one of its bytes is changed.
        refuse: whether new connections are closed at once.
    """

    delay: float = 0.0
    jitter: float = 0.0
    cut: float = 0.0
    cuts_per_second: float = 0.0
    freeze: float = 0.0
    corrupt: float = 0.0
    refuse: bool = False


@attrs.define(eq=False)
class _Link:
    """One proxied connection."""

    writers: list[asyncio.StreamWriter]
    frozen: bool = False


class ChaosProxy:
    """Forwards TCP connections to (host, port) through `weather`; an async context manager.

    `url(scheme)` gives where to connect. `cuts`, `freezes`, `corruptions`, `connections` count what happened.
    """

    def __init__(self, host: str, port: int, weather: Weather | None = None, *, seed: int = 0) -> None:
        self._target = (host, port)
        self.weather = weather or Weather()
        self._random = random.Random(seed)  # noqa: S311
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.connections = self.cuts = self.freezes = self.corruptions = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, scheme: str = "ws") -> str:
        """The tunnel's URL through this proxy."""
        return f"{scheme}://127.0.0.1:{self.port}/tunnel"

    def cut_all(self) -> None:
        """Closes all live connections now."""
        for link in tuple(self._links):
            self._cut(link)

    def freeze_all(self) -> None:
        """Leaves all live connections open without forwarding anything more; new ones work."""
        for link in self._links:
            link.frozen = True
            self.freezes += 1

    def _cut(self, link: _Link) -> None:
        self.cuts += 1
        for writer in link.writers:
            if writer.transport is not None:
                writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        link = _Link([writer])
        self._links.add(link)
        try:
            if not self.weather.refuse:
                await self._serve(link, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            self._tasks.discard(task)
            for end in link.writers:
                end.close()
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await end.wait_closed()

    async def _serve(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        link.writers.append(far_writer)
        works = [self._forward(link, reader, far_writer), self._forward(link, far_reader, writer)]
        if self.weather.cuts_per_second:
            works.append(self._cut_some_time(link))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _cut_some_time(self, link: _Link) -> None:
        await asyncio.sleep(self._random.expovariate(self.weather.cuts_per_second))
        self._cut(link)

    async def _forward(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: chunks wait in a queue until they are due, so the delay does not limit the rate."""
        loop = asyncio.get_running_loop()
        queue: deque[tuple[float, bytes]] = deque()
        filled = asyncio.Event()

        async def fill() -> None:
            due = 0.0
            while True:
                chunk = await reader.read(CHUNK)
                weather = self.weather
                due = max(due, loop.time() + weather.delay + self._random.random() * weather.jitter)
                queue.append((due, chunk))
                filled.set()
                if not chunk:
                    return

        filler = asyncio.create_task(fill())
        try:
            while True:
                await filled.wait()
                due, chunk = queue.popleft()
                if not queue:
                    filled.clear()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if not chunk and not link.frozen:
                    return
                await self._pass(link, chunk, writer)
        finally:
            filler.cancel()
            await asyncio.gather(filler, return_exceptions=True)

    async def _pass(self, link: _Link, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        weather, dice = self.weather, self._random
        if weather.freeze and dice.random() < weather.freeze:
            link.frozen = True
            self.freezes += 1
        if link.frozen or not chunk:
            return
        if weather.cut and dice.random() < weather.cut:
            self._cut(link)
            return
        if weather.corrupt and dice.random() < weather.corrupt:
            changed = bytearray(chunk)
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            chunk = bytes(changed)
            self.corruptions += 1
        writer.write(chunk)
        await writer.drain()
