"""The codec bsdiff: BSDIFF40 patches, as bsdiff4 makes them, checked before its C code sees them."""

from __future__ import annotations

import bz2
from typing import Any

import bsdiff4  # type: ignore[import-untyped]
import bsdiff4.core  # type: ignore[import-untyped]
import numpy as np

from walle_deploy.errors import StoreError

_HEAD = 32  # magic, and the bytes of control, of difference and of the new file
_MAX_OLD = 128 << 20  # bytes: making one needs 17 times the memory
_CONTROL = 24  # bytes of one instruction: add, copy, seek
_SPARE = 1024  # instructions beside one for each 8 bytes: one that saves less than 8 bytes is not made


class Bsdiff:
    """Finds what moved inside a file of any kind; slow to make, quick to apply where little changed."""

    name = "bsdiff"

    def make(self, old: bytes, new: bytes) -> bytes | None:
        """See `contract.Codec`; None without an old file, or with one that is too large for the memory it takes."""
        if not old or not new or max(len(old), len(new)) > _MAX_OLD:
            return None
        made: bytes = bsdiff4.diff(old, new)
        return made

    def apply(self, old: bytes, delta: bytes, size: int) -> bytes:
        """See `contract.Codec`."""
        if len(delta) < _HEAD or delta[:8] != b"BSDIFF40":
            raise StoreError("malformed bsdiff delta: it has no head")
        control_size, difference_size, said = (_number(delta[at : at + 8]) for at in (8, 16, 24))
        if said != size:
            raise StoreError(f"a bsdiff delta of {said} bytes where {size} were declared")
        rest = len(delta) - _HEAD
        if not 0 <= control_size <= rest or not 0 <= difference_size <= rest - control_size:
            raise StoreError("malformed bsdiff delta: its parts are longer than the whole")
        middle = _HEAD + control_size
        end = middle + difference_size
        control = _unpacked(delta[_HEAD:middle], (size // 8 + _SPARE) * _CONTROL)
        difference = _unpacked(delta[middle:end], size)
        extra = _unpacked(delta[end:], size)
        _check(control, len(old), len(difference), len(extra), size)
        try:
            made: Any = bsdiff4.core.patch(old, size, control, difference, extra) if size else b""
        except (ValueError, MemoryError) as error:
            raise StoreError(f"malformed bsdiff delta: {error}") from error
        return bytes(made)


def _number(field: bytes) -> int:
    """BSDIFF40's integers: 63 bits and a sign."""
    value = int.from_bytes(field, "little")
    return -(value & ~(1 << 63)) if value >> 63 else value


def _unpacked(part: bytes, most: int) -> bytes:
    """A bz2 stream of at most `most` bytes. Raises StoreError if it is malformed or longer, before it is in memory."""
    unpacker = bz2.BZ2Decompressor()
    try:
        made = unpacker.decompress(part, most + 1)
        if not unpacker.eof and len(made) <= most:
            made += unpacker.decompress(
                b"", most + 1 - len(made)
            )  # the end of the stream may not be read yet
    except (OSError, EOFError) as error:
        raise StoreError(f"malformed bsdiff delta: {error}") from error
    if len(made) > most or not unpacker.eof or unpacker.unused_data:
        raise StoreError(
            "malformed bsdiff delta: a part is longer than the file, is cut, or has more behind it"
        )
    return made


def _check(control: bytes, old: int, difference: int, extra: int, size: int) -> None:
    """Raises StoreError if following `control` would leave the old file, a part, or the new file."""
    if len(control) % _CONTROL:
        raise StoreError("malformed bsdiff delta: half an instruction")
    fields = np.frombuffer(control, "<u8").reshape(-1, 3)
    sizes = (fields & np.uint64((1 << 63) - 1)).astype(np.int64)
    negative = fields >> np.uint64(63) != 0
    if (sizes > old + size).any() or negative[:, :2].any():
        raise StoreError("malformed bsdiff delta: an instruction is out of range")
    add, copy = sizes[:, 0], sizes[:, 1]
    seek = np.where(negative[:, 2], -sizes[:, 2], sizes[:, 2])
    if int(add.sum()) != difference or int(copy.sum()) != extra or difference + extra != size:
        raise StoreError("malformed bsdiff delta: its instructions do not make the file")
    ends = np.cumsum(add + seek) - seek
    reads = add > 0
    if (ends[reads] > old).any() or (ends[reads] - add[reads] < 0).any():
        raise StoreError("malformed bsdiff delta: an instruction reads beyond the old file")
