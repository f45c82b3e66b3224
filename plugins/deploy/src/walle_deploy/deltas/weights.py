"""The codec weights: numbers of which many changed, by a little or by steps that they have in common, wherever they lie."""

from __future__ import annotations

import msgspec
import numpy as np

from walle_deploy.deltas.layout import Segment, aligned, find_layout
from walle_deploy.deltas.regions import Region, find_regions, gathered, scatter
from walle_deploy.deltas.words import Packed, pack, unpack
from walle_deploy.errors import StoreError

_WIDTHS = (4, 2, 1)
_LEAST = 64  # bytes of a file worth the trouble
_GAIN = 0.95  # of the file that a delta may have
_SEGMENTS = 65_536
_SIZE = 1 << 40
_PART = 1 << 20  # numbers that have statistics of their own; it bounds the memory beside a few times the file
_MOST = 128 << 20  # bytes of a file: making a delta needs a dozen times the memory


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where parts of the new file were, what kinds of numbers it has, and the changes of each kind, `_PART` at a time."""

    segments: list[Segment]
    regions: list[Region]
    packed: tuple[list[Packed], list[Packed], list[Packed]]


class Weights:
    """Changes of numbers as differences that go with their exponents, which the old file shows.

    fp32, fp16, bf16 and bytes, each where it lies, also beside what are no numbers.
    """

    name = "weights"

    def make(self, old: bytes, new: bytes) -> bytes | None:
        """See `contract.Codec`; None if it saves less than 5 % of the file itself."""
        if min(len(old), len(new)) < _LEAST or max(len(old), len(new)) > _MOST:
            return None
        before, after = np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8)
        segments = find_layout(before, after)
        before = aligned(before, segments, len(after))
        regions = find_regions(before, after)
        if max(len(segments), len(regions)) > _SEGMENTS:
            return None
        packed = []
        for width in _WIDTHS:
            left, right = gathered(before, regions, width), gathered(after, regions, width)
            packed.append([pack(left[part], right[part]) for part in _parts(len(left))])
        made = msgspec.msgpack.encode(_Body(segments, regions, (packed[0], packed[1], packed[2])))
        return made if len(made) < _GAIN * len(new) else None

    def apply(self, old: bytes, delta: bytes, size: int) -> bytes:
        """See `contract.Codec`."""
        try:
            body = msgspec.msgpack.decode(delta, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise StoreError(f"malformed delta of weights: {error}") from error
        for places in (body.segments, body.regions):
            lengths = [place[0] for place in places]
            if len(lengths) > _SEGMENTS or min(lengths, default=0) < 0 or sum(lengths) != size:
                raise StoreError("malformed delta of weights: its parts do not make the file")
        if any(abs(shift) > _SIZE for _, shift in body.segments):
            raise StoreError("malformed delta of weights: a segment is out of range")
        if any(width not in _WIDTHS or length % width for length, width in body.regions):
            raise StoreError("malformed delta of weights: numbers of no known size")
        made = aligned(np.frombuffer(old, np.uint8), body.segments, size)
        for width, packed in zip(_WIDTHS, body.packed, strict=True):
            numbers = gathered(made, body.regions, width)
            parts = _parts(len(numbers))
            if len(parts) != len(packed):
                raise StoreError("malformed delta of weights: it has other parts than numbers")
            for part, changes in zip(parts, packed, strict=True):
                numbers[part] = unpack(numbers[part], changes)
            scatter(made, body.regions, width, numbers)
        return made.tobytes()


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + _PART, count)) for start in range(0, count, _PART)]
