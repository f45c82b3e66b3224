"""Which connections a client has: when to open one, when one is late or dead, and which of them carries the data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

from walle_core.errors import WalleError
from walle_pipeline.errors import TransportClosedError, TunnelError
from walle_pipeline.tunnel.frames import Code
from walle_pipeline.tunnel.link import Link, RefusedError, RoundTrip
from walle_pipeline.tunnel.settings import ClientConfig, ClientStats
from walle_pipeline.tunnel.websocket import CONNECT_TIMEOUT

log = logging.getLogger(__name__)

_MAX_LINKS = 3  # one below what the server grants a device, which may still count one that is gone
_FIRST_WAIT = 1.0  # seconds until a first acknowledgement is late, before any round trip was measured
_FIRST_PATIENCE = 3.0  # seconds that connecting may take, before any round trip was measured


class Links:
    """The connections of one client; all methods belong to one event loop.

    Arguments:
        connect: opens a connection and gives its link, which works already.
        on_error: called when `error` is set.

    Attributes:
        all: the links that work, or may; primary: the one that carries the data, or None.
        error: see `TunnelClient`.
    """

    def __init__(
        self,
        url: str,
        config: ClientConfig,
        stats: ClientStats,
        connect: Callable[[], Awaitable[Link]],
        on_error: Callable[[], None],
        clock: Callable[[], float],
        dice: random.Random,
    ) -> None:
        self.all: list[Link] = []
        self.primary: Link | None = None
        self.error: WalleError | None = None
        self.round_trip = RoundTrip()
        self._url, self._config, self._stats = url, config, stats
        self._connect, self._on_error = connect, on_error
        self._clock, self._dice = clock, dice
        self._failures = 0
        self._hedges = 0
        self._spare_until = float("-inf")
        self._wake = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._openers: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begins to connect."""
        self._spare_until = self._clock() + self._config.spare_for
        self._supervisor = asyncio.create_task(self._supervise(), name="tunnel supervisor")

    async def stop(self) -> None:
        """Ends all connections."""
        ending = [*self._openers, *([self._supervisor] if self._supervisor is not None else [])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        links, self.all, self.primary = self.all, [], None
        await asyncio.gather(*(link.close("done") for link in links), *self._closing, return_exceptions=True)

    def look(self) -> None:
        """Something changed: what is due is looked at again."""
        self._wake.set()

    def more_to_send(self) -> None:
        """There is more to send."""
        if self.primary is not None:
            self.primary.wake.set()
        elif not self.all:
            self._wake.set()

    def progressed(self) -> None:
        """The server stored something new, so that the network works."""
        self._failures = self._hedges = 0

    async def _supervise(self) -> None:
        while True:
            self._wake.clear()
            deadline = self._step(self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._clock())):
                    await self._wake.wait()

    def _step(self, now: float) -> float | None:
        """Does what is due now; when to look again."""
        config = self._config
        deadlines: list[float] = []
        for link in tuple(self.all):
            for sample in link.round_trips:
                self.round_trip.add(sample)
            link.round_trips.clear()
            if link.due is not None:
                dead = (
                    max(link.due, link.heard) + config.dead_after + link.front(config.batch) / config.slowest
                )
                if dead <= now:
                    self.drop(link, TransportClosedError(f"nothing heard for {now - link.heard:.1f} s"))
                    continue
                deadlines.append(dead)
            else:
                silent = max(link.heard, link.spoke) + config.keepalive
                if silent <= now:
                    link.ping()
                    silent = now + config.dead_after
                deadlines.append(silent)
        late = self._late(now)
        if late is not None:
            deadlines.append(late)
        self._promote()
        self._open_if_needed(now)
        return min(deadlines, default=None)

    def _late(self, now: float) -> float | None:
        """Marks the primary as stalled if its acknowledgements are late; else when they will be."""
        link, config = self.primary, self._config
        oldest = link.oldest if link is not None else None
        if link is None or oldest is None or link.stalled:
            return None
        wait = _FIRST_WAIT
        if self.round_trip.mean is not None:
            slack = max(config.late, 4 * self.round_trip.deviation)
            wait = max(config.late_least, self.round_trip.mean + slack)
        late = oldest + wait * (1 << min(self._hedges, 6))
        if link.bytes > config.hedge_bytes:
            return max(late, now + wait)
        if late > now:
            return late
        link.stalled = True
        self._hedges += 1
        self._stats.hedges += 1
        self._spare_until = now + config.spare_for
        return None

    def _promote(self) -> None:
        if self.primary is None or self.primary.stalled:
            fresh = [link for link in self.all if not link.stalled and link is not self.primary]
            if fresh:
                self.primary = max(fresh, key=lambda link: (link.welcome is not None, link.opened))
                self.primary.wake.set()

    def _open_if_needed(self, now: float) -> None:
        healthy = sum(not link.stalled for link in self.all)
        wanted = 1 + self._spare_pays(now, healthy > 1)
        missing = wanted - healthy - len(self._openers)
        if self._failures > 1:  # one may be a connection that was cut before it was used
            missing = min(missing, 1 - len(self._openers))
        for _ in range(missing):
            self._make_room()
            opener = asyncio.create_task(self._open(), name="tunnel opener")
            self._openers.add(opener)
        if healthy > wanted:
            for link in self.all:
                if link is not self.primary and not link.bytes and not link.stalled:
                    self.drop(link, None)
                    break

    def _spare_pays(self, now: float, is_there: bool) -> bool:
        """Whether to hold a second connection; what is there is not given up for a round trip that varies a little."""
        trip, least = self.round_trip.mean, self._config.spare_round_trip / (1 + is_there)
        return now < self._spare_until and trip is not None and trip >= least

    def _make_room(self) -> None:
        """Drops the oldest stalled link if the server would not grant one more."""
        stalled = [link for link in self.all if link.stalled and link is not self.primary]
        if stalled and len(self.all) + len(self._openers) >= _MAX_LINKS:
            oldest = min(stalled, key=lambda link: link.opened)
            self.drop(oldest, None)

    async def _open(self) -> None:
        try:
            if self._failures:
                bound = min(
                    self._config.backoff_max, self._config.backoff_first * 2 ** min(self._failures - 1, 30)
                )
                if self.error is not None:
                    bound = self._config.backoff_max
                await asyncio.sleep(self._dice.uniform(0, bound))
            async with asyncio.timeout(self._patience()):
                link = await self._connect()
        except WalleError as error:
            self._failed(error)
        except TimeoutError:
            self._failed(TransportClosedError(f"{self._url}: no connection in time"))
        except Exception as error:  # of the token's function or a foreign transport
            self._failed(TunnelError(f"{self._url}: {error!r}"))
        else:
            self._stats.connects += 1
            self.all.append(link)
        finally:
            self._openers.discard(asyncio.current_task())  # type: ignore[arg-type]
            self._wake.set()

    def _patience(self) -> float:
        """Seconds that connecting may take: some round trips, more after each failure, as a handshake may get lost too."""
        trip = self.round_trip.mean
        first = _FIRST_PATIENCE if trip is None else max(1.0, 8 * trip)
        return min(CONNECT_TIMEOUT, first * 2 ** min(self._failures, 8))

    def _failed(self, error: WalleError) -> None:
        self._failures += 1
        passing = isinstance(error, TransportClosedError) or (
            isinstance(error, RefusedError)
            and error.code in (Code.RETRY, Code.TIMEOUT, Code.LIMIT, Code.DICTIONARY)
        )
        (log.info if passing else log.warning)("tunnel %s: %s", self._url, error)
        if not passing:
            self.error = error
            self._on_error()

    def drop(self, link: Link, error: WalleError | None) -> None:
        """Ends a link; `error` is None if that is planned."""
        if link not in self.all:
            return
        self.all.remove(link)
        if self.primary is link:
            self.primary = None
        if error is not None:
            self._stats.cuts += 1
            self._spare_until = self._clock() + self._config.spare_for
            if isinstance(error, TransportClosedError) and link.progressed:
                self._failures = 0
            else:
                self._failed(error)
        task = asyncio.create_task(link.close("done"))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._wake.set()
