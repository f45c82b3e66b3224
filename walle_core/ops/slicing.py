"""Transforms that cut and join along axes: Slice, Split, Concat."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import OpContext, Region, Sample, transform
from walle_core.ops.numpy_lazy import np
from walle_core.ops.strided import axes_of, axis_of, checked, copy, row_major, spec_of
from walle_core.types import TensorSpec

MAX_PARTS = 1 << 16  # of Split, whose sizes are listed one by one
Specs = list[TensorSpec] | None


def slice_bounds(start: int, end: int, step: int, size: int) -> tuple[int, int]:
    """First index and count that ONNX's Slice takes from an axis of `size` (clamping differs from Python's for ends)."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        start, end = min(max(start, 0), size), min(max(end, 0), size)
        return start, max(0, -((start - end) // step))
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return max(start, 0), max(0, -((end - start) // -step)) if size else 0


def _slices(ctx: OpContext) -> list[tuple[int, int, int]] | None:
    """(start, count, step) per axis, or None if the bounds are not constant."""
    shape = ctx.shape(0)
    starts, ends = ctx.ints(1), ctx.ints(2)
    if starts is None or ends is None or any(ctx.has(i) and not ctx.constant(i) for i in (3, 4)):
        return None
    axes = ctx.ints(3)
    steps = ctx.ints(4)
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ctx.error(f"starts, ends, axes and steps differ in length: {starts}, {ends}, {axes}, {steps}")
    if 0 in steps:
        raise ctx.error("a step of 0 never ends")
    taken = [(0, d, 1) for d in shape]
    for axis, start, end, step in zip(axes_of(ctx, axes, len(shape)), starts, ends, steps, strict=True):
        taken[axis] = (*slice_bounds(start, end, step, shape[axis]), step)
    return taken


def _slice_infer(ctx: OpContext) -> Specs:
    taken = _slices(ctx)
    return None if taken is None else spec_of(ctx, [count for _, count, _ in taken])


def _slice_regions(ctx: OpContext) -> list[Region] | None:
    taken = _slices(ctx)
    if taken is None:
        return None
    strides = row_major(ctx.shape(0))
    size = [count for _, count, _ in taken]
    offset = sum(start * s for (start, _, _), s in zip(taken, strides, strict=True))
    src = [step * s for (_, _, step), s in zip(taken, strides, strict=True)]
    return [copy(size, src, row_major(size), offset)]


@transform(
    "Slice",
    infer=_slice_infer,
    regions=_slice_regions,
    samples=(
        Sample(((5, 6), [1], [-1])),
        Sample(((5, 6), [4, 0], [-9, 9], [0, 1], [-1, 2])),
        Sample(((5, 6), [3], [2])),
    ),
)
def slice_(data: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    """Takes a strided box out of a tensor; negative steps reverse."""
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        first, count = slice_bounds(int(start), int(end), int(step), data.shape[axis])
        last = first + count * int(step)
        index[int(axis)] = slice(first, None if last < 0 else last, int(step)) if count else slice(0, 0)
    return data[tuple(index)]


def split_sizes(ctx: OpContext) -> tuple[int, list[int]] | None:
    """Axis and size of every part, or None if the sizes are not constant."""
    shape = ctx.shape(0)
    axis = axis_of(ctx, ctx.attrs["axis"], len(shape))
    if ctx.has(1):
        sizes = ctx.ints(1)
        if sizes is None:
            return None
    else:
        parts = ctx.attrs["num_outputs"] or ctx.n_outputs
        if not 1 <= parts <= max(ctx.n_outputs, MAX_PARTS):
            raise ctx.error(f"cannot make {parts} outputs, {ctx.n_outputs} are named")
        each = -(-shape[axis] // parts)
        sizes = [max(0, min(each, shape[axis] - i * each)) for i in range(parts)]
    if sum(sizes) != shape[axis] or any(s < 0 for s in sizes):
        raise ctx.error(f"sizes {sizes} do not sum to {shape[axis]} on axis {axis}")
    if len(sizes) < ctx.n_outputs:
        raise ctx.error(f"has {ctx.n_outputs} outputs but makes {len(sizes)} parts")
    return axis, sizes


def _split_infer(ctx: OpContext) -> Specs:
    found = split_sizes(ctx)
    if found is None:
        return None
    axis, sizes = found
    shape = ctx.shape(0)
    return [TensorSpec(ctx.dtype(0), (*shape[:axis], s, *shape[axis + 1 :])) for s in sizes]


def _split_regions(ctx: OpContext) -> tuple[list[Region], ...] | None:
    found = split_sizes(ctx)
    if found is None:
        return None
    axis, sizes = found
    shape = ctx.shape(0)
    strides, start, parts = row_major(shape), 0, []
    for s in sizes:
        size = (*shape[:axis], s, *shape[axis + 1 :])
        parts.append([copy(size, strides, row_major(size), start * strides[axis])])
        start += s
    return tuple(parts)


@transform(
    "Split",
    infer=_split_infer,
    regions=_split_regions,
    samples=(
        Sample(((6, 4), [1, 2, 3])),
        Sample(((4, 7),), {"axis": 1, "num_outputs": 3}),
    ),
)
def split(input: Any, split: Any = None, *, axis: int = 0, num_outputs: int | None = None) -> Any:
    """Cuts a tensor into parts along an axis: of the given sizes, or equal ones with a smaller last."""
    if split is None:
        parts = num_outputs or 1
        each = -(-input.shape[axis] // parts)
        edges = [min((i + 1) * each, input.shape[axis]) for i in range(parts - 1)]
    else:
        edges = [int(e) for e in np.cumsum(split)[:-1]]
    return tuple(np.split(input, edges, axis))


def _concat_infer(ctx: OpContext) -> Specs:
    first = ctx.shape(0)
    axis = axis_of(ctx, ctx.attrs["axis"], len(first))
    total = 0
    for i in range(len(ctx.inputs)):
        shape = ctx.shape(i)
        if len(shape) != len(first) or any(
            a != b for k, (a, b) in enumerate(zip(shape, first, strict=True)) if k != axis
        ):
            raise ctx.error(f"inputs may differ only along axis {axis}")
        if ctx.dtype(i) != ctx.dtype(0):
            raise ctx.error("inputs differ in dtype")
        total += shape[axis]
    return [TensorSpec(ctx.dtype(0), checked(ctx, (*first[:axis], total, *first[axis + 1 :])))]


def _concat_regions(ctx: OpContext) -> list[Region]:
    shapes = [ctx.shape(i) for i in range(len(ctx.inputs))]
    axis = axis_of(ctx, ctx.attrs["axis"], len(shapes[0]))
    total = sum(s[axis] for s in shapes)
    dst = row_major((*shapes[0][:axis], total, *shapes[0][axis + 1 :]))
    found, start = [], 0
    for i, shape in enumerate(shapes):
        found.append(copy(shape, row_major(shape), dst, 0, start * dst[axis], i))
        start += shape[axis]
    return found


@transform(
    "Concat",
    infer=_concat_infer,
    regions=_concat_regions,
    samples=(Sample(((2, 3), (2, 1), (2, 4)), {"axis": 1}), Sample(((2, 3), (1, 3)), {"axis": -2})),
)
def concat(*inputs: Any, axis: int) -> Any:
    """Joins tensors along an axis."""
    return np.concatenate(inputs, axis)
