"""The device's side of the tunnel: delivers what is in an outbox, over whatever the network does.

Frames are sent without waiting for acknowledgements. After a cut, or when acknowledgements are later than the round
trip explains, another connection takes over and everything unacknowledged is sent again; the server knows repetitions
by their seqs. On links with a long round trip a second connection is held ready from the start, and for a while after
each break, because opening one takes three round trips and using it one.

With nothing to send, the only timer is the keepalive of each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import attrs

from walle_core.errors import WalleError
from walle_pipeline.errors import StoreError, TransportClosedError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.contract import Transport
from walle_pipeline.tunnel.dictionary import Codec, Dictionary
from walle_pipeline.tunnel.frames import Code, Data, Dict, Hello, Welcome
from walle_pipeline.tunnel.link import Link, RefusedError, RoundTrip
from walle_pipeline.tunnel.outbox import Outbox, Stream
from walle_pipeline.tunnel.settings import ClientConfig, ClientStats
from walle_pipeline.tunnel.websocket import CONNECT_TIMEOUT, WebSocketTransport

log = logging.getLogger(__name__)

_MAX_LINKS = 3  # one below what the server grants a device, which may still count one that is gone
_FIRST_WAIT = 1.0  # seconds until a first acknowledgement is late, before any round trip was measured
_FIRST_PATIENCE = 3.0  # seconds that connecting may take, before any round trip was measured


class TunnelClient:
    """Delivers the payloads of an outbox; all methods but `__init__` belong to one event loop.

    Arguments:
        token: or a function that gives the token of the day; asked for each connection.
        outbox: stays the caller's to close.
        dictionaries: for compression, the preferred one first; the server's preference goes before.
        on_dictionary: called with a dictionary that the server sent, for example to save it.
        clock, dice: for tests.

    `error` is what stands against delivery and will not go away by itself (not authorised, the server lost records), or
    None; the client nevertheless tries again every `backoff_max`.
    """

    def __init__(
        self,
        url: str,
        *,
        device: str,
        token: str | Callable[[], str],
        outbox: Outbox,
        transport: Transport | None = None,
        tls: Any = None,
        config: ClientConfig | None = None,
        dictionaries: Sequence[Dictionary] = (),
        on_dictionary: Callable[[Dictionary], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        dice: random.Random | None = None,
    ) -> None:
        self.url, self.device, self.outbox = url, device, outbox
        self.config, self.stats = config or ClientConfig(), ClientStats()
        self.error: WalleError | None = None
        self._token, self._tls = token, tls
        self._transport: Transport = transport or WebSocketTransport()
        self._codec, self._preferred = Codec(dictionaries), [d.version for d in dictionaries]
        self._on_dictionary = on_dictionary
        self._clock, self._dice = clock, dice or random.Random()  # noqa: S311
        self._acked = {name: stream.acked for name, stream in outbox.streams.items()}
        self._highest_sent: dict[str, int] = {}
        self._server_dictionaries: list[int] = []
        self._links: list[Link] = []
        self._primary: Link | None = None
        self._round_trip = RoundTrip()
        self._failures = 0
        self._hedges = 0
        self._spare_until = float("-inf")
        self._wake = asyncio.Event()
        self._openers: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._pool: ThreadPoolExecutor | None = None
        self._acks: dict[str, int] = {}
        self._acks_wake = asyncio.Event()
        self._flushes: dict[asyncio.Future[None], dict[str, Stream]] = {}
        self._basing = False
        self._forget_puts: Callable[[], None] = lambda: None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to connect and deliver; returns at once."""
        loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tunnel-outbox")
        self._forget_puts = self.outbox.on_put(lambda: _call_soon(loop, self._on_put))
        self._spare_until = self._clock() + self.config.spare_for
        self._tasks = [
            asyncio.create_task(self._supervise(), name="tunnel supervisor"),
            asyncio.create_task(self._delete(), name="tunnel acknowledgements"),
        ]

    async def stop(self, flush: float = 0.0) -> None:
        """Delivers for at most `flush` seconds more, then ends all connections. What is left stays in the outbox."""
        if flush:
            with contextlib.suppress(WalleError):
                await self.flush(flush)
        self._forget_puts()
        ending = (*self._tasks, *self._openers)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        links, self._links, self._primary = self._links, [], None
        await asyncio.gather(*(link.close("done") for link in links), *self._closing, return_exceptions=True)
        for waiter in self._flushes:
            if not waiter.done():
                waiter.set_exception(TunnelError("the tunnel was closed"))
        if self._pool is not None:
            with contextlib.suppress(StoreError):  # the server says its high water again
                await self._in_pool(self.outbox.ack_many, dict(self._acked))
            self._pool.shutdown()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def send(self, stream: str, payload: bytes, unique_key: str | None = None) -> int:
        """Puts a payload into the outbox; see `Outbox.put_many`."""
        seq: int = await self._in_pool(self.outbox.put, stream, payload, unique_key)
        return seq

    async def flush(self, timeout: float) -> None:  # noqa: ASYNC109
        """Waits until everything that was put before is durable at the server.

        Raises TunnelError after `timeout` seconds, or at once if the server refuses this device.
        """
        if self.error is not None:
            raise self.error
        waiter = asyncio.get_running_loop().create_future()
        self._flushes[waiter] = {name: attrs.evolve(stream) for name, stream in self.outbox.streams.items()}
        self._check_flushes()
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError as error:
            raise TunnelError(
                f"{len(self.outbox)} payloads still wait for {self.url} after {timeout} s"
            ) from error
        finally:
            self._flushes.pop(waiter, None)

    def _check_flushes(self) -> None:
        for waiter, targets in self._flushes.items():
            if not waiter.done():
                if self.error is not None:
                    waiter.set_exception(self.error)
                elif all(self._acked.get(name, 0) >= stream.last for name, stream in targets.items()):
                    waiter.set_result(None)

    async def _in_pool(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _on_put(self) -> None:
        if self._primary is not None:
            self._primary.wake.set()
        elif not self._links:
            self._wake.set()

    async def _delete(self) -> None:
        """Deletes what was acknowledged, in a thread: the disk must not delay frames."""
        while True:
            await self._acks_wake.wait()
            self._acks_wake.clear()
            acks, self._acks = self._acks, {}
            try:
                await self._in_pool(self.outbox.ack_many, acks)
            except StoreError as error:
                log.warning("%s", error)  # harmless: it is tried again with the next acknowledgement
                self._acks = {**acks, **self._acks}

    # -- which links there are ----------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        while True:
            self._wake.clear()
            deadline = self._step(self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._clock())):
                    await self._wake.wait()

    def _step(self, now: float) -> float | None:
        """Does what is due now; when to look again."""
        config = self.config
        deadlines: list[float] = []
        for link in tuple(self._links):
            for sample in link.round_trips:
                self._round_trip.add(sample)
            link.round_trips.clear()
            if link.due is not None:
                dead = (
                    max(link.due, link.heard) + config.dead_after + link.front(config.batch) / config.slowest
                )
                if dead <= now:
                    self._drop(link, TransportClosedError(f"nothing heard for {now - link.heard:.1f} s"))
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
        link, config = self._primary, self.config
        oldest = link.oldest if link is not None else None
        if link is None or oldest is None or link.stalled:
            return None
        wait = _FIRST_WAIT
        if self._round_trip.mean is not None:
            slack = max(config.late, 4 * self._round_trip.deviation)
            wait = max(config.late_least, self._round_trip.mean + slack)
        late = oldest + wait * (1 << min(self._hedges, 6))
        if link.bytes > config.hedge_bytes:
            return max(late, now + wait)
        if late > now:
            return late
        link.stalled = True
        self._hedges += 1
        self.stats.hedges += 1
        self._spare_until = now + config.spare_for
        return None

    def _promote(self) -> None:
        if self._primary is None or self._primary.stalled:
            fresh = [link for link in self._links if not link.stalled and link is not self._primary]
            if fresh:
                self._primary = max(fresh, key=lambda link: (link.welcome is not None, link.opened))
                self._primary.wake.set()

    def _open_if_needed(self, now: float) -> None:
        healthy = sum(not link.stalled for link in self._links)
        wanted = 1 + self._spare_pays(now, healthy > 1)
        missing = wanted - healthy - len(self._openers)
        if self._failures > 1:  # one may be a connection that was cut before it was used
            missing = min(missing, 1 - len(self._openers))
        for _ in range(missing):
            self._make_room()
            opener = asyncio.create_task(self._open(), name="tunnel opener")
            self._openers.add(opener)
        if healthy > wanted:
            for link in self._links:
                if link is not self._primary and not link.bytes and not link.stalled:
                    self._drop(link, None)
                    break

    def _spare_pays(self, now: float, is_there: bool) -> bool:
        """Whether to hold a second connection; what is there is not given up for a round trip that varies a little."""
        trip, least = self._round_trip.mean, self.config.spare_round_trip / (1 + is_there)
        return now < self._spare_until and trip is not None and trip >= least

    def _make_room(self) -> None:
        """Drops the oldest stalled link if the server would not grant one more."""
        stalled = [link for link in self._links if link.stalled and link is not self._primary]
        if stalled and len(self._links) + len(self._openers) >= _MAX_LINKS:
            oldest = min(stalled, key=lambda link: link.opened)
            self._drop(oldest, None)

    async def _open(self) -> None:
        try:
            if self._failures:
                bound = min(
                    self.config.backoff_max, self.config.backoff_first * 2 ** min(self._failures - 1, 30)
                )
                if self.error is not None:
                    bound = self.config.backoff_max
                await asyncio.sleep(self._dice.uniform(0, bound))
            token = self._token if isinstance(self._token, str) else self._token()
            async with asyncio.timeout(self._patience()):
                connection = await self._transport.connect(
                    self.url, device=self.device, token=token, tls=self._tls
                )
        except WalleError as error:
            self._failed(error)
        except TimeoutError:
            self._failed(TransportClosedError(f"{self.url}: no connection in time"))
        except Exception as error:  # of the token's function or a foreign transport
            self._failed(TunnelError(f"{self.url}: {error!r}"))
        else:
            self.stats.connects += 1
            link = Link(connection, self, self._clock)
            names = list(self.outbox.streams)
            hello = Hello(
                self.device, {name: i for i, name in enumerate(names)}, list(self._codec.dictionaries)
            )
            link.start(hello, dict(self._acked))
            self._links.append(link)
        finally:
            self._openers.discard(asyncio.current_task())  # type: ignore[arg-type]
            self._wake.set()

    def _patience(self) -> float:
        """Seconds that connecting may take: some round trips, more after each failure, as a handshake may get lost too."""
        trip = self._round_trip.mean
        first = _FIRST_PATIENCE if trip is None else max(1.0, 8 * trip)
        return min(CONNECT_TIMEOUT, first * 2 ** min(self._failures, 8))

    def _failed(self, error: WalleError) -> None:
        self._failures += 1
        passing = isinstance(error, TransportClosedError) or (
            isinstance(error, RefusedError)
            and error.code in (Code.RETRY, Code.TIMEOUT, Code.LIMIT, Code.DICTIONARY)
        )
        (log.info if passing else log.warning)("tunnel %s: %s", self.url, error)
        if not passing:
            self.error = error
            self._check_flushes()

    def _drop(self, link: Link, error: WalleError | None) -> None:
        """Ends a link; `error` is None if that is planned."""
        if link not in self._links:
            return
        self._links.remove(link)
        if self._primary is link:
            self._primary = None
        if error is not None:
            self.stats.cuts += 1
            self._spare_until = self._clock() + self.config.spare_for
            if isinstance(error, TransportClosedError) and link.progressed:
                self._failures = 0
            else:
                self._failed(error)
            if isinstance(error, RefusedError) and error.code == Code.DICTIONARY:
                self._server_dictionaries = []
        task = asyncio.create_task(link.close("done"))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._wake.set()

    # -- what links ask and say (link.Source) -------------------------------------------------------------------------

    def next_message(self, link: Link) -> bytes | None:
        """See `link.Source`."""
        if link is not self._primary:
            return None
        room = min(self.config.window, link.window) - link.bytes
        if room <= 0:
            return None
        was_idle = not link.bytes
        budget = min(room, self.config.batch)
        version = self._dictionary(link)
        messages: list[bytes] = []
        for name, stream in self.outbox.streams.items():
            after = max(link.sent.get(name, 0), self._acked.get(name, 0))
            if stream.last <= after or not stream.based:
                if not stream.based and link.welcome is not None:
                    self._base_later(link)
                continue
            number = link.stream_id(name)
            for seq, payload in self.outbox.pending(name, after, 1024, budget):
                flags, body = self._codec.pack(payload, version)
                frame = frames.encode(Data(number, seq, flags, body))
                link.flying(name, seq, len(frame))
                messages.append(frame)
                budget -= len(frame)
                self._count(name, seq, len(frame))
            if budget <= 0:
                break
        if not messages:
            return None
        if was_idle:
            self._wake.set()
        return frames.encode_batch(messages)

    def _count(self, name: str, seq: int, size: int) -> None:
        self.stats.sent += 1
        self.stats.sent_bytes += size
        if seq > self._highest_sent.get(name, 0):
            self._highest_sent[name] = seq
        else:
            self.stats.resent += 1

    def _dictionary(self, link: Link) -> int:
        """The version to compress with: the server's preference, else one of ours, which the server is sent."""
        known = link.welcome.dictionaries if link.welcome is not None else self._server_dictionaries
        for version in known:
            if self._codec.knows(version):
                return version
        for version in self._preferred:
            if version in link.dictionaries:
                return version
            if link.welcome is not None:
                link.dictionaries.add(version)
                link.control.append(frames.encode(Dict(version, self._codec.dictionaries[version].data)))
                return version
        return 0

    def _base_later(self, link: Link) -> None:
        """Bases streams that are younger than the link's WELCOME, which said what the server had of them."""

        async def base() -> None:
            try:
                assert link.welcome is not None
                await self._base(link.welcome)
            except WalleError as error:
                self._drop(link, error)
            finally:
                self._basing = False
                link.wake.set()

        if self._basing:
            return
        self._basing = True
        task = asyncio.create_task(base())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _base(self, welcome: Welcome) -> None:
        for name, stream in self.outbox.streams.items():
            high_water = welcome.high_water.get(name, 0)
            based = stream.based
            if based and high_water <= self._acked.get(name, 0):
                continue
            await self._in_pool(self.outbox.base, name, high_water)
            if not based:
                for targets in self._flushes.values():
                    if name in targets and not targets[name].based:
                        targets[name].based = True
                        targets[name].last += high_water
            self._acked[name] = max(self._acked.get(name, 0), high_water)
        self._check_flushes()

    async def welcomed(self, link: Link, welcome: Welcome) -> None:
        """See `link.Source`."""
        for name, seq in link.promised.items():
            if welcome.high_water.get(name, 0) < seq:
                raise TunnelError(
                    f"stream {name}: the server acknowledged {seq} but now stores only "
                    f"{welcome.high_water.get(name, 0)}; restore the server's records, or begin a new outbox"
                )
        await self._base(welcome)
        self.error = None
        self._server_dictionaries = welcome.dictionaries
        for name in self.outbox.streams:
            for other in self._links:
                other.landed(name, self._acked.get(name, 0))
        self._wake.set()

    def acknowledged(self, link: Link, stream: str, seq: int) -> None:
        """See `link.Source`."""
        known = self.outbox.streams.get(stream)
        if known is None or seq > known.last:
            raise TunnelError(f"the server acknowledges {stream} {seq}, which was never put")
        age = link.landed(stream, seq)
        if age is not None:
            self._round_trip.add(age)
        link.stalled = False
        if seq > self._acked.get(stream, 0):
            self._acked[stream] = self._acks[stream] = seq
            self._acks_wake.set()
            self._failures = self._hedges = 0
            for other in self._links:
                if other is not link:
                    other.landed(stream, seq)
            if self._flushes:
                self._check_flushes()

    def learned(self, dictionary: Dictionary) -> None:
        """See `link.Source`."""
        self._codec.add(dictionary)
        if self._on_dictionary is not None:
            self._on_dictionary(dictionary)

    def ended(self, link: Link, error: WalleError) -> None:
        """See `link.Source`."""
        self._drop(link, error)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended; the payload stays in the outbox
        loop.call_soon_threadsafe(callback)
