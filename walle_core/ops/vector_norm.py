"""Normalisation of vectors and neighbourhoods: Lp, mean-variance and local response."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import average, widened
from walle_core.ops.rules import check_kinds, normal_axes, normal_axis, operations, rule
from walle_core.types import TensorSpec


@rule
def _infer_lp(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    normal_axis(ctx.attrs["axis"], len(ctx.shape(0)))
    if ctx.attrs["p"] not in (1, 2):
        raise ValueError(f"p {ctx.attrs['p']} must be 1 or 2")
    return [ctx.spec(0)]


@widened
def _lp_norm(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    norm = np.sum(np.abs(x), axis, keepdims=True) if p == 1 else np.sqrt(np.sum(x * x, axis, keepdims=True))
    return np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)).astype(x.dtype)


@composite(
    "LpNormalization", "normalization", reference=_lp_norm, infer=_infer_lp, flops=operations(4), ulp=16,
    samples=(Sample(((3, 7),)), Sample(((3, 7),), {"p": 1, "axis": 0}), Sample(([[0.0, 0.0], [3.0, 4.0]],))),
)  # fmt: skip
def lp_norm_graph(g: Any, x: str, *, axis: int = -1, p: int = 2) -> Any:
    """X divided by its p-norm along an axis; zero where the norm is zero."""
    axes = g.const([axis], "int64")
    norm = g.ReduceL1(x, axes) if p == 1 else g.ReduceL2(x, axes)
    return g.Div(x, g.Where(g.Equal(norm, g.const(0, like=x)), g.const(1, like=x), norm))


@rule
def _infer_mvn(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    normal_axes(ctx.attrs["axes"], len(ctx.shape(0)))
    return [ctx.spec(0)]


@widened
def _mvn(x: Any, *, axes: Sequence[int] = (0, 2, 3)) -> Any:
    d = x - average(x, tuple(axes), keepdims=True)
    return d / (np.sqrt(average(d * d, tuple(axes), keepdims=True)) + x.dtype.type(1e-9))


@composite(
    "MeanVarianceNormalization", "normalization", reference=_mvn, infer=_infer_mvn, flops=operations(6), ulp=32,
    samples=(Sample(((2, 3, 4, 5),)), Sample(((4, 9),), {"axes": (1,)})),
)  # fmt: skip
def mvn_graph(g: Any, x: str, *, axes: Sequence[int] = (0, 2, 3)) -> Any:
    """(x - mean) / standard deviation over axes."""
    over = g.const(list(axes), "int64")
    d = g.Sub(x, g.ReduceMean(x, over))
    deviation = g.Sqrt(g.ReduceMean(g.Mul(d, d), over))
    return g.Div(d, g.Add(deviation, g.const(1e-9, like=x)))


@rule
def _infer_lrn(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    if len(ctx.shape(0)) < 2:
        raise ValueError("needs a batch and a channel axis")
    if not 1 <= ctx.attrs["size"] < 1 << 31:
        raise ValueError(f"size {ctx.attrs['size']} must be positive")
    return [ctx.spec(0)]


@widened
def _lrn(x: Any, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Any:
    before, after = (size - 1) // 2, size // 2
    squares = x * x
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        total[:, c] = np.sum(squares[:, max(0, c - before) : c + after + 1], 1)
    return x / np.power(x.dtype.type(bias) + x.dtype.type(alpha / size) * total, x.dtype.type(beta))


@composite(
    "LRN", "normalization", reference=_lrn, infer=_infer_lrn, flops=lambda ctx, outs: outs[0].size * (ctx.attrs["size"] + 12.0),
    ulp=16, samples=(Sample(((2, 7, 3, 4),), {"size": 3, "alpha": 0.1}), Sample(((1, 5, 4),), {"size": 4, "beta": 0.5})),
)  # fmt: skip
def lrn_graph(
    g: Any, x: str, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Any:
    """Division by a power of the sum of squares over neighbouring channels."""
    shape = g.shape(x)
    squares = reshape(g, g.Mul(x, x), shape[0], 1, shape[1], prod(shape[2:]))
    before, after = (
        min(n, shape[1]) for n in ((size - 1) // 2, size // 2)
    )  # more channels than there are add nothing
    columns = g.Im2Col(squares, kernel_shape=(before + 1 + after, 1), pads=(before, 0, after, 0))
    total = reshape(g, g.ReduceSum(columns, g.const([2], "int64"), keepdims=0), *shape)
    base = g.Add(g.const(bias, like=x), g.Mul(g.const(alpha / size, like=x), total))
    return g.Div(x, g.Pow(base, g.const(beta, like=x)))
