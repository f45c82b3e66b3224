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
from walle_pipeline.errors import StoreError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.contract import Transport
from walle_pipeline.tunnel.dictionary import Codec, Dictionary
from walle_pipeline.tunnel.frames import Code, Data, Dict, Hello, Welcome
from walle_pipeline.tunnel.link import Link, RefusedError
from walle_pipeline.tunnel.links import Links
from walle_pipeline.tunnel.outbox import Outbox, Stream
from walle_pipeline.tunnel.settings import ClientConfig, ClientStats
from walle_pipeline.tunnel.websocket import WebSocketTransport

log = logging.getLogger(__name__)

SENT_DICTIONARIES = 4  # that servers take from one connection unless they are set otherwise


class TunnelClient:
    """Delivers the payloads of an outbox; all methods but `__init__` belong to one event loop.

    Arguments:
        token: or a function that gives the token of the day; asked for each connection.
        outbox: stays the caller's to close.
        dictionaries: for compression, the preferred one first; the server's preference goes before.
        on_dictionary: called with a dictionary that the server sent, for example to save it.
        clock, dice: for tests.
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
        self._token, self._tls = token, tls
        self._transport: Transport = transport or WebSocketTransport()
        self._codec, self._preferred = Codec(dictionaries), [d.version for d in dictionaries]
        self._own: dict[str, int] = {}  # stream -> version of the dictionary that is its own
        self._on_dictionary = on_dictionary
        self._clock = clock
        self._acked = {name: stream.acked for name, stream in outbox.streams.items()}
        self._highest_sent: dict[str, int] = {}
        self._server_dictionaries: list[int] = []
        self._links = Links(
            url,
            self.config,
            self.stats,
            self._connect,
            self._check_flushes,
            clock,
            dice or random.Random(),  # noqa: S311
        )
        self._deleter: asyncio.Task[None] | None = None
        self._baser: asyncio.Task[None] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._acks: dict[str, int] = {}
        self._acks_wake = asyncio.Event()
        self._flushes: dict[asyncio.Future[None], dict[str, Stream]] = {}
        self._forget_puts: Callable[[], None] = lambda: None

    @property
    def error(self) -> WalleError | None:
        """What stands against delivery and will not go away by itself (not authorised, the server lost records), or None.

        The client nevertheless tries again every `backoff_max`.
        """
        return self._links.error

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to connect and deliver; returns at once."""
        loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tunnel-outbox")
        self._forget_puts = self.outbox.on_put(lambda: _call_soon(loop, self._links.more_to_send))
        self._deleter = asyncio.create_task(self._delete(), name="tunnel acknowledgements")
        self._links.start()

    async def stop(self, flush: float = 0.0) -> None:
        """Delivers for at most `flush` seconds more, then ends all connections. What is left stays in the outbox."""
        if flush:
            with contextlib.suppress(WalleError):
                await self.flush(flush)
        self._forget_puts()
        await self._links.stop()
        if self._baser is not None:
            await asyncio.gather(self._baser, return_exceptions=True)
        if self._deleter is not None:
            self._deleter.cancel()
            await asyncio.gather(self._deleter, return_exceptions=True)
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

    def use(self, stream: str, dictionary: Dictionary | None) -> None:
        """From now on a stream has a dictionary of its own, or none; it is used where the server takes so many."""
        self._own.pop(stream, None)
        if dictionary is not None:
            self._codec.add(dictionary)
            self._own[stream] = dictionary.version

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

    async def _connect(self) -> Link:
        token = self._token if isinstance(self._token, str) else self._token()
        connection = await self._transport.connect(self.url, device=self.device, token=token, tls=self._tls)
        link = Link(connection, self, self._clock)
        streams = {name: i for i, name in enumerate(self.outbox.streams)}
        link.start(Hello(self.device, streams, list(self._codec.dictionaries)), dict(self._acked))
        return link

    # -- what links ask and say (link.Source) -------------------------------------------------------------------------

    def next_message(self, link: Link) -> bytes | None:
        """See `link.Source`."""
        if link is not self._links.primary:
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
            mine = self._announced(link, self._own[name]) if name in self._own else 0
            for seq, payload in self.outbox.pending(name, after, 1024, budget):
                flags, body = self._codec.pack(payload, mine or version)
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
            self._links.look()
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
        return next(filter(None, (self._announced(link, version) for version in self._preferred)), 0)

    def _announced(self, link: Link, version: int) -> int:
        """A dictionary that the server knows, or is sent now; 0 while neither is possible."""
        if version in link.dictionaries:
            return version
        if (
            link.welcome is None
            or len(link.dictionaries.difference(link.welcome.dictionaries)) >= SENT_DICTIONARIES
        ):
            return 0
        link.dictionaries.add(version)
        link.control.append(frames.encode(Dict(version, self._codec.dictionaries[version].data)))
        return version

    def _base_later(self, link: Link) -> None:
        """Bases streams that are younger than the link's WELCOME, which said what the server had of them."""

        async def base() -> None:
            try:
                assert link.welcome is not None
                await self._base(link.welcome)
            except WalleError as error:
                self._links.drop(link, error)
            finally:
                self._baser = None
                link.wake.set()

        if self._baser is None:
            self._baser = asyncio.create_task(base())

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
        self._links.error = None
        self._server_dictionaries = welcome.dictionaries
        for name in self.outbox.streams:
            for other in self._links.all:
                other.landed(name, self._acked.get(name, 0))
        self._links.look()

    def acknowledged(self, link: Link, stream: str, seq: int) -> None:
        """See `link.Source`."""
        known = self.outbox.streams.get(stream)
        if known is None or seq > known.last:
            raise TunnelError(f"the server acknowledges {stream} {seq}, which was never put")
        age = link.landed(stream, seq)
        if age is not None:
            self._links.round_trip.add(age)
        link.stalled = False
        if seq > self._acked.get(stream, 0):
            self._acked[stream] = self._acks[stream] = seq
            self._acks_wake.set()
            self._links.progressed()
            for other in self._links.all:
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
        if isinstance(error, RefusedError) and error.code == Code.DICTIONARY:
            self._server_dictionaries = []
        self._links.drop(link, error)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended; the payload stays in the outbox
        loop.call_soon_threadsafe(callback)
