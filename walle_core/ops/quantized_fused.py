"""Operators on 8-bit integers with one scale and zero point per tensor: what QuantizeLinear(op(DequantizeLinear ...)) means.

Sums of products are exact integers; they are multiplied by scale / y_scale in float32, as are the operands of an addition.
Rounding half to even follows, the zero point and a clamp to [low, high], which also expresses Relu and Clip; an average is
divided by y_scale. Scales and zero points are attributes: they are known at load.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.convolution import conv_integer, geometry, products
from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.element_types import element_type, number_of
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import first, reshape, stored
from walle_core.ops.precision import np_dtype, quiet
from walle_core.ops.quantize import integer_range
from walle_core.ops.rules import (
    check_vector,
    first_perm,
    from_channels_first,
    last_perm,
    matmul_shape,
    operations,
    require,
    rule,
    text,
    to_channels_first,
)
from walle_core.types import TensorSpec

Ints = Sequence[int] | None


def check_result(attributes: Any) -> TensorSpec:
    """The 8-bit type of the result, as a scalar spec. Raises ValueError if clamp or zero point do not fit it."""
    to = element_type(attributes["to"])
    require(to.name in ("int8", "uint8"), f"to must be int8 or uint8, not {to}")
    low, high = integer_range(to) or (0, 0)
    require(
        low <= attributes["low"] <= attributes["high"] <= high and low <= attributes["y_zero"] <= high,
        f"clamp [{attributes['low']}, {attributes['high']}] and zero point {attributes['y_zero']} must fit {to}",
    )
    return TensorSpec(to, ())


def _check_bytes(ctx: OpContext, *indices: int) -> None:
    for index in indices:
        require(ctx.dtype(index).name in ("int8", "uint8"), f"input {index} must be int8 or uint8")


def _check_channels(ctx: OpContext, channels: int) -> None:
    check_vector(ctx, 2, channels, "scale")
    require(ctx.dtype(2).name == "float32", "scale must be float32")
    if ctx.has(3):
        check_vector(ctx, 3, channels, "bias")
        require(ctx.dtype(3).name == "int32", "bias must be int32")


def requantised(x: Any, y_scale: float, y_zero: int, low: int, high: int, to: int) -> Any:
    """float32 values as 8-bit integers."""
    scaled = np.rint(np.asarray(x, np.float32) / np.float32(y_scale))
    return (np.clip(scaled, low - y_zero, high - y_zero) + y_zero).astype(np_dtype(element_type(to).name))


def _scaled(sums: Any, scale: Any, y_scale: float, y_zero: int, low: int, high: int, to: int) -> Any:
    """Exact sums times scale / y_scale as 8-bit integers."""
    return requantised(sums.astype(np.float32) * (scale / np.float32(y_scale)), 1.0, y_zero, low, high, to)


def _scaled_graph(
    g: Any, sums: str, scale: str, y_scale: float, y_zero: int, low: int, high: int, to: int
) -> str:
    """Appends what `_scaled` does."""
    return requantised_graph(g, g.Mul(sums, g.Div(scale, g.const(y_scale))), 1.0, y_zero, low, high, to)


def requantised_graph(g: Any, x: str, y_scale: float, y_zero: int, low: int, high: int, to: int) -> str:
    """Appends what `requantised` does."""
    y = g.Add(g.Round(g.Div(x, g.const(y_scale))), g.const(float(y_zero)))
    return str(g.Cast(g.Min(g.Max(y, g.const(float(low))), g.const(float(high))), to=to))


def _centred(g: Any, x: str, zero: int) -> str:
    y = str(g.Cast(x, to=1))
    return str(g.Sub(y, g.const(float(zero)))) if zero else y


@rule
def _infer_conv(ctx: OpContext) -> Sequence[TensorSpec]:
    _check_bytes(ctx, 0, 1)
    window = geometry(to_channels_first(ctx.shape(0), ctx.attrs["layout"]), ctx.shape(1), ctx.attrs)
    _check_channels(ctx, ctx.shape(1)[0])
    shape = (ctx.shape(0)[0], ctx.shape(1)[0], *window.out)
    return [TensorSpec(check_result(ctx.attrs).dtype, from_channels_first(shape, ctx.attrs["layout"]))]


@quiet
def quantized_conv(
    x: Any, w: Any, scale: Any, bias: Any = None, *, kernel_shape: Ints = None, strides: Ints = None,
    pads: Ints = None, dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET", layout: str = "NCHW",
    x_zero: int = 0, w_zero: int = 0, y_scale: float = 1.0, y_zero: int = 0, low: int = 0, high: int = 255, to: int = 2,
) -> Any:  # fmt: skip
    """Convolution of integers less their zero points, plus bias, scaled per channel and quantised."""
    attributes = {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
        "auto_pad": auto_pad,
    }  # fmt: skip
    last = text(layout) == "NHWC"
    x = x.transpose(first_perm(x.ndim)) if last else x
    sums = conv_integer(x.astype(np.int32) - x_zero, w.astype(np.int32) - w_zero, **attributes)
    column = (-1, *[1] * (x.ndim - 2))
    sums = sums if bias is None else sums + bias.reshape(column)
    y = _scaled(sums, scale.reshape(column), y_scale, y_zero, low, high, to)
    return np.ascontiguousarray(y.transpose(last_perm(y.ndim))) if last else y


_BYTES = ("uint8", "int8", "float32", "int32")
_IMAGE = [[[[255, 174, 162], [25, 203, 168], [58, 3, 77]], [[1, 0, 9], [130, 131, 77], [255, 255, 0]]]]
_FILTERS = [[[[7, -3], [1, -128]], [[5, 0], [127, 9]]], [[[1, 2], [3, 4]], [[-5, -6], [-7, -8]]]]


@composite(
    "QuantizedConv", "quantize", reference=quantized_conv, infer=_infer_conv, flops=products, ulp=0, dtypes=("uint8",),
    samples=(
        Sample(
            (_IMAGE, _FILTERS, [0.01, 0.02], [100, -300]),
            {"pads": (1, 1, 0, 0), "x_zero": 128, "y_scale": 1.5, "y_zero": 7, "high": 60}, _BYTES,
        ),
        Sample(
            (_IMAGE, _FILTERS, [0.01, 0.02]),
            {"x_zero": 3, "y_scale": 0.75, "y_zero": -4, "low": -100, "high": 127, "to": 3, "strides": (2, 1)}, _BYTES,
        ),
        Sample(
            (_IMAGE, [[[[7, -3], [1, -128]]], [[[1, 2], [3, 4]]]], [0.01, 0.02], [100, -300]),
            {"x_zero": 128, "y_scale": 0.5, "y_zero": 128, "group": 2}, _BYTES,
        ),
    ),
)  # fmt: skip
def quantized_conv_graph(
    g: Any, x: str, w: str, scale: str, bias: str | None = None, *, kernel_shape: Ints = None, strides: Ints = None,
    pads: Ints = None, dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET", layout: str = "NCHW",
    x_zero: int = 0, w_zero: int = 0, y_scale: float = 1.0, y_zero: int = 0, low: int = 0, high: int = 255, to: int = 2,
) -> Any:  # fmt: skip
    """Convolution of 8-bit integers less their zero points, plus an int32 bias, scaled per channel and quantised."""
    rank = len(g.shape(x))
    sums = g.Conv(
        first(g, _centred(g, x, x_zero), layout), _centred(g, w, w_zero), g.Cast(bias, to=1) if bias else None,
        kernel_shape=kernel_shape, strides=strides, pads=pads, dilations=dilations, group=group, auto_pad=auto_pad,
        exact=1,
    )  # fmt: skip
    scales = reshape(g, scale, 1, -1, *[1] * (rank - 2))
    return stored(g, _scaled_graph(g, sums, scales, y_scale, y_zero, low, high, to), layout)


@rule
def _infer_matmul(ctx: OpContext) -> Sequence[TensorSpec]:
    _check_bytes(ctx, 0, 1)
    w = ctx.shape(1)
    require(len(w) == 2 and len(ctx.shape(0)) >= 2, "x must have at least two dimensions and w two")
    w = w[::-1] if ctx.attrs["transB"] else w
    _check_channels(ctx, w[1])
    return [TensorSpec(check_result(ctx.attrs).dtype, matmul_shape(ctx.shape(0), w))]


def _matmul_flops(ctx: OpContext, outs: Sequence[TensorSpec]) -> float:
    return 2.0 * outs[0].size * ctx.shape(0)[-1]


@quiet
def quantized_matmul(
    x: Any, w: Any, scale: Any, bias: Any = None, *, transB: int = 0, x_zero: int = 0, w_zero: int = 0,
    y_scale: float = 1.0, y_zero: int = 0, low: int = 0, high: int = 255, to: int = 2,
) -> Any:  # fmt: skip
    """Product of integers less their zero points, plus bias, scaled per column and quantised."""
    w32 = w.astype(np.int32) - w_zero
    sums = np.matmul(x.astype(np.int32) - x_zero, w32.T if transB else w32)
    sums = sums if bias is None else sums + bias
    return _scaled(sums, scale, y_scale, y_zero, low, high, to)


@composite(
    "QuantizedMatMul", "quantize", reference=quantized_matmul, infer=_infer_matmul, flops=_matmul_flops, ulp=0,
    dtypes=("uint8",),
    samples=(
        Sample(
            ([[208, 236, 0], [3, 214, 255]], [[15, -52], [60, 26], [0, 127]], [0.01, 0.02], [1000, -1000]),
            {"x_zero": 113, "y_scale": 0.7, "y_zero": 118, "low": 118}, _BYTES,
        ),
        Sample(
            ([[208, 236, 0], [3, 214, 255]], [[15, -52, 60], [26, 0, 127]], [0.01, 0.02]),
            {"transB": 1, "y_scale": 0.5, "to": 3, "low": -128, "high": 127}, _BYTES,
        ),
    ),
)  # fmt: skip
def quantized_matmul_graph(
    g: Any, x: str, w: str, scale: str, bias: str | None = None, *, transB: int = 0, x_zero: int = 0,
    w_zero: int = 0, y_scale: float = 1.0, y_zero: int = 0, low: int = 0, high: int = 255, to: int = 2,
) -> Any:  # fmt: skip
    """Product of 8-bit integers less their zero points, plus an int32 bias, scaled per column and quantised."""
    weight = _centred(g, w, w_zero)
    sums = g.MatMul(_centred(g, x, x_zero), g.Transpose(weight, perm=(1, 0)) if transB else weight, exact=1)
    sums = g.Add(sums, g.Cast(bias, to=1)) if bias else sums
    return _scaled_graph(g, sums, scale, y_scale, y_zero, low, high, to)


@rule
def _infer_add(ctx: OpContext) -> Sequence[TensorSpec]:
    _check_bytes(ctx, 0, 1)
    require(
        ctx.shape(0) == ctx.shape(1), f"operands {ctx.shape(0)} and {ctx.shape(1)} must have the same shape"
    )
    return [TensorSpec(check_result(ctx.attrs).dtype, ctx.shape(0))]


@quiet
def quantized_add(
    a: Any, b: Any, *, a_scale: float = 1.0, a_zero: int = 0, b_scale: float = 1.0, b_zero: int = 0,
    y_scale: float = 1.0, y_zero: int = 0, low: int = 0, high: int = 255, to: int = 2,
) -> Any:  # fmt: skip
    """The sum of two dequantised values, quantised."""
    x = (a.astype(np.int32) - a_zero).astype(np.float32) * np.float32(a_scale / y_scale)
    y = (b.astype(np.int32) - b_zero).astype(np.float32) * np.float32(b_scale / y_scale)
    return requantised(x + y, 1.0, y_zero, low, high, to)


@composite(
    "QuantizedAdd", "quantize", reference=quantized_add, infer=_infer_add, flops=operations(8), ulp=0, dtypes=("uint8",),
    samples=(
        Sample(
            ([[0, 3, 255], [128, 7, 9]], [[1, 200, 255], [0, 77, 9]]),
            {"a_scale": 0.5, "a_zero": 3, "b_scale": 0.25, "b_zero": 128, "y_scale": 0.7, "y_zero": 9}, ("uint8",) * 2,
        ),
    ),
)  # fmt: skip
def quantized_add_graph(
    g: Any, a: str, b: str, *, a_scale: float = 1.0, a_zero: int = 0, b_scale: float = 1.0, b_zero: int = 0,
    y_scale: float = 1.0, y_zero: int = 0, low: int = 0, high: int = 255, to: int = 2,
) -> Any:  # fmt: skip
    """The sum of two dequantised 8-bit values of one shape, quantised."""
    x = g.Mul(_centred(g, a, a_zero), g.const(a_scale / y_scale))
    y = g.Mul(_centred(g, b, b_zero), g.const(b_scale / y_scale))
    return requantised_graph(g, g.Add(x, y), 1.0, y_zero, low, high, to)


@rule
def _infer_average(ctx: OpContext) -> Sequence[TensorSpec]:
    _check_bytes(ctx, 0)
    shape = to_channels_first(ctx.shape(0), ctx.attrs["layout"])
    require(len(shape) > 2 and prod(shape[2:]) > 0, "needs pixels to average over")
    made = from_channels_first((*shape[:2], *[1] * (len(shape) - 2)), ctx.attrs["layout"])
    return [TensorSpec(check_result(ctx.attrs).dtype, made)]


def _spatial(rank: int, layout: str | bytes) -> tuple[int, ...]:
    return tuple(range(1, rank - 1) if text(layout) == "NHWC" else range(2, rank))


@quiet
def quantized_global_average_pool(
    x: Any, *, x_scale: float = 1.0, x_zero: int = 0, y_scale: float = 1.0, y_zero: int = 0, low: int = 0,
    high: int = 255, to: int = 2, layout: str = "NCHW",
) -> Any:  # fmt: skip
    """The mean over all spatial positions, from an exact sum, quantised."""
    axes = _spatial(x.ndim, layout)
    sums = (x.astype(np.int32) - x_zero).sum(axes, keepdims=True, dtype=np.int32).astype(np.float32)
    scale = np.float32(np.float32(x_scale) / np.float32(prod(x.shape[a] for a in axes)))
    return requantised(sums * scale, y_scale, y_zero, low, high, to)


@composite(
    "QuantizedGlobalAveragePool", "quantize", reference=quantized_global_average_pool, infer=_infer_average,
    flops=operations(2), ulp=0, dtypes=("uint8",),
    samples=(Sample((_IMAGE,), {"x_scale": 0.5, "x_zero": 3, "y_scale": 0.7, "y_zero": 9}, ("uint8",)),),
)  # fmt: skip
def quantized_global_average_pool_graph(
    g: Any, x: str, *, x_scale: float = 1.0, x_zero: int = 0, y_scale: float = 1.0, y_zero: int = 0, low: int = 0,
    high: int = 255, to: int = 2, layout: str = "NCHW",
) -> Any:  # fmt: skip
    """The mean of 8-bit integers over all spatial positions, from an exact sum, quantised."""
    axes = _spatial(len(g.shape(x)), layout)
    sums = g.ReduceSum(_centred(g, x, x_zero), g.const(list(axes), "int64"), keepdims=1)
    scale = g.Div(g.const(x_scale), g.const(float(prod(g.shape(x)[a] for a in axes))))
    return requantised_graph(g, g.Mul(sums, scale), y_scale, y_zero, low, high, to)


@rule
def _infer_lookup(ctx: OpContext) -> Sequence[TensorSpec]:
    _check_bytes(ctx, 0, 1)
    require(ctx.shape(1) == (256,), f"table {ctx.shape(1)} must have 256 entries")
    return [TensorSpec(ctx.dtype(1), ctx.shape(0))]


def lookup(x: Any, table: Any) -> Any:
    """table[x], where a negative x counts from the table's end."""
    return table[x.view(np.uint8)]


@composite(
    "Lookup", "quantize", reference=lookup, infer=_infer_lookup, flops=operations(1), ulp=0, dtypes=("uint8",),
    samples=(
        Sample(([[0, 3, 255], [128, 7, 9]], [255 - i for i in range(256)]), {}, ("uint8", "uint8")),
        Sample(([[0, 3, -1], [-128, 7, 9]], [i // 3 for i in range(256)]), {}, ("int8", "int8")),
    ),
)  # fmt: skip
def lookup_graph(g: Any, x: str, table: str) -> Any:
    """A table of 256 values indexed by 8-bit integers; a negative one counts from the table's end."""
    return g.Gather(table, g.Cast(x, to=number_of(element_type("int32"))))
