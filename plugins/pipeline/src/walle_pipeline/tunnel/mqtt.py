"""MQTT 5 as the tunnel's transport, through a broker; needs the extra `mqtt`.

Topics, for a device and one connection of it (32 hexadecimal digits):

    walle/open/<device>/<connection>   the device asks for a connection; servers share the subscription
    walle/up/<device>/<connection>     from the device; its last will, too
    walle/down/<device>/<connection>   to the device
    walle/server/<server>              the last will of a server

The broker says who a device is: it checks the token as password of the user <device>, and lets this user write and read
topics with its own name only (`ACCESS` is such a list for Mosquitto). A message has 5 bytes in front: its kind, and a
32-bit count per direction, by which a lost message ends the connection and a repeated one is dropped. All have QoS 1.
At most `WINDOW` frames travel without having been consumed, so that nobody's queue grows without bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import SplitResult, urlsplit

from walle_pipeline.errors import FrameError, TransportClosedError, TunnelError
from walle_pipeline.tunnel.contract import MAX_FRAME, Connection

CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_TIMEOUT = 1.0  # seconds until another server is asked
CLOSE_TIMEOUT = 2.0  # seconds
SEND_TIMEOUT = 30.0  # seconds that the other side may take nothing
KEEPALIVE = 30  # seconds; the broker announces a silent device after one and a half of them
WINDOW = 32  # frames
MAX_PACKET = MAX_FRAME + 1024  # bytes, topic and properties included
IN_FLIGHT = 16  # messages that the broker has not confirmed; Mosquitto ends clients with more than 20
WAITING = 1024  # connections that nobody has taken yet
FRAME, OPEN, ACCEPT, CREDIT, CLOSE = range(5)

ACCESS = """\
# The tunnel's server; its user name and password are given to MqttListener.
user server
topic read walle/open/#
topic read walle/up/#
topic write walle/down/#
topic write walle/server/#

# Every device, under its own name only.
pattern write walle/open/%u/+
pattern write walle/up/%u/+
pattern read walle/down/%u/+
pattern read walle/server/+
"""

_HEAD = struct.Struct(">BI")
_NAME = re.compile(r"[^/+#$\x00-\x1f][^/+#\x00-\x1f]{0,127}")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
_LOST = _HEAD.pack(CLOSE, 0) + b"lost"  # the count of a last will cannot be known in advance
_NEVER = {
    0x84,
    0x85,
    0x86,
    0x87,
    0x8A,
    0x8C,
}  # reason codes: version, client id, password, not authorised, banned


class MqttConnection:
    """One end of a connection; a `contract.Connection`."""

    def __init__(
        self,
        device: str,
        publish: Callable[[bytes], Coroutine[Any, Any, None]],
        ended: Callable[[], Awaitable[None]],
        counts: tuple[int, int] = (0, 0),
    ) -> None:
        """`publish` sends a message to the other end, `ended` is awaited once; `counts`: messages sent and received."""
        self.device = device
        self._publish, self._ended = publish, ended
        self._sent, self._received = counts
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._credit = WINDOW  # frames that may be sent
        self._taken = 0  # frames consumed that the other side has not been told of
        self._changed = asyncio.Event()
        self._running: set[asyncio.Future[None]] = set()  # publications that the broker has not confirmed
        self._reason: str | None = None
        self._finishing: asyncio.Task[None] | None = None

    async def send(self, frame: bytes) -> None:
        """See `contract.Connection`. Raises FrameError if it is longer than MAX_FRAME."""
        if len(frame) > MAX_FRAME:
            raise FrameError(f"a frame of {len(frame)} bytes; at most {MAX_FRAME} are allowed")
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                while self._credit <= 0 and self._reason is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self.end("slow reader")
        self._require_open()
        self._credit -= 1
        self._message(FRAME, frame)
        await asyncio.sleep(0)  # a caller that never waits otherwise would starve the network

    async def receive(self) -> bytes:
        """See `contract.Connection`."""
        if self._frames.empty():
            self._require_open()
        frame = await self._frames.get()
        if frame is None:
            self._frames.put_nowait(None)
            raise TransportClosedError(self._reason or "closed")
        self._taken += 1
        if self._taken >= WINDOW // 2 and self._reason is None:
            taken, self._taken = self._taken, 0
            self._message(CREDIT, taken.to_bytes(4))
        return frame

    async def close(self, reason: str = "") -> None:
        """See `contract.Connection`. Waits at most a few CLOSE_TIMEOUT for the broker."""
        self.end(reason or "closed")
        if self._finishing is not None:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._finishing)

    def end(self, reason: str, *, tell: bool = True) -> None:
        """No more frames, and says so to the other end; those that have come can still be received."""
        if self._reason is None:
            self._reason = reason
            self._changed.set()
            self._frames.put_nowait(None)
            if tell:
                self._message(CLOSE, reason.encode()[:100])
            self._finishing = asyncio.ensure_future(self._finish(CLOSE_TIMEOUT if tell else 0))

    async def _finish(self, patience: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=patience)
        for task in self._running:
            task.cancel()
        await self._ended()

    def arrived(self, message: bytes) -> None:
        """Takes a message of the other end."""
        if self._reason is not None:
            return
        if len(message) < _HEAD.size:
            self.end("a message is too short")
            return
        kind, count = _HEAD.unpack_from(message)
        body = message[_HEAD.size :]
        if kind == CLOSE:
            self.end(body.decode("utf-8", "replace") or "closed by the other side", tell=False)
            return
        behind = (self._received - count) & 0xFFFFFFFF
        if 0 < behind < 1 << 31:
            return  # repeated
        if behind:
            self.end("a message was lost")
            return
        self._received = (count + 1) & 0xFFFFFFFF
        if kind == FRAME and len(body) <= MAX_FRAME and self._frames.qsize() < 2 * WINDOW:
            self._frames.put_nowait(body)
        elif kind == CREDIT and len(body) == 4:
            self._credit = min(WINDOW, self._credit + int.from_bytes(body))
            self._changed.set()
        else:
            self.end(f"a message of kind {kind} with {len(body)} bytes is not allowed here")

    def _message(self, kind: int, body: bytes) -> None:
        head = _HEAD.pack(kind, self._sent)
        self._sent = (self._sent + 1) & 0xFFFFFFFF
        # Tasks start in the order in which they are made. Nobody waits for the broker here: the credit bounds how many run.
        task = asyncio.ensure_future(self._publish(head + body))
        self._running.add(task)
        task.add_done_callback(self._published)

    def _published(self, task: asyncio.Future[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(f"MQTT: {_said(error)}", tell=False)

    def _require_open(self) -> None:
        if self._reason is not None:
            raise TransportClosedError(self._reason)


class Unanswered(Exception):
    """No server has taken the connection in time."""


class MqttTransport:
    """The device's side; a `contract.Transport`. The token is the password of the user <device> at the broker.

    URLs: ``mqtts://broker[:8883]``, or ``mqtt://broker[:1883]`` without encryption.
    """

    name: str = "mqtt"
    schemes: tuple[str, ...] = ("mqtts", "mqtt")

    async def connect(self, url: str, *, device: str, token: str, tls: Any = None) -> Connection:
        """See `contract.Transport`. Raises TransportClosedError, too, if no server answers through the broker."""
        parts = _split(url)
        if not _NAME.fullmatch(device):
            raise TunnelError(
                f"device {device!r}: 1 to 128 characters without / + # and control characters are needed"
            )
        if not _CREDENTIAL.fullmatch(token):
            raise TunnelError("the token must be 1 to 4096 printable ASCII characters without spaces")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                while True:
                    try:
                        return await self._attempt(parts, device, token, tls)
                    except Unanswered:
                        continue
        except TunnelError:
            raise
        except Exception as error:
            raise _explained(url, error) from error

    async def _attempt(self, parts: SplitResult, device: str, token: str, tls: Any) -> Connection:
        """One try, with a number of its own: two servers must never answer for one connection. Raises Unanswered."""
        number = secrets.token_hex(16)
        up, down = f"walle/up/{device}/{number}", f"walle/down/{device}/{number}"
        stack = contextlib.AsyncExitStack()
        client = None
        try:
            client = await stack.enter_async_context(
                _client(parts, device, token, tls, f"walle-{number}", will=(up, _LOST))
            )
            _retrieved(client)
            await client.subscribe(down, qos=1)
            await client.publish(f"walle/open/{device}/{number}", _HEAD.pack(OPEN, 0), qos=1)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT):
                    accept = bytes((await anext(client.messages)).payload)
            except TimeoutError as error:
                raise Unanswered from error
            if accept[: _HEAD.size] != _HEAD.pack(ACCEPT, 0):
                raise TransportClosedError(f"refused: {accept[_HEAD.size :].decode('utf-8', 'replace')}")
            await client.subscribe(f"walle/server/{accept[_HEAD.size :].decode()}", qos=1)
        except BaseException:
            with contextlib.suppress(Exception):
                if client is not None:
                    await client.publish(up, _LOST, qos=1, timeout=CLOSE_TIMEOUT)
            with contextlib.suppress(Exception):
                await stack.aclose()
            raise

        async def publish(message: bytes) -> None:
            await client.publish(up, message, qos=1, timeout=SEND_TIMEOUT)

        async def ended() -> None:
            reader.cancel()
            with contextlib.suppress(Exception):
                await stack.aclose()

        async def read() -> None:
            try:
                async for message in client.messages:
                    if str(message.topic) == down:
                        connection.arrived(bytes(message.payload))
                    else:
                        connection.end("the server is gone", tell=False)
            except Exception as error:
                connection.end(f"MQTT: {_said(error)}", tell=False)

        connection = MqttConnection(device, publish, ended, (0, 1))
        reader = asyncio.create_task(read(), name="tunnel mqtt")
        return connection


class MqttListener:
    """The server's side; a `contract.Listener`. Several servers on one broker share the devices.

    `user` and `password` are the server's at the broker. The broker's ``max_packet_size`` must allow MAX_PACKET, and
    its queue per client (``max_queued_messages`` of Mosquitto) WINDOW messages for every device; 0 means no limit.
    """

    name: str = "mqtt"

    def __init__(self, url: str, *, user: str = "server", password: str = "", tls: Any = None) -> None:
        """Touches no network. Raises TunnelError for a bad URL."""
        self._url, self._parts = url, _split(url)
        self._user, self._password, self._tls = user, password, tls
        self.listening = asyncio.Event()

    async def connections(self) -> AsyncGenerator[Connection, None]:
        """See `contract.Listener`. Connects to the broker again whenever that breaks, which ends all connections.

        Raises TunnelError if the broker will never let this server in.
        """
        pause = 0.1
        while True:
            try:
                async with contextlib.aclosing(self._session()) as session:
                    async for connection in session:
                        pause = 0.1
                        yield connection
            except TransportClosedError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _session(self) -> AsyncGenerator[Connection, None]:
        """The connections until the one to the broker breaks: raises TransportClosedError then."""
        number = secrets.token_hex(16)
        live: dict[str, MqttConnection] = {}
        made: asyncio.Queue[Connection | None] = asyncio.Queue(WAITING)
        failure: Exception | None = None
        stack = contextlib.AsyncExitStack()
        reader: asyncio.Task[None] | None = None
        opening: set[asyncio.Task[None]] = set()

        async def accept(client: Any, name: str) -> None:
            device = name.partition("/")[0]

            async def publish(message: bytes) -> None:
                await client.publish(f"walle/down/{name}", message, qos=1, timeout=SEND_TIMEOUT)

            async def ended() -> None:
                live.pop(name, None)
                with contextlib.suppress(Exception):
                    await client.unsubscribe(f"walle/up/{name}")

            connection = live[name] = MqttConnection(device, publish, ended, (1, 0))
            try:
                await client.subscribe(f"walle/up/{name}", qos=1)
                await publish(_HEAD.pack(ACCEPT, 0) + number.encode())
                made.put_nowait(connection)
            except Exception as error:
                connection.end(f"MQTT: {_said(error)}", tell=False)

        async def read(client: Any) -> None:
            nonlocal failure
            try:
                async for message in client.messages:
                    _, kind, name = str(message.topic).split("/", 2)
                    if kind == "up" and name in live:
                        live[name].arrived(bytes(message.payload))
                    elif kind == "open" and name not in live and not made.full():
                        task = asyncio.create_task(accept(client, name))
                        opening.add(task)
                        task.add_done_callback(opening.discard)
            except Exception as error:
                failure = error
            while made.full():
                made.get_nowait()
            made.put_nowait(None)

        try:
            try:
                will = (f"walle/server/{number}", b"gone")
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    client = await stack.enter_async_context(
                        _client(
                            self._parts,
                            self._user,
                            self._password,
                            self._tls,
                            f"walle-server-{number}",
                            will=will,
                        )
                    )
                    _retrieved(client)
                    await client.subscribe("$share/walle/walle/open/+/+", qos=1)
            except Exception as error:
                raise _explained(self._url, error) from error
            reader = asyncio.create_task(read(client), name="tunnel mqtt listener")
            self.listening.set()
            while (connection := await made.get()) is not None:
                yield connection
            raise TransportClosedError(f"{self._url}: {_said(failure)}")
        finally:
            self.listening.clear()
            for task in (*opening, *([reader] if reader else [])):
                task.cancel()
            for one in tuple(live.values()):
                if failure is None:
                    await one.close("the server stops")
                one.end("the connection to the broker broke", tell=False)
            with contextlib.suppress(Exception):
                await stack.aclose()
            await asyncio.gather(*opening, *([reader] if reader else []), return_exceptions=True)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = parts.scheme in MqttTransport.schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise TunnelError(f"{url!r}: the URL begins with mqtts:// or mqtt:// and names a host")
    return parts


def _client(
    parts: SplitResult, user: str, password: str, tls: Any, name: str, *, will: tuple[str, bytes]
) -> contextlib.AbstractAsyncContextManager[Any]:
    """A client of the broker; raises TunnelError where that can never be."""
    try:
        import aiomqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties
    except ImportError as error:
        raise TunnelError("aiomqtt is not installed: pip install 'walle-pipeline[mqtt]'") from error
    import ssl

    secure = parts.scheme == "mqtts"
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = MAX_PACKET
    properties.ReceiveMaximum = 1000
    properties.SessionExpiryInterval = 0
    client = aiomqtt.Client(
        parts.hostname or "",
        parts.port or (8883 if secure else 1883),
        username=user,
        password=password,
        identifier=name,
        protocol=aiomqtt.ProtocolVersion.V5,
        will=aiomqtt.Will(*will, qos=1),
        clean_start=True,
        keepalive=KEEPALIVE,
        properties=properties,
        tls_context=(tls or ssl.create_default_context()) if secure else None,
        timeout=CONNECT_TIMEOUT,
        max_inflight_messages=IN_FLIGHT,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    client.pending_calls_threshold = 1 << 20
    return client


def _retrieved(client: Any) -> None:
    """Lets asyncio not complain of a broken connection that nobody was reading from: calls report it themselves."""
    ended = getattr(client, "_disconnected", None)
    if ended is not None:
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())


def _explained(url: str, error: Exception) -> TunnelError:
    """What a failed attempt means: TransportClosedError if another may succeed."""
    code = getattr(getattr(error, "rc", None), "value", None)
    if code in _NEVER:
        return TunnelError(f"{url}: the broker refuses this device ({_said(error)}): check device and token")
    if isinstance(error, TimeoutError):
        return TransportClosedError(
            f"{url}: no answer within {CONNECT_TIMEOUT:.0f} s; does a server listen there?"
        )
    return TransportClosedError(f"{url}: {_said(error)}")


def _said(error: BaseException | None) -> str:
    return str(error) or type(error).__name__
