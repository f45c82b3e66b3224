"""Numbers that changed, in as few bits as their changes need.

They are taken as integers that rise as the numbers do, so that a change is a difference. How large it is goes with the old
number's exponent: for each exponent, the lowest bits of a change, which are noise, are kept as they are, and what is above
them is compressed.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from walle_deploy.deltas import steps as common
from walle_deploy.deltas.steps import MAX_STEPS, Step
from walle_deploy.deltas.streams import Bytes, Frames, frame, joined, opened, opened_large, with_large
from walle_deploy.errors import StoreError

Words = npt.NDArray[Any]  # uint32 for fp32, uint16 for fp16 and bf16, uint8 for quantised ones

CLASSES = 256
_FEW, _MANY = (
    0.1,
    0.9,
)  # shares of changed numbers: below, only their places are told; above, never; between, what is less
_ABOVE = 3  # bits of a usual change that are compressed, less one
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32}
_CLASS = {1: (8, 0), 2: (8, 127), 4: (23, 255)}  # the exponent, of fp16 two more bits, of bf16 one less


class Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Changes of numbers; the bytes are zstd frames.

    Attributes:
        changed: how many numbers changed, and have their places told; -1 if all are told.
        gaps: unchanged numbers before each changed one, and those gaps that no byte holds.
        steps: changes that many numbers have in common.
        which: which of them each number took.
        shifts: bits of noise, for each class of old numbers.
        tops: what is above the noise, and those of them that no byte holds.
        noise: whole bytes of noise; and its bits above them.
    """

    changed: int
    gaps: Frames
    steps: list[Step]
    which: bytes
    shifts: bytes
    tops: Frames
    noise: Frames

    @property
    def size(self) -> int:
        """Bytes of it, about."""
        return sum(map(len, (*self.gaps, self.which, self.shifts, *self.tops, *self.noise))) + 6 * len(
            self.steps
        )


def pack(old: Words, new: Words) -> Packed:
    """What leads from `old` to `new`, of one length and type."""
    changes = _folded(old, new)
    at = np.flatnonzero(changes)
    ways = [] if len(at) < _FEW * len(changes) else [_packed(-1, (b"", b""), old, new, changes)]
    if len(at) <= _MANY * len(changes):
        gaps = with_large(np.diff(at, prepend=-1) - 1)
        ways.append(_packed(len(at), gaps, old[at], new[at], changes[at]))
    return min(ways, key=lambda packed: packed.size)


def _packed(changed: int, gaps: Frames, old: Words, new: Words, changes: Words) -> Packed:
    made = Packed(changed, gaps, [], b"", *_values(old, changes))
    if old.itemsize == 4 and (found := common.find_steps(old.view(np.float32), new.view(np.float32))):
        which = common.which(old.view(np.float32), new.view(np.float32), found)
        left = which == 0
        other = Packed(changed, gaps, found, frame(which), *_values(old[left], changes[left]))
        made = min(made, other, key=lambda packed: packed.size)
    return made


def unpack(old: Words, packed: Packed) -> Words:
    """The new numbers. Raises StoreError if `packed` does not fit the old ones."""
    made = old.copy()
    if packed.changed < 0:
        at: Any = slice(None)
        count = len(old)
    else:
        count = packed.changed
        if count > len(old):
            raise StoreError("malformed delta of numbers: more of them changed than there are")
        at = np.cumsum(opened_large(packed.gaps, count).astype(np.int64) + 1) - 1
        if count and int(at[-1]) >= len(old):
            raise StoreError("malformed delta of numbers: a change is beyond them")
    mine = made[at]
    left: Any = slice(None)
    if packed.steps:
        if len(packed.steps) > MAX_STEPS or old.itemsize != 4:
            raise StoreError("malformed delta of numbers: its steps cannot be")
        which = opened(packed.which, count)
        if count and int(which.max()) > len(packed.steps):
            raise StoreError("malformed delta of numbers: a step is missing")
        for number, step in enumerate(packed.steps, 1):
            chosen = np.flatnonzero(which == number)
            mine[chosen] = common.taken(mine[chosen].view(np.float32), step).view(old.dtype)
        left = np.flatnonzero(which == 0)
    mine[left] = _unfolded(mine[left], _changes(mine[left], packed))
    made[at] = mine
    return made


def lengths_of_changes(old: Words, new: Words) -> npt.NDArray[np.float32]:
    """Bits that each change has; 0 where there is none."""
    return _lengths(_folded(old, new))


def _lengths(changes: Words) -> npt.NDArray[np.float32]:
    exponents = changes.astype(np.float32).view(np.uint32) >> np.uint32(23)
    return np.maximum(exponents.astype(np.float32) - 126, 0)


def _folded(old: Words, new: Words) -> Words:
    """Differences, the sign in the lowest bit."""
    kind = _SIGNED[old.itemsize]
    difference = _rising(new.view(kind)) - _rising(old.view(kind))
    made: Words = ((difference << 1) ^ (difference >> (8 * old.itemsize - 1))).view(old.dtype)
    return made


def _unfolded(old: Words, changes: Words) -> Words:
    kind = _SIGNED[old.itemsize]
    difference = (changes >> 1).view(kind) ^ -(changes & 1).view(kind)
    made: Words = _rising(_rising(old.view(kind)) + difference).view(old.dtype)
    return made


def _rising(numbers: Any) -> Any:
    """Integers that rise as floats do, from their bits, and back; bytes are integers already."""
    if numbers.itemsize == 1:
        return numbers
    bits = 8 * numbers.itemsize - 1
    return numbers ^ ((numbers >> bits) & numbers.dtype.type((1 << bits) - 1))


def _classes(old: Words) -> Bytes:
    shift, mask = _CLASS[old.itemsize]
    if not mask:
        return np.zeros(len(old), np.uint8)
    made: Bytes = ((old >> old.dtype.type(shift)) & old.dtype.type(mask)).astype(np.uint8)
    return made


def _values(old: Words, changes: Words) -> tuple[bytes, Frames, Frames]:
    """Shifts, tops and noise of changes."""
    classes = _classes(old)
    counts = np.bincount(classes, minlength=CLASSES)
    mean = np.bincount(classes, _lengths(changes), CLASSES) / np.maximum(counts, 1)
    shifts = np.maximum(mean.astype(np.int64) - _ABOVE, 0).astype(np.uint8)
    mine = shifts[classes]
    tops = with_large(changes.astype(np.uint32) >> mine)
    whole, rest = [], []
    for shift, at in _groups(mine):
        noise = changes[at]
        for plane in range(shift // 8):
            whole.append((noise >> noise.dtype.type(8 * plane)).astype(np.uint8))
        if shift % 8:
            above = (noise >> noise.dtype.type(shift // 8 * 8)).astype(np.uint8)
            rest.append(above & np.uint8((1 << shift % 8) - 1))
    return frame(shifts), tops, (joined(whole), joined(rest))


def _changes(old: Words, packed: Packed) -> Words:
    """Changes of these old numbers."""
    shifts = opened(packed.shifts, CLASSES)
    if int(shifts.max()) >= 8 * old.itemsize:
        raise StoreError("malformed delta of numbers: more noise than a number has bits")
    mine = shifts[_classes(old)]
    made = (opened_large(packed.tops, len(old)) << mine).astype(old.dtype)
    groups = list(_groups(mine))
    sizes = [(shift, len(made[at])) for shift, at in groups]
    whole = opened(packed.noise[0], sum(shift // 8 * size for shift, size in sizes))
    rest = opened(packed.noise[1], sum(size for shift, size in sizes if shift % 8))
    whole_at = rest_at = 0
    for (shift, at), (_, size) in zip(groups, sizes, strict=True):
        noise = np.zeros(size, old.dtype)
        for plane in range(shift // 8):
            noise |= whole[whole_at : whole_at + size].astype(old.dtype) << old.dtype.type(8 * plane)
            whole_at += size
        if shift % 8:
            noise |= rest[rest_at : rest_at + size].astype(old.dtype) << old.dtype.type(shift // 8 * 8)
            rest_at += size
        made[at] |= noise
    return made


def _groups(shifts: Bytes) -> list[tuple[int, Any]]:
    """The places of each shift but 0, in ascending order of the shifts."""
    present = np.flatnonzero(np.bincount(shifts, minlength=1))
    if len(present) <= 1:
        return [(int(shift), slice(None)) for shift in present if shift]
    order = np.argsort(shifts, kind="stable")
    ends = np.searchsorted(shifts[order], present, "right")
    return [
        (int(shift), order[start:end])
        for shift, start, end in zip(present, [0, *ends[:-1]], ends, strict=True)
        if shift
    ]
