"""The tunnel's frames: a fixed header of 12 bytes, big-endian, and a body.

| bytes | field |
|---|---|
| 0 | protocol version (high 4 bits), type (low 4 bits) |
| 1 | flags |
| 2-3 | stream id; ERROR: the code |
| 4-11 | seq; DICT: the version; PING, PONG: the token; BATCH: the number of frames |

The client binds stream names to ids in HELLO, later ones by OPEN; an id is never bound twice on one connection. A BATCH holds DATA frames, each behind its length (4 bytes): many small payloads
then cost one message of the transport.

Nothing here raises anything but FrameError, whatever the bytes.
"""

from __future__ import annotations

import enum
import re
import struct
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from walle_pipeline.errors import FrameError
from walle_pipeline.tunnel.contract import MAX_FRAME

VERSION = 1
HEADER = 12  # bytes
MAX_PAYLOAD = MAX_FRAME - HEADER  # bytes, uncompressed
MAX_CONTROL = 1 << 18  # bytes of a HELLO, WELCOME or DICT
MAX_TEXT = 1 << 10  # bytes of an ERROR's text and of an OPEN's name
MAX_SEQ = (1 << 63) - 1

COMPRESSED = 1  # flag of DATA: the body is one zstd frame, which names its dictionary
_STREAM_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_HEAD = struct.Struct(">BBHQ")
_LENGTH = struct.Struct(">I")


class Type(enum.IntEnum):
    """What a frame is, the low 4 bits of its first byte."""

    HELLO = 1
    WELCOME = 2
    DATA = 3
    ACK = 4
    DICT = 5
    ERROR = 6
    PING = 7
    PONG = 8
    OPEN = 9
    BATCH = 10


class Code(enum.IntEnum):
    """Why the server ends a connection. After RETRY the same bytes may succeed later, unchanged."""

    PROTOCOL = 1
    GAP = 2
    LIMIT = 3
    DICTIONARY = 4
    UNAUTHORISED = 5
    RETRY = 6
    TIMEOUT = 7
    CLOSING = 8


@attrs.frozen
class Hello:
    """The client's first frame. `streams`: name -> id; `dictionaries`: versions that it can read and write."""

    device: str
    streams: dict[str, int]
    dictionaries: list[int] = attrs.field(factory=list)


@attrs.frozen
class Welcome:
    """The server's answer.

    Attributes:
        high_water: stream -> largest seq that is stored with all before it, for every stream of the device that has any.
        window: bytes of DATA frames that the server holds unacknowledged before it stops reading the connection.
        dictionaries: versions that the server can read, the preferred one first.
    """

    high_water: dict[str, int]
    window: int
    dictionaries: list[int] = attrs.field(factory=list)


@attrs.frozen
class Data:
    """One payload; `body` is as on the wire, compressed if `flags` say so (see `dictionary.Codec`)."""

    stream_id: int
    seq: int
    flags: int
    body: bytes


@attrs.frozen
class Ack:
    """Everything of the stream up to and including `seq` is durable at the server."""

    stream_id: int
    seq: int


@attrs.frozen
class Dict:
    """A dictionary that the other side lacks."""

    version: int
    data: bytes


@attrs.frozen
class Error:
    """The last frame before the sender ends the connection. `code`: a `Code`, or a number that is not known here."""

    code: int
    text: str


@attrs.frozen
class Ping:
    """Asks for a Pong with the same token."""

    token: int


@attrs.frozen
class Pong:
    """Answers a Ping."""

    token: int


@attrs.frozen
class Open:
    """Binds one more stream to an id."""

    stream_id: int
    name: str


Frame = Hello | Welcome | Data | Ack | Dict | Error | Ping | Pong | Open

_hello = msgspec.msgpack.Decoder(Hello)
_welcome = msgspec.msgpack.Decoder(Welcome)
_encoder = msgspec.msgpack.Encoder()


def check_stream(name: str) -> str:
    """`name`, if it may name a stream. Raises FrameError."""
    if not _STREAM_NAME.fullmatch(name):
        raise FrameError(f"stream name {name[:80]!r}: 1 to 64 characters of A-Z a-z 0-9 _ . - are allowed")
    return name


def _head(kind: Type, flags: int = 0, stream_id: int = 0, seq: int = 0) -> bytes:
    try:
        return _HEAD.pack(VERSION << 4 | kind, flags, stream_id, seq)
    except struct.error as error:
        raise FrameError(f"{kind.name}: stream id {stream_id} or number {seq} is out of range") from error


def encode(frame: Frame) -> bytes:
    """The bytes of one frame. Raises FrameError if a field is out of range."""
    match frame:
        case Data(stream_id, seq, flags, body):
            data = _head(Type.DATA, flags, stream_id, seq) + body
        case Ack(stream_id, seq):
            return _head(Type.ACK, 0, stream_id, seq)
        case Ping(token):
            return _head(Type.PING, 0, 0, token)
        case Pong(token):
            return _head(Type.PONG, 0, 0, token)
        case Open(stream_id, name):
            return _head(Type.OPEN, 0, stream_id) + name.encode()
        case Dict(version, body):
            data = _head(Type.DICT, 0, 0, version) + body
        case Error(code, text):
            return _head(Type.ERROR, 0, code) + text.encode()[:MAX_TEXT].decode(errors="ignore").encode()
        case Hello():
            data = _head(Type.HELLO) + _encoder.encode(frame)
        case Welcome():
            data = _head(Type.WELCOME) + _encoder.encode(frame)
    if len(data) > (MAX_FRAME if isinstance(frame, Data) else MAX_CONTROL + HEADER):
        raise FrameError(f"{type(frame).__name__}: {len(data)} bytes are too many for a frame")
    return data


def encode_batch(frames: Sequence[bytes]) -> bytes:
    """One message of several encoded DATA frames; of a single one, that frame itself.

    Raises FrameError if they make more than MAX_FRAME bytes or are none.
    """
    if len(frames) == 1:
        return frames[0]
    parts = [_head(Type.BATCH, 0, 0, len(frames))]
    for frame in frames:
        parts += (_LENGTH.pack(len(frame)), frame)
    message = b"".join(parts)
    if len(message) > MAX_FRAME or not frames:
        raise FrameError(f"batch of {len(frames)} frames and {len(message)} bytes")
    return message


def parse(message: bytes) -> list[Frame]:
    """The frames of one message of the transport: one, or those of a batch. Raises FrameError."""
    if len(message) > MAX_FRAME:
        raise FrameError(f"message of {len(message)} bytes; at most {MAX_FRAME} are allowed")
    if len(message) > HEADER and message[0] == VERSION << 4 | Type.BATCH:
        return _parse_batch(message)
    return [_parse_one(message)]


def _parse_batch(message: bytes) -> list[Frame]:
    _, flags, stream_id, count = _HEAD.unpack_from(message)
    frames: list[Frame] = []
    at, end = HEADER, len(message)
    while at < end:
        if at + _LENGTH.size > end:
            raise FrameError("batch: truncated length")
        (size,) = _LENGTH.unpack_from(message, at)
        at += _LENGTH.size
        if size > end - at:
            raise FrameError(f"batch: a frame of {size} bytes, {end - at} are left")
        frame = _parse_one(message[at : at + size])
        if not isinstance(frame, Data):
            raise FrameError(f"batch: holds a {type(frame).__name__}; only DATA is allowed")
        frames.append(frame)
        at += size
    if flags or stream_id or count != len(frames) or count < 2:
        raise FrameError(f"batch: announces {count} frames, holds {len(frames)}")
    return frames


def _parse_one(frame: bytes) -> Frame:
    if len(frame) < HEADER:
        raise FrameError(f"frame of {len(frame)} bytes; the header alone has {HEADER}")
    first, flags, stream_id, seq = _HEAD.unpack_from(frame)
    if first >> 4 != VERSION:
        raise FrameError(f"protocol version {first >> 4}; this side speaks {VERSION}")
    kind = first & 15
    if kind == Type.DATA:
        if flags & ~COMPRESSED or not 1 <= seq <= MAX_SEQ:
            raise FrameError(f"DATA with flags {flags:#x} and seq {seq}")
        return Data(stream_id, seq, flags, frame[HEADER:])
    if flags:
        raise FrameError(f"frame of type {kind} with flags {flags:#x}")
    size = len(frame) - HEADER
    if kind == Type.ACK and not size and seq <= MAX_SEQ:
        return Ack(stream_id, seq)
    if kind in (Type.PING, Type.PONG) and not size and not stream_id:
        return Ping(seq) if kind == Type.PING else Pong(seq)
    if kind == Type.OPEN and size <= MAX_TEXT and not seq:
        return Open(stream_id, check_stream(_text(frame[HEADER:])))
    if kind == Type.ERROR and size <= MAX_TEXT and not seq:
        return Error(stream_id, _text(frame[HEADER:]))
    if size <= MAX_CONTROL and not stream_id:
        if kind == Type.DICT:
            return Dict(seq, frame[HEADER:])
        if kind == Type.HELLO and not seq:
            return _check_hello(_decode(_hello, frame[HEADER:]))
        if kind == Type.WELCOME and not seq:
            return _check_welcome(_decode(_welcome, frame[HEADER:]))
    raise FrameError(f"frame of type {kind}, stream id {stream_id}, seq {seq} and {size} bytes is not valid")


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise FrameError("text that is not UTF-8") from error


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except Exception as error:
        raise FrameError(f"control frame: {str(error)[:200]}") from error


def _check_hello(hello: Hello) -> Hello:
    ids = hello.streams.values()
    if len(set(ids)) != len(ids) or not all(0 <= i <= 0xFFFF for i in ids):
        raise FrameError("HELLO: stream ids repeat or are out of range")
    for name in hello.streams:
        check_stream(name)
    _check_versions(hello.dictionaries)
    return hello


def _check_welcome(welcome: Welcome) -> Welcome:
    if not all(0 <= seq <= MAX_SEQ for seq in welcome.high_water.values()) or welcome.window < 1:
        raise FrameError("WELCOME: a high water or the window is out of range")
    for name in welcome.high_water:
        check_stream(name)
    _check_versions(welcome.dictionaries)
    return welcome


def _check_versions(versions: list[int]) -> None:
    if not all(0 < v < 1 << 32 for v in versions):
        raise FrameError("a dictionary version is out of range")
