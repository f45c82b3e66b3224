"""Reading at computed places: Gather, GatherElements, GatherND, ReverseSequence, OneHot."""

from __future__ import annotations

from math import prod
from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, atomic, composite
from walle_core.ops.element_types import number_of
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape, zeros
from walle_core.ops.rules import check_kinds, normal_axis, rule
from walle_core.ops.strided import row_major
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None


def _no_flops(_ctx: OpContext, _outs: Any) -> float:
    return 0.0


@rule
def _gather_infer(ctx: OpContext) -> Specs:
    data, indices = ctx.shape(0), ctx.shape(1)
    check_kinds(ctx, "i", 1)
    if not data:
        raise ValueError("a scalar has no axis to gather along")
    axis = normal_axis(ctx.attrs["axis"], len(data))
    found = ctx.ints(1)
    if found is not None and any(not -data[axis] <= i < data[axis] for i in found):
        raise ValueError(f"an index is outside [{-data[axis]}, {data[axis]}) of axis {axis}")
    return [TensorSpec(ctx.dtype(0), (*data[:axis], *indices, *data[axis + 1 :]))]


def _gather_gradient(g: Any, at: Adjoint) -> list[str | None]:
    """Rows of the gradient are added where they were taken."""
    (x, indices), d = [n or "" for n in at.inputs], at.grads[0] or ""
    shape, where = g.shape(x), g.shape(indices)
    axis = at.attrs["axis"] % len(shape)
    count, lead = prod(where), prod(shape[:axis])
    rows = reshape(g, d, lead, count, prod(shape[axis + 1 :]))
    rows = g.Transpose(rows, perm=(1, 0, 2)) if axis else rows
    rows = reshape(g, rows, count, -1)
    table = g.Expand(g.const(0, like=x), g.const([shape[axis], g.shape(rows)[1]], "int64"))
    index = reshape(g, g.Cast(indices, to=7), count, 1)
    made = g.ScatterND(table, index, rows, reduction="add")
    if axis:
        made = g.Transpose(reshape(g, made, shape[axis], lead, -1), perm=(1, 0, 2))
    return [reshape(g, made, *shape), None]


def _gather_elements_gradient(g: Any, at: Adjoint) -> list[str | None]:
    x, indices = at.inputs
    made = g.ScatterElements(zeros(g, x or ""), indices, at.grads[0], axis=at.attrs["axis"], reduction="add")
    return [made, None]


@atomic(
    "Gather",
    "gather",
    gradient=_gather_gradient,
    infer=_gather_infer,
    flops=_no_flops,
    dtypes=("float32", "int32", "int64"),
    samples=(
        Sample(((5, 4), [[0, 2], [-1, 1]])),
        Sample(((3, 5, 2), [4, 0, 0]), {"axis": 1}),
        Sample(((5, 4), 2)),
    ),
)
def gather(data: Any, indices: Any, *, axis: int = 0) -> Any:
    """Takes slices along an axis by index; negative indices count from the end."""
    return np.take(data, indices, axis)


@rule
def _gather_elements_infer(ctx: OpContext) -> Specs:
    data, indices = ctx.shape(0), ctx.shape(1)
    check_kinds(ctx, "i", 1)
    axis = normal_axis(ctx.attrs["axis"], len(data))
    if len(data) != len(indices) or any(
        i > d for k, (i, d) in enumerate(zip(indices, data, strict=True)) if k != axis
    ):
        raise ValueError(f"indices must have rank {len(data)} and fit the data outside axis {axis}")
    return [TensorSpec(ctx.dtype(0), indices)]


@atomic(
    "GatherElements",
    "gather",
    gradient=_gather_elements_gradient,
    infer=_gather_elements_infer,
    flops=_no_flops,
    samples=(Sample(((3, 3), [[1, 2, 0], [2, 0, -3]])), Sample(((2, 3), [[0, 2], [1, 1]]), {"axis": 1})),
)
def gather_elements(data: Any, indices: Any, *, axis: int = 0) -> Any:
    """Takes one element per index, at the index's own place except along `axis`."""
    box = tuple(slice(None) if k == axis % data.ndim else slice(0, n) for k, n in enumerate(indices.shape))
    return np.take_along_axis(data[box], indices.astype(np.int64), axis)


@rule
def _gather_nd_infer(ctx: OpContext) -> Specs:
    data, indices, batch = ctx.shape(0), ctx.shape(1), ctx.attrs["batch_dims"]
    check_kinds(ctx, "i", 1)
    if not indices or not 0 <= batch < min(len(data), len(indices)) or data[:batch] != indices[:batch]:
        raise ValueError(f"data and indices must share their first {batch} axes and have more")
    if not 1 <= indices[-1] <= len(data) - batch:
        raise ValueError(
            f"index tuples of {indices[-1]} do not address rank {len(data)} after {batch} batch axes"
        )
    return [TensorSpec(ctx.dtype(0), (*indices[:-1], *data[batch + indices[-1] :]))]


def _gather_nd_reference(data: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    lead = np.ix_(*(np.arange(n) for n in indices.shape[: indices.ndim - 1]))[:batch_dims]
    return data[(*lead, *np.moveaxis(indices, -1, 0))]


@composite(
    "GatherND",
    "gather",
    infer=_gather_nd_infer,
    reference=_gather_nd_reference,
    samples=(
        Sample(((2, 3, 4), [[0, 1], [1, -1]])),
        Sample(((2, 3, 4), [[[1]], [[0]]]), {"batch_dims": 1}),
        Sample(((3, 2), [[2, 1], [0, 0], [1, 1]])),
    ),
)
def gather_nd(g: Any, data: str, indices: str, *, batch_dims: int = 0) -> Any:
    """Takes slices at index tuples; the first `batch_dims` axes are shared."""
    shape, where = g.shape(data), g.shape(indices)
    depth = where[-1]
    sizes, rest = shape[batch_dims : batch_dims + depth], shape[batch_dims + depth :]
    index, bound = g.Cast(indices, to=7), g.const(list(sizes), "int64")
    index = g.Where(g.Less(index, g.const(0, "int64")), g.Add(index, bound), index)
    within = g.And(g.GreaterOrEqual(index, g.const(0, "int64")), g.Less(index, bound))
    flat = g.ReduceSum(
        g.Mul(index, g.const(list(row_major(sizes)), "int64")), g.const([-1], "int64"), keepdims=0
    )
    for axis in range(batch_dims):
        step = prod(shape[axis + 1 : batch_dims + depth])
        lead = [1] * (len(where) - 1)
        lead[axis] = shape[axis]
        flat = g.Add(
            flat, g.Reshape(g.const([i * step for i in range(shape[axis])], "int64"), g.const(lead, "int64"))
        )
    rows = prod(shape[: batch_dims + depth])
    inside = g.ReduceMin(g.Cast(within, to=7), g.const([-1], "int64"), keepdims=0)
    flat = g.Where(
        g.Equal(inside, g.const(1, "int64")), flat, g.const(rows, "int64")
    )  # outside is no other row
    table = g.Reshape(data, g.const([rows, *rest], "int64"))
    return g.Gather(table, flat, axis=0)


@rule
def _reverse_infer(ctx: OpContext) -> Specs:
    shape, time, batch = ctx.shape(0), ctx.attrs["time_axis"], ctx.attrs["batch_axis"]
    if len(shape) < 2 or {time, batch} != {0, 1}:
        raise ValueError("needs rank 2 or more, and time and batch on axes 0 and 1")
    if ctx.shape(1) != (shape[batch],):
        raise ValueError(f"sequence_lens must hold one length for each of {shape[batch]} sequences")
    if any(not 0 <= n <= shape[time] for n in ctx.ints(1) or []):
        raise ValueError(f"a length is outside [0, {shape[time]}]")
    return [ctx.spec(0)]


def _reverse_reference(input: Any, sequence_lens: Any, *, time_axis: int = 0, batch_axis: int = 1) -> Any:
    del batch_axis  # the other one of the first two axes
    major = np.moveaxis(input, time_axis, 0)
    result = major.copy()
    for b, n in enumerate(np.clip(sequence_lens, 0, len(major))):
        result[:n, b] = major[:n, b][::-1]
    return np.moveaxis(result, 0, time_axis)


@composite(
    "ReverseSequence",
    "gather",
    infer=_reverse_infer,
    reference=_reverse_reference,
    samples=(
        Sample(((4, 3), [4, 2, 1])),
        Sample(((3, 4, 2), [0, 3, 4]), {"time_axis": 1, "batch_axis": 0}),
    ),
)
def reverse_sequence(
    g: Any, input: str, sequence_lens: str, *, time_axis: int = 0, batch_axis: int = 1
) -> Any:
    """Reverses the first `sequence_lens[b]` steps of every sequence b; a length beyond all steps is all of them."""
    shape = g.shape(input)
    steps, batch, rest = shape[time_axis], shape[batch_axis], shape[2:]
    swap = (1, 0, *range(2, len(shape)))
    x = input if time_axis == 0 else g.Transpose(input, perm=swap)
    time = g.const([[t] for t in range(steps)], "int64")
    lens = g.Max(g.Min(g.Cast(sequence_lens, to=7), g.const(steps, "int64")), g.const(0, "int64"))
    source = g.Where(g.Less(time, lens), g.Sub(g.Sub(lens, g.const(1, "int64")), time), time)
    row = g.Add(g.Mul(source, g.const(batch, "int64")), g.const(list(range(batch)), "int64"))
    rows = g.Reshape(x, g.const([steps * batch, *rest], "int64"))
    y = g.Gather(rows, row, axis=0)
    return y if time_axis == 0 else g.Transpose(y, perm=swap)


@rule
def _one_hot_infer(ctx: OpContext) -> Specs:
    indices, depth = ctx.shape(0), ctx.values[1] if len(ctx.values) > 1 else None
    axis = normal_axis(ctx.attrs["axis"], len(indices) + 1)
    if prod(ctx.shape(1)) != 1 or ctx.shape(2) != (2,):
        raise ValueError("depth must be one number and values the pair [off, on]")
    if depth is None:
        return None
    (size,) = ctx.ints(1) or [0]
    return [TensorSpec(ctx.dtype(2), (*indices[:axis], size, *indices[axis:]))]


def _one_hot_reference(indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    size = int(np.reshape(depth, -1)[0])
    index = np.where(indices < 0, indices + size, indices)
    at = axis + indices.ndim + 1 if axis < 0 else axis
    row = np.reshape(np.arange(size), [size if k == at else 1 for k in range(indices.ndim + 1)])
    return np.where(np.expand_dims(index, at) == row, values[1], values[0]).astype(values.dtype)


@composite(
    "OneHot",
    "gather",
    infer=_one_hot_infer,
    reference=_one_hot_reference,
    samples=(
        Sample(([1, -1, 7], 4, [0.0, 2.0]), {}, ("int64", "int64", "float32")),
        Sample(([[1, 0], [2, 1]], 3, [-1.0, 1.0]), {"axis": 1}, ("int64", "int64", "float32")),
    ),
)
def one_hot(g: Any, indices: str, depth: str, values: str, *, axis: int = -1) -> Any:
    """Marks every index in a new axis of size `depth` with values[1], all else is values[0]."""
    (size,), rank = g.ints(depth), len(g.shape(indices)) + 1
    at = axis + rank if axis < 0 else axis
    index = g.Cast(indices, to=number_of(g.dtype(indices)) if g.dtype(indices).kind == "f" else 7)
    like = {"like": index}
    index = g.Where(g.Less(index, g.const(0, **like)), g.Add(index, g.const(size, **like)), index)
    row = g.Reshape(
        g.const(list(range(size)), **like), g.const([size if k == at else 1 for k in range(rank)], "int64")
    )
    on = g.Equal(g.Unsqueeze(index, g.const([at], "int64")), row)
    pick = [g.Gather(values, g.const(i, "int64"), axis=0) for i in (1, 0)]
    return g.Where(on, *pick)
