"""The codec float-xor: weights of which every one changed a little, as planes of bytes XORed with the old ones."""

from __future__ import annotations

import msgspec
import numpy as np
import zstandard

from walle_deploy.deltas.layout import Segment, aligned, find_layout
from walle_deploy.deltas.zstd import unpacked
from walle_deploy.errors import StoreError

_WIDTHS = (4, 2)  # bytes of a number: fp32; fp16 and bf16
_LEAST = 64  # bytes of a file worth the trouble
_GAIN = 0.95  # of the file that a delta may have
_SEGMENTS = 65_536
_SIZE = 1 << 40


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Width of a number, where its segments were, and a zstd frame for each plane: the bytes ``plane, plane + width, …``."""

    width: int
    segments: list[Segment]
    planes: list[bytes]


class FloatXor:
    """Numbers that moved a little keep sign, exponent and first digits: those planes are nearly all zeros."""

    name = "float-xor"

    def make(self, old: bytes, new: bytes) -> bytes | None:
        """See `contract.Codec`; None if it saves less than 5 % of the file itself."""
        if min(len(old), len(new)) < _LEAST:
            return None
        before, after = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
        segments = find_layout(before, after)
        if len(segments) > _SEGMENTS:
            return None
        changed = after ^ aligned(before, segments, len(after))
        packer = zstandard.ZstdCompressor(level=9)
        bodies = [
            _Body(
                width, segments, [packer.compress(changed[plane::width].tobytes()) for plane in range(width)]
            )
            for width in _WIDTHS
        ]
        made = min([msgspec.msgpack.encode(body) for body in bodies], key=len)
        return made if len(made) < _GAIN * len(new) else None

    def apply(self, old: bytes, delta: bytes, size: int) -> bytes:
        """See `contract.Codec`."""
        try:
            body = msgspec.msgpack.decode(delta, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StoreError(f"malformed float-xor delta: {error}") from error
        lengths = [length for length, _ in body.segments]
        if body.width not in _WIDTHS or len(body.planes) != body.width or len(lengths) > _SEGMENTS:
            raise StoreError("malformed float-xor delta: its planes or segments cannot be")
        if min(lengths, default=0) < 0 or sum(lengths) != size:
            raise StoreError("malformed float-xor delta: its segments do not make the file")
        if any(abs(shift) > _SIZE for _, shift in body.segments):
            raise StoreError("malformed float-xor delta: a segment is out of range")
        made = np.empty(size, np.uint8)
        for plane, frame in enumerate(body.planes):
            part = made[plane :: body.width]
            part[:] = np.frombuffer(unpacked(frame, len(part)), np.uint8)
        made ^= aligned(np.frombuffer(old, np.uint8), body.segments, size)
        return made.tobytes()
