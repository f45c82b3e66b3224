"""Normalisation over the last axes: layer and root mean square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.normalization import standardise, standardised, stashed
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import like
from walle_core.ops.precision import average, np_dtype, quiet
from walle_core.ops.rules import (
    check_broadcast,
    check_kinds,
    normal_axis,
    onnx_dtype,
    operations,
    reduced_shape,
    rule,
)
from walle_core.types import DType, TensorSpec, dtype


def _infer_trailing(result: Callable[[OpContext], DType]) -> Any:
    @rule
    def infer(ctx: OpContext) -> list[TensorSpec]:
        check_kinds(ctx, "f", 0, 1, 2)
        shape = ctx.shape(0)
        axis = normal_axis(ctx.attrs["axis"], len(shape))
        for index in (1, 2):
            if ctx.has(index):
                check_broadcast(f"input {index}", ctx.shape(index), shape)
        statistic = TensorSpec(
            dtype(onnx_dtype(ctx.attrs["stash_type"])), reduced_shape(shape, range(axis, len(shape)), 1)
        )
        return [TensorSpec(result(ctx), shape), statistic, statistic]

    return infer


@quiet
def layer_norm(
    x: Any, scale: Any, bias: Any = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Normalises over the axes from `axis` on; also returns the mean and the inverse standard deviation."""
    axes = tuple(range(normal_axis(axis, x.ndim), x.ndim))
    y, mean, inverse = standardised(x.astype(np_dtype(onnx_dtype(stash_type))), axes, epsilon)
    y = y.astype(x.dtype) * scale
    return (y if bias is None else y + bias).astype(x.dtype), mean, inverse


@composite(
    "LayerNormalization", "normalization", reference=layer_norm, infer=_infer_trailing(lambda ctx: ctx.dtype(0)),
    flops=operations(8), ulp=32,
    samples=(
        Sample(((2, 5, 64), (64,), (64,))),
        Sample(((3, 4, 5), (4, 5)), {"axis": 1}),
        Sample(((3, 4, 5), (3, 4, 5), (5,)), {"axis": 0, "epsilon": 0.1}),
    ),
)  # fmt: skip
def layer_norm_graph(
    g: Any,
    x: str,
    scale: str,
    bias: str | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    """Zero mean and unit variance over the last axes, then scale and bias; also the statistics."""
    rank = len(g.shape(x))
    y, mean, inverse = standardise(
        g, stashed(g, x, stash_type), range(normal_axis(axis, rank), rank), epsilon
    )
    y = g.Mul(like(g, y, x), scale)
    return (g.Add(y, bias) if bias else y), mean, inverse


@quiet
def rms_norm(x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    """X / sqrt(mean(x * x) + epsilon) over the axes from `axis` on, times scale."""
    axes = tuple(range(normal_axis(axis, x.ndim), x.ndim))
    wide = x.astype(np_dtype(onnx_dtype(stash_type)))
    root = np.sqrt(average(wide * wide, axes, keepdims=True) + wide.dtype.type(epsilon))
    return ((wide / root).astype(x.dtype) * scale).astype(scale.dtype)


@composite(
    "RMSNormalization", "normalization", reference=rms_norm, infer=_infer_trailing(lambda ctx: ctx.dtype(1)),
    flops=operations(5), ulp=32, samples=(Sample(((2, 5, 64), (64,))), Sample(((3, 4, 5), (4, 5)), {"axis": 1})),
)  # fmt: skip
def rms_norm_graph(
    g: Any, x: str, scale: str, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    """Unit root mean square over the last axes, times scale."""
    rank, wide = len(g.shape(x)), stashed(g, x, stash_type)
    axes = g.const(list(range(normal_axis(axis, rank), rank)), "int64")
    root = g.Sqrt(g.Add(g.ReduceMean(g.Mul(wide, wide), axes), g.const(epsilon, like=wide)))
    y = like(g, g.Div(wide, root), x)
    return g.Mul(like(g, y, scale), scale)
