"""What a delta codec must do, and the bounds that hold for all of them."""

from __future__ import annotations

import hashlib
import logging
from typing import Protocol, runtime_checkable

import msgspec

from walle_core.registry import Registry
from walle_deploy.errors import StoreError
from walle_deploy.manifest import MAX_FILE, check_digest

MAX_DELTA_FILE = 256 << 20  # bytes of an old or new file that deltas are made of: both are held in memory
FULL = "full"  # the codec that needs no old file
_log = logging.getLogger(__name__)


class Delta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way from one file to another.

    Attributes:
        codec: name of the codec.
        base: digest of the old file; "" for `FULL`, which needs none.
        sha256: digest of the delta itself, under which it is stored.
        size: bytes of the delta.
    """

    codec: str
    base: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        check_digest(self.sha256)
        if self.base:
            check_digest(self.base)
        if not 0 <= self.size <= MAX_FILE:
            raise StoreError(f"a delta of {self.size} bytes; 0 to {MAX_FILE} are taken")


@runtime_checkable
class Codec(Protocol):
    """Makes deltas on a server and applies them on a device. Both hold the files in memory.

    Its class takes no arguments: where time is limited, the codec is made again in a process that can be stopped.

    Attributes:
        name: under which it is registered and named in an answer.
    """

    name: str

    def make(self, old: bytes, new: bytes) -> bytes | None:
        """A delta from `old` to `new`; None if this codec has nothing to offer for them."""

    def apply(self, old: bytes, delta: bytes, size: int) -> bytes:
        """The new file of `size` bytes. `delta` may be hostile.

        Needs memory for a few times `old`, `delta` and `size`, whatever `delta` says. Whether the result is the right one
        is for the caller to check. Raises StoreError if `delta` is malformed or does not make `size` bytes.
        """


def codecs() -> Registry[Codec]:
    """The codecs of this package, then those of installed plugins."""
    from walle_deploy.deltas import register_codecs
    from walle_deploy.offered import offered

    registry: Registry[Codec] = Registry("delta codec", Codec, "walle_deploy")
    register_codecs(registry)
    for name, made in offered("codec").items():
        try:
            registry.add(made())
        except Exception as error:  # codecs are plugins; the others are there
            _log.warning("codec %s is left out: %s", name, error)
    return registry


def applied(codec: Codec, old: bytes, delta: bytes, size: int, sha256: str) -> bytes:
    """What `codec` makes of `delta`, which is the file `sha256`. Raises StoreError, whatever the codec raises."""
    if max(len(old), len(delta), size) > MAX_DELTA_FILE:
        raise StoreError(
            f"delta codec {codec.name!r}: more than {MAX_DELTA_FILE} bytes; fetch the file itself"
        )
    try:
        made = codec.apply(old, delta, size)
    except StoreError:
        raise
    except Exception as error:  # codecs are plugins
        raise StoreError(f"delta codec {codec.name!r} failed: {type(error).__name__}: {error}") from error
    if len(made) != size or hashlib.sha256(made).hexdigest() != sha256:
        raise StoreError(f"delta codec {codec.name!r} did not make the file {sha256}; fetch the file itself")
    return made
