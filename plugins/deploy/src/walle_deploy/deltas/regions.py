"""Which bytes of a file are numbers of four, two or one byte: by what their changes would cost as each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from walle_deploy.deltas.layout import Bytes, best_path
from walle_deploy.deltas.words import lengths_of_changes

Region = tuple[int, int]  # bytes, and bytes of a number: 4, 2 or 1

BLOCK = 1024  # bytes that are of one kind, but for its borders
_KINDS = [(1, 0), (4, 0), (4, 1), (4, 2), (4, 3), (2, 0), (2, 1)]  # width, and where the first number begins
_TYPES = {1: "u1", 2: "<u2", 4: "<u4"}
_MORE = 1.0  # bits that a change costs beside those that it has, and those that tell its place
_NONE = 1e-9
_SLAB = 8 << 20  # bytes that are looked at together
_SCALE = 4  # of a bit's cost, so that whole numbers tell costs apart


def find_regions(old: Bytes, new: Bytes) -> list[Region]:
    """Regions that cover `new`; `old` is aligned to it."""
    blocks = -(-len(new) // BLOCK)
    if not blocks:
        return []
    costs = np.concatenate(
        [
            np.stack(
                [_costs(old, new, width, first, slice(start, start + _SLAB)) for width, first in _KINDS],
                axis=1,
            )
            for start in range(0, len(new), _SLAB)
        ]
    )
    path = best_path(-costs, 16 * 8 * _SCALE)
    regions: list[Region] = []
    borders = np.flatnonzero(np.diff(path)) + 1
    for start, stop in zip([0, *borders], [*borders, blocks], strict=True):
        width, first = _KINDS[path[start]]
        for region in _numbers(int(start) * BLOCK, min(int(stop) * BLOCK, len(new)), width, first):
            if regions and regions[-1][1] == region[1]:
                regions[-1] = regions[-1][0] + region[0], region[1]
            else:
                regions.append(region)
    return regions


def gathered(data: Bytes, regions: list[Region], width: int) -> npt.NDArray[np.unsignedinteger]:
    """All numbers of a width."""
    parts = [data[start : start + size] for start, size, each in _places(regions) if each == width]
    joined = np.concatenate(parts) if parts else np.empty(0, np.uint8)
    return joined.view(_TYPES[width])


def scatter(
    target: Bytes, regions: list[Region], width: int, numbers: npt.NDArray[np.unsignedinteger]
) -> None:
    """Puts the numbers of a width where they belong."""
    data, at = numbers.view(np.uint8), 0
    for start, size, each in _places(regions):
        if each == width:
            target[start : start + size] = data[at : at + size]
            at += size


def _places(regions: list[Region]) -> Iterator[tuple[int, int, int]]:
    start = 0
    for size, width in regions:
        yield start, size, width
        start += size


def _numbers(start: int, stop: int, width: int, first: int) -> Iterator[Region]:
    """Whole numbers, and single bytes before and after them."""
    before = (first - start) % width
    whole = max(stop - start - before, 0) // width * width
    for size, each in ((min(before, stop - start), 1), (whole, width), (stop - start - before - whole, 1)):
        if size > 0:
            yield size, each


def _costs(old: Bytes, new: Bytes, width: int, first: int, slab: slice) -> npt.NDArray[np.int64]:
    """What the changes of each block of a slab cost as numbers of a kind."""
    kind = _TYPES[width]
    before, after = old[slab][first:], new[slab][first:]
    whole = len(after) // width * width
    lengths = lengths_of_changes(before[:whole].view(kind), after[:whole].view(kind))
    blocks, each = -(-len(new[slab]) // BLOCK), BLOCK // width
    padded = np.zeros(blocks * each, np.float32)
    padded[: len(lengths)] = lengths
    bits = padded.reshape(blocks, each)
    changed = (bits > 0).sum(axis=1)
    share = np.clip(changed / each, _NONE, 1 - _NONE)
    places = -each * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    costs: npt.NDArray[np.int64] = ((bits.sum(axis=1) + _MORE * changed + places) * _SCALE).astype(np.int64)
    return costs
