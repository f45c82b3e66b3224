"""The server's side of one connection: HELLO, WELCOME, then DATA in and ACK out."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Sequence

from walle_pipeline.errors import FrameError, StoreError, TransportClosedError, TunnelError
from walle_pipeline.tunnel import frames
from walle_pipeline.tunnel.commit import Committer, Counters, DeviceState, GapError
from walle_pipeline.tunnel.contract import Connection
from walle_pipeline.tunnel.dictionary import Codec, Dictionary, UnknownDictionaryError
from walle_pipeline.tunnel.frames import Ack, Code, Data, Dict, Error, Hello, Open, Ping, Pong, Welcome
from walle_pipeline.tunnel.settings import Limits

KEPT_DICTIONARIES = 128  # of devices, in the whole server


class Shared:
    """What all sessions of a server share. `dictionaries`: that the server prefers, best first."""

    def __init__(
        self,
        committer: Committer,
        counters: Counters,
        limits: Limits,
        dictionaries: Sequence[Dictionary] = (),
    ) -> None:
        self.committer, self.counters, self.limits = committer, counters, limits
        self.dictionaries = tuple(dictionaries)
        self.codec = Codec(dictionaries)
        self._of_devices: OrderedDict[tuple[str, int], Dictionary] = OrderedDict()

    def dictionaries_of(self, device: str) -> list[Dictionary]:
        """Those that the device sent before, as far as they are still kept."""
        return [d for (owner, _), d in self._of_devices.items() if owner == device]

    def keep(self, device: str, dictionary: Dictionary) -> None:
        """Keeps a dictionary for its sender only: versions are short hashes, another device's could be made to match."""
        self._of_devices[device, dictionary.version] = dictionary
        while len(self._of_devices) > KEPT_DICTIONARIES:
            self._of_devices.popitem(last=False)


class Session:
    """One connection; `run` serves it until it ends."""

    __slots__ = (
        "_ack_task",
        "_acks",
        "_codec",
        "_connection",
        "_ending",
        "_has_room",
        "_names",
        "_reader",
        "_sent_dictionaries",
        "_shared",
        "_state",
        "heard",
        "unacked",
    )

    def __init__(self, connection: Connection, shared: Shared) -> None:
        self._connection, self._shared = connection, shared
        self._names: dict[int, str] = {}
        self._codec = shared.codec
        self._state: DeviceState | None = None
        self._acks: dict[int, int] = {}
        self._ack_task: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ending: tuple[Code, str] | None = None
        self._has_room: asyncio.Event | None = None
        self._sent_dictionaries = 0
        self.unacked = 0
        self.heard = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Serves the connection; returns when it has ended, whoever ended it."""
        self._reader = asyncio.current_task()
        reason = "closed"
        try:
            await self._serve()
        except asyncio.CancelledError:
            if self._ending is None or self._reader is None:
                raise
            self._reader.uncancel()
        except TransportClosedError as error:
            reason = "slow reader" if str(error) == "slow reader" else reason
        except GapError as error:
            self._ending = (Code.GAP, str(error))
        except UnknownDictionaryError as error:
            self._ending = (Code.DICTIONARY, str(error))
        except StoreError:
            self._ending = (Code.RETRY, "the store failed; come again later")
        except (FrameError, TunnelError) as error:
            self._ending = self._ending or (Code.PROTOCOL, str(error))
        finally:
            self._reader = None
            if self._state is not None:
                self._shared.committer.leave(self._state, self)
            if self._ack_task is not None:
                self._ack_task.cancel()
        if self._ending is not None:
            code, text = self._ending
            reason = code.name.lower()
            with contextlib.suppress(TransportClosedError):
                await self._connection.send(frames.encode(Error(code, text)))
        self._shared.counters.end(reason)
        await self._connection.close(reason)

    async def _serve(self) -> None:
        try:
            async with asyncio.timeout(self._shared.limits.hello_timeout):
                message = await self._connection.receive()
        except TimeoutError:
            self._refuse(Code.TIMEOUT, "no HELLO in time")
        hello = frames.parse(message)[0]
        if not isinstance(hello, Hello):
            raise FrameError(f"{type(hello).__name__} before HELLO")
        state = await self._welcome(hello)
        counters, take, window = (
            self._shared.counters,
            self._shared.committer.take,
            self._shared.limits.window,
        )
        names, receive, time = self._names, self._connection.receive, asyncio.get_running_loop().time
        while True:
            if self.unacked >= window:
                self._has_room = asyncio.Event()
                await self._has_room.wait()
            message = await receive()
            self.heard = time()
            if self._ending is not None:
                return
            for frame in frames.parse(message):
                if type(frame) is Data:
                    name = names.get(frame.stream_id)
                    if name is None:
                        raise FrameError(f"stream id {frame.stream_id} was not opened")
                    counters.frames += 1
                    counters.payload_bytes += len(frame.body)
                    take(
                        state,
                        self,
                        frame.stream_id,
                        name,
                        frame.seq,
                        self._codec.unpack(frame.flags, frame.body),
                    )
                else:
                    await self._control(frame)

    async def _welcome(self, hello: Hello) -> DeviceState:
        shared, device = self._shared, self._connection.device
        if hello.device != device:
            self._refuse(Code.UNAUTHORISED, "HELLO names another device than the token")
        state, high_water = await shared.committer.join(device, self)
        self._state = state
        if len(state.sessions) > shared.limits.per_device:
            state.sessions[0].end(Code.LIMIT, "newer connections of this device replace this one")
        for name, stream_id in hello.streams.items():
            self._open(state, Open(stream_id, name))
        own = shared.dictionaries_of(device)
        if own:
            self._codec = Codec(own, parent=shared.codec)
        versions = [d.version for d in (*shared.dictionaries, *own)]
        await self._connection.send(frames.encode(Welcome(high_water, shared.limits.window, versions)))
        for dictionary in shared.dictionaries[:1]:
            if dictionary.version not in hello.dictionaries:
                await self._connection.send(frames.encode(Dict(dictionary.version, dictionary.data)))
        return state

    async def _control(self, frame: frames.Frame) -> None:
        match frame:
            case Ping(token):
                await self._connection.send(frames.encode(Pong(token)))
            case Pong():
                pass
            case Open() if self._state is not None:
                self._open(self._state, frame)
            case Dict(version, data):
                self._sent_dictionaries += 1
                if self._sent_dictionaries > self._shared.limits.dictionaries:
                    self._refuse(Code.LIMIT, "too many dictionaries")
                dictionary = Dictionary.from_bytes(data, version)
                self._shared.keep(self._connection.device, dictionary)
                if self._codec is self._shared.codec:
                    self._codec = Codec(parent=self._shared.codec)
                self._codec.add(dictionary)
            case Error(_, text):
                raise TransportClosedError(text)
            case _:
                raise FrameError(f"unexpected {type(frame).__name__}")

    def _open(self, state: DeviceState, frame: Open) -> None:
        if frame.stream_id in self._names or frame.name in self._names.values():
            raise FrameError(f"stream {frame.name} or id {frame.stream_id} is open already")
        if frame.name not in state.streams and len(state.streams) >= self._shared.limits.streams:
            self._refuse(Code.LIMIT, f"a device may have {self._shared.limits.streams} streams")
        state.stream(frame.name)
        self._names[frame.stream_id] = frame.name

    def _refuse(self, code: Code, text: str) -> None:
        self._ending = (code, text)
        raise TunnelError(text)

    # -- what the committer and the server call -----------------------------------------------------------------------

    def end(self, code: Code, text: str) -> None:
        """See `commit.Member`."""
        if self._ending is None and self._reader is not None:
            self._ending = (code, text)
            self._reader.cancel()

    def room(self) -> None:
        """See `commit.Member`."""
        if self._has_room is not None and self.unacked < self._shared.limits.window:
            self._has_room.set()
            self._has_room = None

    def ack(self, stream_id: int, seq: int) -> None:
        """See `commit.Member`. Acknowledgements that the peer is too slow for are merged, so they take no memory."""
        self._acks[stream_id] = seq
        if self._ack_task is None:
            self._ack_task = asyncio.create_task(self._send_acks())

    async def _send_acks(self) -> None:
        try:
            while self._acks:
                acks, self._acks = self._acks, {}
                for stream_id, seq in acks.items():
                    await self._connection.send(frames.encode(Ack(stream_id, seq)))
        except TransportClosedError as error:
            self.end(Code.TIMEOUT, str(error))
        finally:
            self._ack_task = None
