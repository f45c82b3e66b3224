"""The gradient of a Raster is a Raster: the regions with their views swapped.

Elements that the Raster reads several times receive the sum of what they are given. An axis along which one element is
repeated (stride 0) is summed first. Regions that overlap in what they read (windows of a convolution) are cut and
dealt to layers within which none overlap; the layers are one Raster with an axis more, which is summed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

from walle_core.graph.regions import Piece, from_region
from walle_core.ops.define import Region, View
from walle_core.ops.pieces import reshape
from walle_core.ops.strided import row_major

Axis = tuple[int, int, int]  # size, stride in what was read, stride in the gradient


def raster_gradient(g: Any, regions: Sequence[Region], shape: Sequence[int], grad: str) -> str:
    """Appends the gradient by one origin.

    Args:
        g: the Builder.
        regions: those of the Raster that read this origin.
        shape: of the origin.
        grad: gradient by the Raster's output.
    """
    total = prod(shape)
    pieces: list[Piece] = []
    for region in regions:
        piece = from_region(region, grad)
        if piece is not None:
            pieces += _disjoint(_summed(g, piece))
    layers = _layers(pieces, total)
    origins = list(dict.fromkeys(p[0] for layer in layers for p in layer)) or [grad]
    moved = [
        Region(origins.index(name), size, View(do, ds), View(at * total + so, ss))
        for at, layer in enumerate(layers)
        for name, size, so, ss, do, ds in layer
    ]
    whole = sum(prod(r.size) for r in moved) == max(1, len(layers)) * total
    attributes = {"dtype": g.dtype(grad).name, "fill": None if whole else 0.0, "regions": tuple(moved)}
    if len(layers) < 2:
        return str(g.Raster(*origins, shape=tuple(shape), **attributes))
    stacked = g.Raster(*origins, shape=(len(layers), total), **attributes)
    return reshape(g, g.ReduceSum(stacked, g.const([0], "int64"), keepdims=0), *shape)


def _axes(piece: Piece) -> list[Axis]:
    return list(zip(piece[1], piece[3], piece[5], strict=True))


def _summed(g: Any, piece: Piece) -> Piece:
    """The piece without axes that repeat an element: its gradient is summed over them, into a tensor of its own."""
    name, _, so, _, do, _ = piece
    repeated = [a for a in _axes(piece) if a[1] == 0]
    kept = [a for a in _axes(piece) if a[1] != 0]
    if not repeated:
        return piece
    sizes, times = tuple(a[0] for a in kept), prod(a[0] for a in repeated)
    axes = [*repeated, *kept]
    size, strides = tuple(a[0] for a in axes), tuple(a[2] for a in axes)
    gathered = Region(0, size, View(do, strides), View(0, row_major(size)))
    dense = g.Raster(
        name, regions=(gathered,), shape=(times, prod(sizes)), dtype=g.dtype(name).name, fill=None
    )
    total = g.ReduceSum(dense, g.const([0], "int64"), keepdims=0)
    return (total, sizes, so, tuple(a[1] for a in kept), 0, row_major(sizes))


def _overlaps(axes: Sequence[Axis]) -> bool:
    """False only if the strides show that no element is read twice."""
    reach = 0
    for size, stride, _ in sorted(axes, key=lambda a: abs(a[1])):
        if size > 1 and abs(stride) <= reach:
            return True
        reach += (size - 1) * abs(stride)
    return False


def _disjoint(piece: Piece) -> Iterator[Piece]:
    """The piece cut along its shortest overlapping axes until no part reads an element twice."""
    axes = sorted(_axes(piece), reverse=True)
    cut: list[Axis] = []
    while _overlaps(axes):
        cut.append(axes.pop())
    name, _, so, _, do, _ = piece
    for index in product(*(range(a[0]) for a in cut)):
        src = so + sum(i * a[1] for i, a in zip(index, cut, strict=True))
        dst = do + sum(i * a[2] for i, a in zip(index, cut, strict=True))
        yield name, tuple(a[0] for a in axes), src, tuple(a[1] for a in axes), dst, tuple(a[2] for a in axes)


def _layers(pieces: Sequence[Piece], total: int) -> list[list[Piece]]:
    """Pieces dealt out so that those of one layer read different elements."""
    if len(pieces) < 2:
        return [list(pieces)]
    layers: list[list[Piece]] = []
    taken: list[bytearray] = []
    for piece in pieces:
        rows = list(_rows(piece))
        at = next((i for i, used in enumerate(taken) if not any(1 in used[row] for row in rows)), len(layers))
        if at == len(layers):
            layers.append([])
            taken.append(bytearray(total))
        layers[at].append(piece)
        for row in rows:
            taken[at][row] = b"\1" * len(range(*row.indices(total)))
    return layers


def _rows(piece: Piece) -> Iterator[slice]:
    """The elements that a piece reads, as slices along its longest axis."""
    axes = sorted(((n, s) for n, s, _ in _axes(piece)), reverse=True) or [(1, 1)]
    (size, stride), outer = axes[0], axes[1:]
    for index in product(*(range(n) for n, _ in outer)):
        start = piece[2] + sum(i * s for i, (_, s) in zip(index, outer, strict=True))
        low = min(start, start + (size - 1) * stride)
        yield slice(low, low + (size - 1) * abs(stride) + 1, abs(stride))
