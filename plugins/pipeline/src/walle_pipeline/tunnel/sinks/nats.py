"""NATS JetStream as the server's sink; needs the extra `nats`.

One stream holds everything; one subject per device and stream. A message holds a run of records without gaps, and is
published on the condition that the last message of its subject is still the one that was seen before
(``Nats-Expected-Last-Subject-Sequence``). That condition, not the dedup window, makes every record exactly once and
leaves no gap, whatever is repeated, lost or written by two servers at the same time, however late. ``Nats-Msg-Id``
(device/stream/seq of the first record) spares the server the work for repetitions within the window.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from walle_core.errors import InputError
from walle_pipeline.errors import StoreError
from walle_pipeline.tunnel.contract import Consumer, Record

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

T = TypeVar("T")

TRIES = 8  # of a write that finds other records stored meanwhile
FILL = 15  # sixteenths of the server's largest message that a run of records may take
PAGE = 64  # messages that are asked for at once
REDELIVER_S = 60.0
_WRONG_LAST = 10071  # JetStream: "wrong last sequence"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, float, bytes]]).decode


class NatsSink:
    """Stores records in the JetStream stream `stream`, kept `replicas` times; see `contract.Sink`.

    Bodies are MessagePack: a list of (seq, received in s, payload); the headers Walle-First and Walle-Last give the
    first and last seq, Walle-Device and Walle-Stream the names. The stream must not drop the last message of a subject
    (max_age, max_bytes): it says what is stored. Messages before the last may be purged when they are consumed.

    A record that leaves a gap is refused with StoreError. `timeout` in seconds, of every request.
    """

    name = "nats"

    def __init__(
        self,
        servers: str | Sequence[str] = "nats://127.0.0.1:4222",
        *,
        stream: str = "WALLE",
        prefix: str = "walle",
        replicas: int = 1,
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        """`options` go to `nats.connect` (user, password, tls). Raises InputError for a bad name."""
        if _UNSAFE.search(stream) or any(_UNSAFE.search(token) for token in prefix.split(".")) or not prefix:
            raise InputError(
                f"stream {stream!r}, prefix {prefix!r}: only letters, digits, '_' and '-' are allowed"
            )
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        self._stream, self._prefix, self._replicas = stream, prefix, replicas
        self._timeout, self._options = timeout, options
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._marks: dict[
            str, tuple[int, int]
        ] = {}  # subject -> sequence in the stream, last seq; only if certain
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    async def open(self) -> None:
        """See `contract.Sink`. Connects within `timeout`; later interruptions are bridged by connecting again."""
        try:
            import nats
            from nats.js import api, errors
        except ImportError as error:
            raise StoreError("nats-py is not installed: pip install 'walle-pipeline[nats]'") from error
        settings = {
            "connect_timeout": self._timeout,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.2,
            "ping_interval": 10,
            "error_cb": _ignore,
            **self._options,
        }
        attempt = asyncio.ensure_future(nats.connect(self._servers, **settings))
        try:
            self._client = await asyncio.wait_for(attempt, self._timeout)
            self._js = self._client.jetstream(timeout=self._timeout)
            config = api.StreamConfig(
                name=self._stream,
                subjects=[f"{self._prefix}.*.*"],
                storage=api.StorageType.FILE,
                num_replicas=self._replicas,
                discard=api.DiscardPolicy.NEW,
            )
            try:
                await self._js.stream_info(self._stream)
            except errors.NotFoundError:
                await self._js.add_stream(config)
        except Exception as error:
            await self.close()
            raise StoreError(
                f"NATS at {', '.join(self._servers)}: {_said(error)}; is it running, with JetStream enabled and at "
                f"least {self._replicas} servers?"
            ) from error

    async def close(self) -> None:
        """See `contract.Sink`."""
        client, self._client, self._js = self._client, None, None
        self._marks.clear()
        if client is not None:
            await client.close()

    async def write(self, records: Sequence[Record]) -> None:
        """See `contract.Sink`. Streams are written at the same time, each in order."""
        if self._js is None:
            raise StoreError("the NATS sink is not open")
        ordered = sorted(records, key=lambda record: (record.device, record.stream, record.seq))
        runs = [list(run) for _, run in groupby(ordered, key=lambda record: (record.device, record.stream))]
        results = await asyncio.gather(*(self._write_run(run) for run in runs), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def high_water(self, device: str) -> Mapping[str, int]:
        """See `contract.Sink`. One request per stream of the device."""
        subjects = await self._subjects(f"{self._prefix}.{token(device)}.*")
        marks = await asyncio.gather(*(self._read_mark(subject) for subject in subjects))
        return {
            untoken(s.rsplit(".", 1)[1]): mark[1] for s, mark in zip(subjects, marks, strict=True) if mark[1]
        }

    async def consumer(self, stream: str, name: str) -> Consumer:
        """See `contract.Consumed`. `name`: of the durable consumer of JetStream; letters, digits, '_' and '-'."""
        from nats.js import api

        js = self._js
        if js is None:
            raise StoreError("the NATS sink is not open")
        if _UNSAFE.search(name) or not name:
            raise InputError(f"consumer {name!r}: only letters, digits, '_' and '-' are allowed")
        config = api.ConsumerConfig(
            ack_policy=api.AckPolicy.EXPLICIT, ack_wait=REDELIVER_S, max_ack_pending=4096
        )
        subject = f"{self._prefix}.*.{token(stream)}"
        pull = await self._request(
            lambda: js.pull_subscribe(subject, durable=name, stream=self._stream, config=config)
        )
        return NatsConsumer(self, pull)

    async def records(self, device: str | None = None, stream: str | None = None) -> AsyncIterator[Record]:
        """See `contract.Sink`. What is written meanwhile may or may not come."""
        names = ["*" if name is None else token(name) for name in (device, stream)]
        found = await self._subjects(".".join([self._prefix, *names]))
        for subject in sorted(found, key=lambda s: [untoken(part) for part in s.split(".")[-2:]]):
            of_device, of_stream = (untoken(part) for part in subject.split(".")[-2:])
            async for body in self._bodies(subject):
                for seq, received, payload in _decode(body):
                    yield Record(of_device, of_stream, seq, payload, received)

    async def _write_run(self, run: list[Record]) -> None:
        """Stores records of one subject, in order of seq."""
        subject = f"{self._prefix}.{token(run[0].device)}.{token(run[0].stream)}"
        lock = self._locks.setdefault(subject, asyncio.Lock())
        self._waiting[subject] = self._waiting.get(subject, 0) + 1
        try:
            async with lock:
                conflicts = 0
                while True:
                    mark = self._marks.get(subject) or await self._read_mark(subject)
                    new = [record for record in run if record.seq > mark[1]]
                    if not new:
                        return
                    part = self._part(new, mark[1])
                    if not await self._publish(subject, part, mark):
                        conflicts += 1
                        if conflicts == TRIES:
                            raise StoreError(f"{subject}: {TRIES} other writers were faster; write again")
        except BaseException:
            self._marks.pop(subject, None)
            raise
        finally:
            self._waiting[subject] -= 1
            if not self._waiting[subject]:
                del self._waiting[subject], self._locks[subject]

    def _part(self, new: list[Record], last: int) -> list[Record]:
        """The first of `new` that follow `last` without a gap and fit into one message."""
        assert self._client is not None
        room = self._client.max_payload * FILL // 16
        part: list[Record] = []
        for record in new:
            if record.seq == last:
                continue
            room -= len(record.payload) + 32
            if record.seq != last + 1 or (room < 0 and part):
                break
            part.append(record)
            last = record.seq
        if not part:
            raise StoreError(f"{new[0].device}/{new[0].stream}: seq {new[0].seq} leaves a gap after {last}")
        if room < 0 and len(part) == 1 and len(part[0].payload) + 1024 > self._client.max_payload:
            raise StoreError(
                f"a payload of {len(part[0].payload)} bytes; NATS takes {self._client.max_payload}: set max_payload in "
                "its configuration to 2MB"
            )
        return part

    async def _publish(self, subject: str, part: list[Record], mark: tuple[int, int]) -> bool:
        """False if others have written to the subject; raises StoreError."""
        assert self._js is not None
        first, last = part[0], part[-1]
        headers = {
            "Nats-Msg-Id": f"{token(first.device)}/{token(first.stream)}/{first.seq}",
            "Nats-Expected-Stream": self._stream,
            "Nats-Expected-Last-Subject-Sequence": str(mark[0]),
            "Walle-First": str(first.seq),
            "Walle-Last": str(last.seq),
            "Walle-Device": token(first.device),
            "Walle-Stream": token(first.stream),
        }
        body = _encode([(record.seq, record.received, record.payload) for record in part])
        js = self._js
        self._marks.pop(subject, None)
        try:
            ack = await self._request(
                lambda: js.publish(subject, body, timeout=self._timeout, headers=headers)
            )
        except StoreError as error:
            if getattr(error.__cause__, "err_code", None) == _WRONG_LAST:
                return False
            raise
        if ack.duplicate:
            return False  # the earlier message with this id may hold fewer records
        self._marks[subject] = ack.seq, last.seq
        return True

    async def _read_mark(self, subject: str) -> tuple[int, int]:
        """Sequence in the stream and last seq of the last message of a subject, asked of the stream's leader."""
        from nats.js.errors import NotFoundError

        assert self._js is not None
        js = self._js

        async def last() -> tuple[int, int]:
            try:
                message = await js.get_last_msg(self._stream, subject, direct=False)
            except NotFoundError:
                return 0, 0
            return int(message.seq or 0), int((message.headers or {})["Walle-Last"])

        return await self._request(last)

    async def _subjects(self, pattern: str) -> list[str]:
        """The subjects with messages that fit `pattern`."""
        client = self._client
        if client is None:
            raise StoreError("the NATS sink is not open")
        found: set[str] = set()
        while True:
            query = json.dumps({"subjects_filter": pattern, "offset": len(found)}).encode()
            topic = f"$JS.API.STREAM.INFO.{self._stream}"
            reply = await self._request(lambda q=query, t=topic: client.request(t, q, timeout=self._timeout))  # type: ignore[misc]
            answer = json.loads(reply.data)
            if "error" in answer:
                raise StoreError(f"NATS: {answer['error'].get('description', answer['error'])}")
            page = answer["state"].get("subjects") or {}
            before = len(found)
            found.update(page)
            if len(found) == before or len(found) >= answer.get("total", 0):
                return sorted(found)

    async def _bodies(self, subject: str) -> AsyncIterator[bytes]:
        from nats.js import api

        js = self._js
        if js is None:
            raise StoreError("the NATS sink is not open")
        config = api.ConsumerConfig(
            ack_policy=api.AckPolicy.NONE, deliver_policy=api.DeliverPolicy.ALL, inactive_threshold=60
        )
        pull = await self._request(
            lambda: js.pull_subscribe(subject, durable=None, stream=self._stream, config=config)
        )
        try:
            left = (await self._request(pull.consumer_info)).num_pending
            while left:
                batch = min(left, PAGE)
                messages = await self._request(lambda n=batch: pull.fetch(n, timeout=self._timeout))  # type: ignore[misc]
                for message in messages:
                    yield message.data
                left -= len(messages)
        finally:
            info = await self._request(pull.consumer_info)
            await pull.unsubscribe()
            await self._request(lambda: js.delete_consumer(self._stream, info.name))

    async def _request(self, call: Callable[[], Awaitable[T]]) -> T:
        """The result of `call`. Raises StoreError for all that nats-py raises."""
        try:
            return await call()
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(f"NATS at {', '.join(self._servers)}: {_said(error)}") from error


class NatsConsumer:
    """A durable consumer; see `contract.Consumer`. What was taken comes again `REDELIVER_S` after it was, unless done."""

    def __init__(self, sink: NatsSink, pull: Any) -> None:
        self._sink, self._pull = sink, pull
        self._taken: list[Any] = []

    async def take(self, wait: float) -> Sequence[Record]:
        """See `contract.Consumer`."""

        async def fetch() -> list[Any]:
            try:
                return list(await self._pull.fetch(PAGE, timeout=max(wait, 0.01)))
            except TimeoutError:  # nats-py's own is one of these; fetch raises both
                return []

        messages = await self._sink._request(fetch)
        self._taken += messages
        found: list[Record] = []
        for message in messages:
            device, stream = (untoken(part) for part in message.subject.split(".")[-2:])
            found += (Record(device, stream, seq, payload, at) for seq, at, payload in _decode(message.data))
        return found

    async def done(self) -> None:
        """See `contract.Consumer`."""
        while self._taken:
            message = self._taken[-1]
            await self._sink._request(lambda m=message: m.ack_sync(self._sink._timeout))  # type: ignore[misc]
            self._taken.pop()

    async def close(self) -> None:
        """See `contract.Consumer`."""
        await self._sink._request(self._pull.unsubscribe)


def token(name: str) -> str:
    """`name` as one token of a subject: other than letters, digits, '_' and '-' become '=', their code in hex, '='."""
    return "".join(f"={ord(c):x}=" if _UNSAFE.match(c) else c for c in name)


def untoken(text: str) -> str:
    """The inverse of `token`."""
    return re.sub("=([0-9a-f]+)=", lambda found: chr(int(found[1], 16)), text)


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def _ignore(error: Exception) -> None:
    """nats-py prints errors of reconnecting otherwise; requests report their own."""
