"""Which part of a new file corresponds to which part of an old one, where every byte may have changed a little."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Segment = tuple[int, int]  # bytes of the new file, and how far they moved since the old one

_BLOCK = 1024  # bytes that move together, before the borders are refined
_WINDOW = 8  # bytes that must be equal to be an anchor
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ANCHORS = 1 << 17  # windows looked at in each file, about
_SHIFTS = 8  # kept of those that anchors show
_ALIKE = 0.2  # of the bytes of weights are equal after a nudge; by chance, about 0.1
_PROBE = 512  # bytes that are compared at every shift near by
_REACH = 16 << 10  # bytes of shift that such a search covers, either way
_SEARCHES = 8
_SWITCH = 64  # equal bytes that another shift must gain


def find_layout(old: Bytes, new: Bytes) -> list[Segment]:
    """Segments that cover `new`. Parts that were inserted get the shift of a neighbour."""
    shifts = _candidates(old, new)
    if len(shifts) == 1:
        return [(len(new), shifts[0])]
    scores = np.stack([_scores(old, new, shift) for shift in shifts], axis=1)
    for _ in range(_SEARCHES):
        lost = np.flatnonzero(scores.max(axis=1) < _BLOCK * _ALIKE)
        shift = _search(old, new, int(lost[len(lost) // 2]) * _BLOCK) if len(lost) > 1 else None
        if shift is None or shift in shifts:
            break
        shifts.append(shift)
        scores = np.column_stack([scores, _scores(old, new, shift)])
    segments: list[Segment] = []
    start = 0
    for stop, before, after in _switches(best_path(scores), shifts):
        border = _border(old, new, before, after, max(start, stop - _BLOCK), min(len(new), stop + _BLOCK))
        segments.append((border - start, before))
        start = border
        last = after
    segments.append((len(new) - start, last if segments else shifts[int(best_path(scores)[0])]))
    return [segment for segment in segments if segment[0]]


def aligned(old: Bytes, segments: list[Segment], size: int) -> Bytes:
    """The bytes of `old` where `segments` see them in a new file of `size` bytes, zeros where there are none."""
    made = np.zeros(size, np.uint8)
    start = 0
    for length, shift in segments:
        low, high = max(start, shift), min(start + length, len(old) + shift)
        if low < high:
            made[low:high] = old[low - shift : high - shift]
        start += length
    return made


def _candidates(old: Bytes, new: Bytes) -> list[int]:
    """Shifts that may occur: none, that of the ends, and those of short pieces that occur once in both files."""
    found = dict.fromkeys([0, len(new) - len(old)])
    if len(found) > 1 and min(len(old), len(new)) >= _WINDOW:
        old_values, old_at = _anchors(old, max(len(old), len(new)))
        new_values, new_at = _anchors(new, max(len(old), len(new)))
        _, in_old, in_new = np.intersect1d(old_values, new_values, assume_unique=True, return_indices=True)
        shifts, counts = np.unique(new_at[in_new] - old_at[in_old], return_counts=True)
        common = np.argsort(-counts, kind="stable")[:_SHIFTS]
        found |= dict.fromkeys(int(shifts[n]) for n in common if counts[n] > 1)
    return list(found)


def _anchors(data: Bytes, size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(values, offsets) of windows chosen by their content, those that occur once."""
    windows: npt.NDArray[np.uint64] = np.ndarray(
        (len(data) - _WINDOW + 1,), np.dtype("<u8"), np.ascontiguousarray(data), strides=(1,)
    )
    rare = np.uint64(64 - max(0, (size // _ANCHORS).bit_length()))
    at = np.flatnonzero((windows * _SPREAD) >> rare == 0) if rare < 64 else np.arange(len(windows))
    values, first, counts = np.unique(windows[at], return_index=True, return_counts=True)
    once = counts == 1
    return values[once], at[first[once]]


def _equal(old: Bytes, new: Bytes, shift: int, start: int, stop: int) -> npt.NDArray[np.bool_]:
    """Where bytes of ``new[start:stop]`` equal those that `shift` puts there."""
    made = np.zeros(stop - start, np.bool_)
    low, high = max(start, shift), min(stop, len(old) + shift)
    if low < high:
        made[low - start : high - start] = new[low:high] == old[low - shift : high - shift]
    return made


def _scores(old: Bytes, new: Bytes, shift: int) -> npt.NDArray[np.int64]:
    """Equal bytes of each block of `new`."""
    equal = _equal(old, new, shift, 0, len(new))
    return np.add.reduceat(equal, np.arange(0, len(new), _BLOCK), dtype=np.int64)


def best_path(scores: npt.NDArray[np.int64], switch: int = _SWITCH) -> npt.NDArray[np.int64]:
    """For each row the column of the path with the highest sum, less `switch` for each change of columns."""
    total = scores[0].copy()
    came = np.zeros(scores.shape, np.int64)
    stay = np.arange(scores.shape[1])
    for n in range(1, len(scores)):
        leader = int(total.argmax())
        move = total < total[leader] - switch
        came[n] = np.where(move, leader, stay)
        total = np.where(move, total[leader] - switch, total) + scores[n]
    path = np.empty(len(scores), np.int64)
    path[-1] = total.argmax()
    for n in range(len(scores) - 1, 0, -1):
        path[n - 1] = came[n, path[n]]
    return path


def _search(old: Bytes, new: Bytes, start: int) -> int | None:
    """The shift near by under which most of a probe is equal; None if no shift makes much of it equal."""
    probe = new[start : start + _PROBE]
    low = max(0, start - _REACH)
    around = old[low : start + _REACH + len(probe)]
    if len(around) < len(probe) or not len(probe):
        return None
    equal = (np.lib.stride_tricks.sliding_window_view(around, len(probe)) == probe).sum(axis=1)
    best = int(equal.argmax())
    return start - (low + best) if equal[best] >= len(probe) * _ALIKE else None


def _switches(path: npt.NDArray[np.int64], shifts: list[int]) -> Iterator[tuple[int, int, int]]:
    """(offset, shift before, shift after) of each change along `path`."""
    for block in np.flatnonzero(np.diff(path)) + 1:
        yield int(block) * _BLOCK, shifts[path[block - 1]], shifts[path[block]]


def _border(old: Bytes, new: Bytes, before: int, after: int, start: int, stop: int) -> int:
    """Where between `start` and `stop` to go from one shift to another so that most bytes are equal."""
    left = np.concatenate([[0], np.cumsum(_equal(old, new, before, start, stop))])
    right = np.concatenate([[0], np.cumsum(_equal(old, new, after, start, stop))])
    return start + int((left + right[-1] - right).argmax())
