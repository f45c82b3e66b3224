"""Order and selection: TopK, Unique, NonZero, Compress; running sums and products."""

from __future__ import annotations

from math import prod
from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import zeros
from walle_core.ops.precision import widen
from walle_core.ops.rules import normal_axis, rule
from walle_core.types import TensorSpec, int64

Specs = list[TensorSpec] | None


@rule
def _topk_infer(ctx: OpContext) -> Specs:
    shape = ctx.shape(0)
    axis = normal_axis(ctx.attrs["axis"], len(shape))
    if prod(ctx.shape(1)) != 1:
        raise ValueError("K must be one number")
    wanted = ctx.ints(1)
    if wanted is None:
        return None
    if not 0 <= wanted[0] <= shape[axis]:
        raise ValueError(f"K = {wanted[0]} is outside [0, {shape[axis]}] of axis {axis}")
    out = (*shape[:axis], wanted[0], *shape[axis + 1 :])
    return [TensorSpec(ctx.dtype(0), out), TensorSpec(int64, out)]


def _topk_gradient(g: Any, at: Adjoint) -> list[str | None]:
    indices = at.outputs[1] if len(at.outputs) > 1 else None
    if indices is None:
        indices = g.op("TopK", *at.inputs, outputs=2, **at.attrs)[1]
    made = g.ScatterElements(zeros(g, at.inputs[0] or ""), indices, at.grads[0], axis=at.attrs["axis"])
    return [made, None]


@atomic(
    "TopK",
    "sort",
    gradient=_topk_gradient,
    infer=_topk_infer,
    flops=lambda ctx, _outs: 8.0 * prod(ctx.shape(0)),
    dtypes=("float32", "int64"),
    samples=(
        Sample(((3, 7), [3])),
        Sample(((5, 4), [2]), {"axis": 0, "largest": 0}),
        Sample(([[1.0, 2.0, 2.0, 1.0]], [3])),
    ),
)
def topk(X: Any, K: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """The K largest (or smallest) elements along an axis and their indices; of equal ones the first counts."""
    del sorted  # sorted elements are also a valid answer to a request for unsorted ones
    count, size = int(np.reshape(K, -1)[0]), X.shape[axis]
    wide = widen(X)
    if largest:
        order = size - 1 - np.flip(np.argsort(np.flip(wide, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(wide, axis, kind="stable")
    indices = np.take(order, np.arange(count), axis).astype(np.int64)
    return np.take_along_axis(X, indices, axis), indices


def _unique_infer(ctx: OpContext) -> Specs:
    if ctx.attrs["axis"] is not None:
        normal_axis(ctx.attrs["axis"], len(ctx.shape(0)))
    return None


@atomic("Unique", "sort", infer=rule(_unique_infer), samples=(Sample(([2.0, 1.0, 1.0, 3.0, 4.0, 3.0],)),))
def unique(X: Any, *, axis: int | None = None, sorted: int = 1) -> Any:
    """Distinct elements (or slices along `axis`), where each first stands, which one each was, and how often."""
    wide = X if X.dtype.kind in "OUS" else widen(X)
    _, first, inverse, counts = np.unique(wide, True, True, True, axis=axis)
    inverse = np.reshape(inverse, -1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, counts, inverse = first[order], counts[order], rank[inverse]
    values = np.reshape(X, -1)[first] if axis is None else np.take(X, first, axis)
    return values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


@atomic("NonZero", "sort", infer=lambda _ctx: None, samples=(Sample(([[1.0, 0.0], [1.0, 1.0]],)),))
def nonzero(X: Any) -> Any:
    """Indices of elements that are not zero, one column each, in row-major order."""
    if X.ndim == 0:
        return np.zeros((0, 1 if X else 0), np.int64)
    return np.array(np.nonzero(X), np.int64)


def _compress_infer(ctx: OpContext) -> Specs:
    if ctx.attrs["axis"] is not None:
        normal_axis(ctx.attrs["axis"], len(ctx.shape(0)))
    if len(ctx.shape(1)) != 1:
        raise ValueError("condition must be a vector")
    chosen = ctx.ints(1)
    if chosen is None:
        return None
    shape, count = ctx.shape(0), sum(map(bool, chosen))
    if ctx.attrs["axis"] is None:
        return [TensorSpec(ctx.dtype(0), (count,))]
    axis = normal_axis(ctx.attrs["axis"], len(shape))
    return [TensorSpec(ctx.dtype(0), (*shape[:axis], count, *shape[axis + 1 :]))]


@atomic(
    "Compress",
    "sort",
    infer=rule(_compress_infer),
    samples=(
        Sample(((3, 2), [0, 1, 1]), {"axis": 0}, ("float32", "bool")),
        Sample(((3, 2), [0, 1, 0, 1]), {}, ("float32", "bool")),
    ),
)
def compress(input: Any, condition: Any, *, axis: int | None = None) -> Any:
    """Keeps the slices (or elements of the flat tensor) where the condition holds."""
    return np.compress(condition, input, axis)


@rule
def _running_infer(ctx: OpContext) -> Specs:
    if prod(ctx.shape(1)) != 1:
        raise ValueError("axis must be one number")
    for axis in ctx.ints(1) or []:
        normal_axis(axis, len(ctx.shape(0)))
    return [ctx.spec(0)]


def _running(x: Any, axis: Any, exclusive: int, reverse: int, add: bool) -> Any:
    along = int(np.reshape(axis, -1)[0])
    y = np.flip(x, along) if reverse else x
    wide = widen(y)
    if exclusive:
        head = np.full_like(np.take(wide, [0], along), 0 if add else 1) if wide.shape[along] else wide
        wide = (
            np.concatenate([head, np.take(wide, np.arange(wide.shape[along] - 1), along)], along)
            if wide.size
            else wide
        )
    done = (np.cumsum if add else np.cumprod)(wide, along, dtype=wide.dtype).astype(x.dtype)
    return np.flip(done, along) if reverse else done


RUNNING_SAMPLES = (
    Sample(((3, 5), 1)),
    Sample(((3, 5), -2), {"exclusive": 1}),
    Sample(((2, 3, 4), 1), {"reverse": 1}),
    Sample(((3, 5), 1), {"exclusive": 1, "reverse": 1}),
)


def _cumsum_gradient(g: Any, at: Adjoint) -> list[str | None]:
    flags = {"exclusive": at.attrs["exclusive"], "reverse": int(not at.attrs["reverse"])}
    return [g.CumSum(at.grads[0], at.inputs[1], **flags), None]


@atomic(
    "CumSum",
    "running",
    gradient=_cumsum_gradient,
    infer=_running_infer,
    dtypes=("float32", "int64"),
    ulp=16,
    samples=RUNNING_SAMPLES,
)
def cumsum(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    """Running sum along an axis."""
    return _running(x, axis, exclusive, reverse, add=True)


@atomic("CumProd", "running", infer=_running_infer, domain=(-1.5, 1.5), ulp=16, samples=RUNNING_SAMPLES)
def cumprod(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    """Running product along an axis."""
    return _running(x, axis, exclusive, reverse, add=False)
