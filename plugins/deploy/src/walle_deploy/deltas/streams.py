"""Small numbers as zstd frames of bytes; the few that no byte holds, in a frame of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from walle_deploy.deltas.zstd import unpacked
from walle_deploy.errors import StoreError

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint32]
Frames = tuple[bytes, bytes]

_LARGE = 255  # a byte for what is as large or larger, and told elsewhere
_LEVELS = (
    1,
    9,
)  # the first looks for no matches where there is only noise, and leaves it to the entropy coder


def frame(data: Bytes) -> bytes:
    """The bytes as the shorter of two frames; nothing for none."""
    if not len(data):
        return b""
    content = data.tobytes()
    return min((zstandard.ZstdCompressor(level=level).compress(content) for level in _LEVELS), key=len)


def opened(data: bytes, size: int) -> Bytes:
    """The `size` bytes of a frame. Raises StoreError if it has others."""
    if size:
        return np.frombuffer(unpacked(data, size), np.uint8)
    if data:
        raise StoreError("malformed delta of numbers: something where nothing is")
    return np.empty(0, np.uint8)


def joined(parts: list[Bytes]) -> bytes:
    """One frame of several parts."""
    return frame(np.concatenate(parts)) if parts else b""


def with_large(values: npt.NDArray[Any]) -> Frames:
    """Values below 2**32, of which most are small."""
    values = values.astype(np.uint32)
    large = values[values >= _LARGE].astype("<u4")
    return frame(np.minimum(values, _LARGE).astype(np.uint8)), frame(large.view(np.uint8))


def opened_large(frames: Frames, count: int) -> Numbers:
    """The `count` values of `with_large`. Raises StoreError if there are others."""
    small = opened(frames[0], count)
    made = small.astype(np.uint32)
    far = np.flatnonzero(small == _LARGE)
    made[far] = opened(frames[1], 4 * len(far)).view("<u4")
    return made
