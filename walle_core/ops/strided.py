"""Shared rules of the operators that move elements: axes, sizes and strided views. No NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from walle_core.ops.define import OpContext, Region, View
from walle_core.ops.rules import MAX_ELEMENTS
from walle_core.types import TensorSpec


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides in elements of a dense row-major tensor of this shape."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def axis_of(ctx: OpContext, axis: int, rank: int, what: str = "axis") -> int:
    """`axis` counted from the front. Raises ShapeError if it is outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise ctx.error(f"{what} {axis} is outside [{-rank}, {rank})")
    return axis + rank if axis < 0 else axis


def axes_of(ctx: OpContext, axes: Iterable[int], rank: int) -> list[int]:
    """Axes counted from the front. Raises ShapeError if one is out of range or repeated."""
    found = [axis_of(ctx, a, rank) for a in axes]
    if len(set(found)) != len(found):
        raise ctx.error(f"axes {found} repeat")
    return found


def spec_of(ctx: OpContext, shape: Sequence[int], source: int = 0) -> list[TensorSpec]:
    """One output of this shape with the dtype of input `source`. Raises ShapeError if the shape is impossible."""
    checked(ctx, shape)
    return [TensorSpec(ctx.dtype(source), tuple(shape))]


def checked(ctx: OpContext, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape as a tuple. Raises ShapeError on a negative size or an element count beyond MAX_ELEMENTS."""
    if any(d < 0 for d in shape):
        raise ctx.error(f"the result would have a negative size, {list(shape)}")
    if prod(shape) > MAX_ELEMENTS or any(d > MAX_ELEMENTS for d in shape):
        raise ctx.error(f"the result {list(shape)} has more than {MAX_ELEMENTS} elements")
    return tuple(shape)


def copy(
    size: Sequence[int],
    src: Sequence[int],
    dst: Sequence[int],
    src_offset: int = 0,
    dst_offset: int = 0,
    origin: int = 0,
) -> Region:
    """A region from sizes, strides and offsets (all in elements)."""
    return Region(origin, tuple(size), View(src_offset, tuple(src)), View(dst_offset, tuple(dst)))


def whole(shape: Sequence[int]) -> list[Region]:
    """The single region that copies a dense tensor in its own order."""
    return [copy((prod(shape),), (1,), (1,))] if prod(shape) else []
