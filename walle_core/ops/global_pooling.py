"""Pooling over whole feature maps."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pooling import norm
from walle_core.ops.precision import average, widened
from walle_core.ops.rules import (
    check_kinds,
    from_channels_first,
    input_operations,
    require,
    rule,
    text,
    to_channels_first,
)
from walle_core.types import TensorSpec


@rule
def _infer_global(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    layout = ctx.attrs.get("layout", "NCHW")
    shape = to_channels_first(ctx.shape(0), layout)
    return [TensorSpec(ctx.dtype(0), from_channels_first((*shape[:2], *[1] * (len(shape) - 2)), layout))]


def _axes(g: Any, x: str, layout: str | bytes) -> str:
    rank = len(g.shape(x))
    require(text(layout) in ("NCHW", "NHWC"), f"layout {layout!r} must be NCHW or NHWC")
    return str(g.const(list(range(2, rank) if text(layout) == "NCHW" else range(1, rank - 1)), "int64"))


def _reduced(x: Any, layout: str, fn: Any) -> Any:
    axes = tuple(range(2, x.ndim) if text(layout) == "NCHW" else range(1, x.ndim - 1))
    return fn(x, axes, keepdims=True) if axes else x


_MAPS = (Sample(((2, 3, 5, 7),)), Sample(((1, 4, 9),)), Sample(((1, 2, 3, 4, 5),)))
_MAPS_LAST = (*_MAPS, Sample(((2, 5, 7, 33),), {"layout": "NHWC"}))


@composite(
    "GlobalAveragePool", "pooling", infer=_infer_global, flops=input_operations(1), ulp=8, samples=_MAPS_LAST,
    reference=widened(lambda x, *, layout="NCHW": _reduced(x, layout, average)),
)  # fmt: skip
def global_average_pool(g: Any, x: str, *, layout: str = "NCHW") -> Any:
    """Mean over all spatial axes, which become 1."""
    return g.ReduceMean(x, _axes(g, x, layout), noop_with_empty_axes=1)


@composite(
    "GlobalMaxPool", "pooling", infer=_infer_global, flops=input_operations(1), ulp=0, samples=_MAPS_LAST,
    reference=widened(lambda x, *, layout="NCHW": _reduced(x, layout, np.max)),
)  # fmt: skip
def global_max_pool(g: Any, x: str, *, layout: str = "NCHW") -> Any:
    """Maximum over all spatial axes, which become 1."""
    return g.ReduceMax(x, _axes(g, x, layout), noop_with_empty_axes=1)


@widened
def _global_lp(x: Any, *, p: int = 2) -> Any:
    return np.power(
        np.sum(np.power(np.abs(x), p), tuple(range(2, x.ndim)), keepdims=True), x.dtype.type(1 / p)
    )


@composite(
    "GlobalLpPool", "pooling", infer=_infer_global, flops=input_operations(4), ulp=16, reference=_global_lp,
    samples=(*_MAPS, Sample(((2, 3, 5),), {"p": 3})),
)  # fmt: skip
def global_lp_pool(g: Any, x: str, *, p: int = 2) -> Any:
    """p-norm over all spatial axes, which become 1."""
    axes = _axes(g, x, "NCHW")
    return norm(g, x, p, lambda v: g.ReduceSum(v, axes, noop_with_empty_axes=1))
