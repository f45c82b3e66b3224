"""What a device tells about itself: attributes of the device and of its user, and the tasks that it has."""

from __future__ import annotations

import math
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from walle_deploy.errors import PolicyError

Value = str | int | float | bool | list[str]

HEADER = "Walle-Profile"  # of the HTTP header that carries `Profile.header`
DIGEST_BYTES = 8
TEXT, NAMES, TASKS = 1024, 256, 1024  # bytes of a text; attributes or items of a list; installed tasks
ID = 128  # bytes of a device id

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class _once:  # noqa: N801 - as functools.cached_property, whose lock takes longer than what it guards here
    def __init__(self, make: Callable[[Any], bytes]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    def __get__(self, found: Any, _owner: object = None) -> bytes:
        made = self._make(found)
        found.__dict__[self._name] = made
        return made


class Profile(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True, array_like=True):
    """One device at one moment. Two profiles with the same content have the same bytes and the same digest.

    Raises PolicyError, when made or decoded, for what cannot be a profile: no device id, numbers that are not finite or
    need more than 64 bits, too many attributes, texts that are too long.

    Attributes:
        id: of the device.
        device: what the device is: ``os``, ``os_version``, ``app_version``, ``memory_mb``, ``speed.avx``, ...
        user: what is known of its user: ``country``, ``age``, ``groups``, ...
        installed: task -> version.
    """

    id: str
    device: dict[str, Value] = {}
    user: dict[str, Value] = {}
    installed: dict[str, str] = {}

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not 0 < _size(self.id, "device id") <= ID:
            raise PolicyError(
                f"profile: the device id must be a text of 1 to {ID} bytes, not {self.id!r:.60}"
            )
        _check("device", self.device)
        _check("user", self.user)
        if not isinstance(self.installed, dict) or len(self.installed) > TASKS:
            raise PolicyError(f"profile: installed must be a table of at most {TASKS} tasks")
        for task, version in self.installed.items():
            for text in (task, version):
                if not isinstance(text, str) or _size(text, "installed") > TEXT:
                    raise PolicyError(
                        f"profile: installed must have texts of at most {TEXT} bytes, not {text!r:.60}"
                    )

    @classmethod
    def read(cls, data: bytes) -> Profile:
        """The profile that `canonical` wrote. Raises PolicyError for anything else."""
        if len(data) <= _SHORT:
            try:
                found = _short(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # to be told precisely below
            else:
                if found.id.isascii():
                    return _made(found)
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PolicyError(f"profile: cannot be read: {error}") from error

    @_once
    def canonical(self) -> bytes:
        """MessagePack of [id, device, user, installed] with sorted keys."""
        return _encode(self)

    @_once
    def digest(self) -> bytes:
        """Eight bytes of BLAKE2b of `canonical`."""
        return digest_of(self.canonical)

    def having(self, installed: dict[str, str]) -> bytes:
        """`canonical` of the device when it has these tasks instead of those that it has."""
        return self.canonical[: -len(_encode(self.installed))] + _encode(installed)

    def header(self) -> str:
        """The digest as text, for the header `HEADER`; the whole line has at most 64 bytes."""
        return urlsafe_b64encode(self.digest).rstrip(b"=").decode()


def digest_of(canonical: bytes) -> bytes:
    """`Profile.digest` of a profile with these bytes."""
    return blake2b(canonical, digest_size=DIGEST_BYTES).digest()


def _size(text: str, where: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise PolicyError(f"profile: {where}: {text!r:.60} is no Unicode text: {error.reason}") from error


def _check(where: str, attributes: object) -> None:
    if not isinstance(attributes, dict) or len(attributes) > NAMES:
        raise PolicyError(f"profile: {where} must be a table of at most {NAMES} attributes")
    for name, value in attributes.items():
        if not isinstance(name, str) or not 0 < _size(name, where) <= TEXT:
            raise PolicyError(f"profile: {where}: names must be texts of 1 to {TEXT} bytes, not {name!r:.60}")
        kind = type(value)
        if kind is str:
            fits = _size(value, f"{where}.{name}") <= TEXT
        elif kind is int:
            fits = -(1 << 63) <= value < 1 << 63
        elif kind is float:
            fits = math.isfinite(value)
        elif kind is list:
            fits = len(value) <= NAMES and all(
                type(item) is str and _size(item, f"{where}.{name}") <= TEXT for item in value
            )
        else:
            fits = kind is bool
        if not fits:
            raise PolicyError(
                f"profile: {where}.{name:.60}: {value!r:.60} cannot be used; wanted a text of at most {TEXT} bytes, a "
                f"finite number of 64 bits, true, false or a list of at most {NAMES} texts"
            )


_SHORT = 3 * NAMES
"""Bytes of a profile in which no text, and no number of attributes or tasks, can be too large: each takes 3 bytes or more."""

_Name = Annotated[str, Meta(min_length=1)]
_Value = (
    str
    | Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
    | Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
    | bool
    | Annotated[list[str], Meta(max_length=NAMES)]
)


class _Short(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What is left to be checked of a short profile whose id is ASCII: the decoder does so, and not a line of Python each."""

    id: Annotated[str, Meta(min_length=1, max_length=ID)]
    device: dict[_Name, _Value] = {}
    user: dict[_Name, _Value] = {}
    installed: dict[str, str] = {}


_short = msgspec.msgpack.Decoder(_Short).decode
_set = msgspec.structs.force_setattr
_any = Profile("any")


def _made(found: _Short) -> Profile:
    """A profile of what was checked; a copy is not checked again."""
    made: Profile = _any.__copy__()  # type: ignore[attr-defined]
    _set(made, "id", found.id)
    _set(made, "device", found.device)
    _set(made, "user", found.user)
    _set(made, "installed", found.installed)
    return made
