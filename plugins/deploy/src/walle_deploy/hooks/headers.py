"""The headers by which a device and a server speak on requests that an application makes anyway.

Request: `PROFILE` holds the digest; after the server has asked, `DEVICE` holds the profile and `TOKEN` the
device's token. Response: no header says that nothing is new; `ANSWER` is `ASK` (send the profile with the next request),
`PULL` (there is news that no header can hold: ask the deployment server), or the signed answer.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from walle_deploy.errors import HookError
from walle_deploy.hooks.packing import pack, unpack
from walle_deploy.profile import DIGEST_BYTES, HEADER, Profile

PROFILE, DEVICE, TOKEN, ANSWER = HEADER, "Walle-Device", "Walle-Token", "Walle-Answer"
NAMES = (PROFILE, DEVICE, TOKEN)
"""Headers of a request that must not go to any other origin, by a redirect for example."""
ASK, PULL = "?", "!"
MAX_VALUE = 4096
"""Characters of a header's value: common servers and proxies take 8 KiB for all headers together."""

_DIGEST = re.compile(r"[A-Za-z0-9_-]{11}")
_BASE64 = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"[\x21-\x7e]{1,128}")
_PACKED = "1."  # as `packing` does; a dot is no letter of base64url


def write_profile(profile: Profile) -> str:
    """A profile as the value of `DEVICE`: packed if it can be, or its canonical bytes."""
    packed = pack(profile)
    return _text(profile.canonical) if packed is None else _PACKED + _text(packed)


def read_profile(value: str) -> bytes:
    """`Profile.canonical` of the profile in a value of `DEVICE`. Raises HookError for a packed one that is none."""
    if value.startswith(_PACKED):
        return unpack(_bytes(DEVICE, value[len(_PACKED) :])).canonical
    return _bytes(DEVICE, value)


def read_digest(value: str) -> bytes:
    """The eight bytes that `Profile.header` wrote. Raises HookError."""
    if not _DIGEST.fullmatch(value):
        raise HookError(f"{PROFILE}: found {value!r:.60}; wanted 11 characters of base64url")
    return urlsafe_b64decode(value + "=")[:DIGEST_BYTES]


def write_digest(digest: bytes) -> str:
    """Eight bytes as `Profile.header` writes them."""
    return _text(digest)


def read_token(value: str) -> str:
    """The token itself. Raises HookError for one that no header may hold."""
    if not _TOKEN.fullmatch(value):
        raise HookError(f"{TOKEN}: a token has 1 to 128 visible ASCII characters")
    return value


def write_answer(answer: bytes) -> str:
    """A signed answer as the value of `ANSWER`; `PULL` when it is too long for a header."""
    text = _text(answer)
    return text if len(text) <= MAX_VALUE else PULL


def read_answer(value: str) -> bytes:
    """The signed answer in a value of `ANSWER`. Raises HookError."""
    return _bytes(ANSWER, value)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(name: str, value: str) -> bytes:
    if len(value) > MAX_VALUE or len(value) % 4 == 1 or not _BASE64.fullmatch(value):
        raise HookError(
            f"{name}: found {len(value)} characters {value!r:.40}; wanted 2 to {MAX_VALUE} of base64url"
        )
    return urlsafe_b64decode(value + "==")
