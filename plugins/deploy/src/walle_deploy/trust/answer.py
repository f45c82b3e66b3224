"""The director's answer: what one device should run now, signed, counted and expiring (the director of Uptane).

On the wire: version (1 byte), key id (8), signature (64), then the answer as a msgpack array. The signature covers a
context string, the key id and those bytes, and it is checked before anything is decoded. In version 2 the signature is that
of several answers, and the answer's way to it (see `trust.together`) comes before the array; a device reads both versions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import attrs
import msgspec
from msgspec import Meta

from walle_deploy.errors import TrustError
from walle_deploy.trust import together
from walle_deploy.trust.keys import PublicKey, SigningKey

ROLLBACK = 1
"""The version is lower than the one before on purpose."""
EXCLUSIVE = 2
"""The files lie under the private prefix of this device."""

MAX_ANSWER = 16_384
MAX_TASKS = 64
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}(?:/[a-z0-9][a-z0-9_-]{0,62}){0,3}\Z"

_VERSION, _TOGETHER = 1, 2
_HEAD = 1 + 8 + 64
MAX_PAYLOAD = MAX_ANSWER - _HEAD - together.LONGEST
_CONTEXT, _CONTEXTS = b"walle director answer 1\0", b"walle director answers 2\0"
_FIELD = "x-walle-director"
_LARGEST = 2**53 - 1
_Natural = Annotated[int, Meta(ge=0, le=_LARGEST)]
_DEVICE = re.compile(r"[\x21-\x7e]+")
_KNOWN = 1024


class AnswerTask(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A task, its version, and the manifest that says which files it has."""

    name: Annotated[str, Meta(pattern=NAME, max_length=128)]
    version: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    manifest: Annotated[bytes, Meta(min_length=32, max_length=32)]
    size: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    base: Annotated[str, Meta(pattern=r"^[\x21-\x7e]*\Z", max_length=256)]
    flags: Annotated[int, Meta(ge=0, le=ROLLBACK | EXCLUSIVE)] = 0


class Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a device should run: a task that is not named is to be removed. Times are Unix seconds."""

    device: Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z", max_length=128)]
    epoch: _Natural
    counter: Annotated[int, Meta(ge=1, le=_LARGEST)]
    issued: _Natural
    expires: _Natural
    nonce: Annotated[bytes, Meta(max_length=32)]
    tasks: Annotated[tuple[AnswerTask, ...], Meta(max_length=MAX_TASKS)]


@attrs.frozen
class Director:
    """Which keys may sign answers; the root names them. A new epoch makes every earlier answer void."""

    keys: tuple[PublicKey, ...]
    epoch: int = 0

    def to_root(self) -> dict[str, Any]:
        """As a field of the root metadata."""
        return {_FIELD: {"epoch": self.epoch, "keys": [key.raw.hex() for key in self.keys]}}

    @classmethod
    def from_root(cls, fields: Mapping[str, Any]) -> Director:
        """From the additional fields of a verified root. Raises TrustError."""
        try:
            field = fields.get(_FIELD, {"epoch": 0, "keys": []})
            keys = tuple(PublicKey(bytes.fromhex(key)) for key in field["keys"])
            epoch = msgspec.convert(field["epoch"], _Natural)
        except (KeyError, TypeError, ValueError) as error:
            raise TrustError(f"the root names no usable director: {error!r}") from error
        if len({key.id for key in keys}) != len(keys):
            raise TrustError("the root names a director key twice")
        return cls(keys, epoch)

    def key(self, key_id: bytes) -> PublicKey | None:
        """The key with this id, or None."""
        return next((key for key in self.keys if key.id == key_id), None)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class AnswerSigner:
    """The director's side: one key, one epoch, any number of devices."""

    def __init__(self, key: SigningKey, epoch: int = 0) -> None:
        self._sign = key.fastest
        self._id = key.public.id
        self._prefix, self._prefixes = _CONTEXT + self._id, _CONTEXTS + self._id
        self._head, self._heads = bytes([_VERSION]) + self._id, bytes([_TOGETHER]) + self._id
        self._epoch = epoch
        self._usable: set[bytes] = set()  # tasks that answers had, as they are written

    def sign(
        self,
        device: str,
        tasks: Sequence[AnswerTask],
        *,
        counter: int,
        issued: int,
        expires: int,
        nonce: bytes = b"",
    ) -> bytes:
        """Sign an answer. The counter is greater than every one this device was given in this epoch. Raises TrustError."""
        packed = self.pack(device, tasks, counter=counter, issued=issued, expires=expires, nonce=nonce)
        return self.seal([packed])[0]

    def pack(
        self,
        device: str,
        tasks: Sequence[AnswerTask],
        *,
        counter: int,
        issued: int,
        expires: int,
        nonce: bytes = b"",
    ) -> bytes:
        """An answer for `seal`. Arguments as those of `sign`. Raises TrustError for what no device would take."""
        packed = _encode(tuple(tasks))
        payload = _encode((device, self._epoch, counter, issued, expires, nonce, msgspec.Raw(packed)))
        if len(payload) > MAX_PAYLOAD:
            raise TrustError(
                f"{device}: an answer of {len(tasks)} tasks has {len(payload)} bytes of {MAX_PAYLOAD}"
            )
        if packed not in self._usable or not _well_addressed(device, counter, issued, expires, nonce):
            _parse(payload)
            if len(self._usable) >= _KNOWN:
                self._usable.clear()
            self._usable.add(packed)
        return payload

    def seal(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Sign what `pack` made, as few times as can be: up to `together.MOST` answers have one signature."""
        made = []
        for start in range(0, len(payloads), together.MOST):
            some = payloads[start : start + together.MOST]
            if len(some) == 1:
                made.append(self._head + self._sign(self._prefix + some[0]) + some[0])
                continue
            root, ways = together.planted(some)
            head = self._heads + self._sign(self._prefixes + root)
            made += [head + way + payload for way, payload in zip(ways, some, strict=True)]
        return made


def open_answer(wire: bytes, director: Director) -> Answer:
    """The answer, when a key of the director has signed it. Says nothing of device, counter and time. Raises TrustError."""
    if not _HEAD < len(wire) <= MAX_ANSWER:
        raise TrustError(f"an answer has {_HEAD + 1} to {MAX_ANSWER} bytes, this one has {len(wire)}")
    if wire[0] not in (_VERSION, _TOGETHER):
        raise TrustError(
            f"an answer of version {wire[0]}; this device reads versions {_VERSION} and {_TOGETHER}: update it"
        )
    key = director.key(wire[1:9])
    if key is None:
        raise UnknownKeyError(
            f"signed by the key {wire[1:9].hex()}, which the trusted root does not name as director"
        )
    context, signed = _CONTEXT, wire[_HEAD:]
    payload = signed
    if wire[0] == _TOGETHER:
        context = _CONTEXTS
        signed, payload = together.climbed(signed)
    if not key.verifies(wire[9:_HEAD], context + wire[1:9] + signed):
        raise TrustError(f"the signature of the director's key {wire[1:9].hex()} does not fit the answer")
    return _parse(payload)


def payload_of(wire: bytes) -> bytes:
    """The answer in what `seal` made, without any check."""
    return wire[_HEAD:] if wire[0] == _VERSION else wire[_HEAD + together.way_length(wire[_HEAD]) :]


def _well_addressed(device: str, counter: int, issued: int, expires: int, nonce: bytes) -> bool:
    """Whether `_parse` would find nothing wrong with all of an answer but its tasks."""
    return (
        type(device) is str
        and len(device) <= 128
        and _DEVICE.fullmatch(device) is not None
        and type(counter) is type(issued) is type(expires) is int
        and 1 <= counter <= _LARGEST
        and 0 <= issued < expires <= _LARGEST
        and type(nonce) is bytes
        and len(nonce) <= 32
    )


class UnknownKeyError(TrustError):
    """Signed by a key that the root this device has does not name; a newer root may."""


def _parse(payload: bytes) -> Answer:
    try:
        answer = _decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise TrustError(f"not an answer: {error}") from error
    if _encode(answer) != payload:
        raise TrustError("not an answer in its canonical form")
    if len({task.name for task in answer.tasks}) != len(answer.tasks):
        raise TrustError("an answer names a task twice")
    if answer.expires <= answer.issued:
        raise TrustError(
            f"an answer expires ({when(answer.expires)}) before it is issued ({when(answer.issued)})"
        )
    return answer


def when(seconds: float) -> str:
    """A time for people."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"
