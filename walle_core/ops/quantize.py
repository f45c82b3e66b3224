"""Linear quantization: y = saturate(round(x / scale) + zero_point) and its inverse, per tensor, per axis or per block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.ops.cast import convert
from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.element_types import element_type, number_of
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import np_dtype, quiet
from walle_core.ops.rules import check_kinds, normal_axis, operations, require, rule
from walle_core.types import DTYPES, DType, TensorSpec, float32, uint8

Shape = Sequence[int]


def scale_layout(x: Shape, scale: Shape, axis: int, block_size: int) -> tuple[str, int]:
    """How a scale covers x: ("tensor" | "axis" | "block", axis). Raises ValueError if it does not."""
    if len(scale) == 0 or (tuple(scale) == (1,) and block_size == 0):
        return "tensor", 0
    axis = normal_axis(axis, len(x)) if len(x) > 1 else 0
    if len(scale) == 1 and block_size == 0:
        require(
            len(x) > 0 and scale[0] == x[axis],
            f"scale {tuple(scale)} must have {tuple(x)}'s size along axis {axis}",
        )
        return "axis", axis
    require(
        block_size > 0, f"scale {tuple(scale)} of x {tuple(x)} is per block and needs a block_size above 0"
    )
    blocks = [-(-d // block_size) if i == axis else d for i, d in enumerate(x)]
    require(
        list(scale) == blocks,
        f"scale {tuple(scale)} must be {tuple(blocks)} for blocks of {block_size} along {axis}",
    )
    return "block", axis


def integer_range(dtype: DType) -> tuple[int, int] | None:
    """Smallest and largest value of an integer type; None for floats."""
    if dtype.kind not in "iu":
        return None
    return (
        (0, 2**dtype.bits - 1) if dtype.kind == "u" else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1)
    )


def spread(v: Any, shape: Shape, axis: int, block_size: int) -> Any:
    """A scale or zero point as an array that broadcasts to `shape`."""
    kind, axis = scale_layout(shape, v.shape, axis, block_size)
    if kind == "tensor":
        return v.reshape(())
    if kind == "axis":
        return v.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.repeat(v, block_size, axis=axis)[tuple(slice(0, d) for d in shape)]


def _spread_graph(g: Any, v: str, shape: Shape, axis: int, block_size: int) -> str:
    kind, axis = scale_layout(shape, g.shape(v), axis, block_size)
    if kind == "tensor":
        return reshape(g, v)
    if kind == "axis":
        return reshape(g, v, *[-1 if i == axis else 1 for i in range(len(shape))])
    sizes = list(g.shape(v))
    wide = reshape(g, v, *sizes[: axis + 1], 1, *sizes[axis + 1 :])
    wide = g.Expand(wide, g.const([*sizes[: axis + 1], block_size, *sizes[axis + 1 :]], "int64"))
    wide = reshape(g, wide, *sizes[:axis], sizes[axis] * block_size, *sizes[axis + 1 :])
    return str(g.Slice(wide, *(g.const([n], "int64") for n in (0, shape[axis], axis))))


def saturated(x: Any, zero_point: Any, to: DType, saturate: bool = True) -> Any:
    """`x` (a scaled float array) rounded half to even, moved by the zero point and clipped into `to`."""
    limits = integer_range(to)
    if limits is None:
        moved = x if zero_point is None else x + zero_point.astype(x.dtype)
        return convert(moved.astype(np.float32), to, saturate)
    wide = np.rint(x).astype(np.float64)
    moved = wide if zero_point is None else wide + zero_point.astype(np.float64)
    return np.clip(np.nan_to_num(moved, nan=0.0, posinf=limits[1], neginf=limits[0]), *limits).astype(
        np_dtype(to.name)
    )


def _division_dtype(x: DType, scale: DType, precision: int) -> DType:
    """Element type of x / scale: the attribute's, else the scale's, else x's, where these are floats that divide."""
    if precision:
        return element_type(precision)
    return next((d for d in (scale, x) if d.kind == "f" and d.bits >= 16), float32)


@rule
def _infer_quantize(ctx: OpContext) -> Sequence[TensorSpec]:
    to = element_type(ctx.attrs["output_dtype"]) if ctx.attrs["output_dtype"] else None
    check_kinds(ctx, "fi", 0, 1)
    scale_layout(ctx.shape(0), ctx.shape(1), ctx.attrs["axis"], ctx.attrs["block_size"])
    if ctx.has(2):
        require(
            ctx.shape(2) == ctx.shape(1) or ctx.spec(1).size == ctx.spec(2).size == 1,
            f"zero point {ctx.shape(2)} must have the scale's shape {ctx.shape(1)}",
        )
        require(to in (None, ctx.dtype(2)), f"output_dtype {to} is not the zero point's {ctx.dtype(2)}")
        to = ctx.dtype(2)
    return [TensorSpec(to or uint8, ctx.shape(0))]


@quiet
def quantize(
    x: Any, y_scale: Any, y_zero_point: Any = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0,
    precision: int = 0, saturate: int = 1,
) -> Any:  # fmt: skip
    """round(x / scale) + zero point, clipped to the range of the output type."""
    to = element_type(y_zero_point.dtype.name if y_zero_point is not None else output_dtype or "uint8")
    kind = np_dtype(_division_dtype(DTYPES[x.dtype.name], DTYPES[y_scale.dtype.name], precision).name)
    scale = spread(y_scale, x.shape, axis, block_size).astype(kind)
    zero = None if y_zero_point is None else spread(y_zero_point, x.shape, axis, block_size)
    return saturated(np.asarray(x.astype(kind) / scale), zero, to, bool(saturate))


_Q = {"dtypes": ("float32",), "ulp": 0}


@composite(
    "QuantizeLinear", "quantize", reference=quantize, infer=_infer_quantize, flops=operations(4), domain=(-100, 100),
    samples=(
        Sample(((3, 5), 0.5, 128), {}, ("float32", "float32", "uint8")),
        Sample(((2, 3, 4), [0.5, 1.0, 2.0], [0, -4, 7]), {"axis": 1}, ("float32", "float32", "int8")),
        Sample(((2, 4), [[0.5, 1.0], [2.0, 4.0]]), {"axis": 1, "block_size": 2, "output_dtype": 3}),
    ), **_Q,
)  # fmt: skip
def quantize_graph(
    g: Any, x: str, y_scale: str, y_zero_point: str | None = None, *, axis: int = 1, block_size: int = 0,
    output_dtype: int = 0, precision: int = 0, saturate: int = 1,
) -> Any:  # fmt: skip
    """round(x / scale) + zero point, clipped to the range of the output type."""
    to = g.dtype(y_zero_point) if y_zero_point else element_type(output_dtype or "uint8")
    kind = number_of(_division_dtype(g.dtype(x), g.dtype(y_scale), precision))
    scale = _spread_graph(g, g.Cast(y_scale, to=kind), g.shape(x), axis, block_size)
    scaled = g.Cast(g.Div(g.Cast(x, to=kind), scale), to=1)
    zero = (
        _spread_graph(g, g.Cast(y_zero_point, to=1), g.shape(x), axis, block_size) if y_zero_point else None
    )
    return saturated_graph(g, scaled, zero, to, saturate)


def saturated_graph(g: Any, x: str, zero: str | None, to: DType, saturate: int = 1) -> str:
    """Appends rounding, zero point (float32), clipping and the conversion of a float32 value."""
    limits = integer_range(to)
    x = g.Round(x) if limits else x
    x = g.Add(x, zero) if zero else x
    if limits:
        x = g.Min(g.Max(x, g.const(float(limits[0]))), g.const(float(limits[1])))
    return str(g.Cast(x, to=number_of(to), saturate=saturate))


def _dequantized_dtype(scale: DType, output_dtype: int) -> DType:
    return element_type(output_dtype) if output_dtype else scale if scale.bits >= 16 else float32


@rule
def _infer_dequantize(ctx: OpContext) -> Sequence[TensorSpec]:
    check_kinds(ctx, "f", 1)
    scale_layout(ctx.shape(0), ctx.shape(1), ctx.attrs["axis"], ctx.attrs["block_size"])
    if ctx.has(2):
        require(
            ctx.shape(2) == ctx.shape(1) or ctx.spec(1).size == ctx.spec(2).size == 1,
            f"zero point {ctx.shape(2)} must have the scale's shape {ctx.shape(1)}",
        )
        require(ctx.dtype(2) == ctx.dtype(0), f"zero point's type {ctx.dtype(2)} must be x's {ctx.dtype(0)}")
    return [TensorSpec(_dequantized_dtype(ctx.dtype(1), ctx.attrs["output_dtype"]), ctx.shape(0))]


@quiet
def dequantize(
    x: Any,
    x_scale: Any,
    x_zero_point: Any = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Any:
    """(x - zero point) * scale in the output type."""
    kind = np_dtype(_dequantized_dtype(DTYPES[x_scale.dtype.name], output_dtype).name)
    wide = np.int64 if DTYPES[x.dtype.name].kind in "iu" else np.float32
    y = x.astype(wide)
    if x_zero_point is not None:
        y = y - spread(x_zero_point, x.shape, axis, block_size).astype(wide)
    return np.asarray(y.astype(kind) * spread(x_scale, x.shape, axis, block_size).astype(kind))


@composite(
    "DequantizeLinear", "quantize", reference=dequantize, infer=_infer_dequantize, flops=operations(2), ulp=1,
    dtypes=("uint8",),
    samples=(
        Sample(([[0, 3, 255], [128, 7, 9]], 0.5, 128), {}, ("uint8", "float32", "uint8")),
        Sample(([[-128, 3], [127, 7]], [0.5, 2.0], [1, -5]), {"axis": 0}, ("int8", "float32", "int8")),
        Sample(([[-128, 3, 5], [127, 7, 9]], [[0.5, 2.0], [1.0, 4.0]]), {"block_size": 2}, ("int8", "float32")),
    ),
)  # fmt: skip
def dequantize_graph(
    g: Any, x: str, x_scale: str, x_zero_point: str | None = None, *, axis: int = 1, block_size: int = 0,
    output_dtype: int = 0,
) -> Any:  # fmt: skip
    """(x - zero point) * scale in the output type."""
    kind = number_of(_dequantized_dtype(g.dtype(x_scale), output_dtype))
    wide = 6 if g.dtype(x).kind in "iu" else 1
    y = g.Cast(x, to=wide)
    if x_zero_point:
        y = g.Sub(y, _spread_graph(g, g.Cast(x_zero_point, to=wide), g.shape(x), axis, block_size))
    return g.Mul(g.Cast(y, to=kind), _spread_graph(g, g.Cast(x_scale, to=kind), g.shape(x), axis, block_size))


@rule
def _infer_dynamic(ctx: OpContext) -> Sequence[TensorSpec]:
    require(ctx.dtype(0) == float32, "x must be float32")
    return [TensorSpec(uint8, ctx.shape(0)), TensorSpec(float32, ()), TensorSpec(uint8, ())]


@quiet
def dynamic_quantize(x: Any) -> Any:
    """y, scale and zero point that map the range of x, with 0 in it, to 0..255."""
    low, high = np.minimum(x.min(initial=0), 0), np.maximum(x.max(initial=0), 0)
    scale = np.asarray((high - low) / np.float32(255), np.float32)
    if scale == 0:
        scale = np.asarray(1, np.float32)
    zero = np.asarray(np.clip(np.rint(-low / scale), 0, 255), np.uint8)
    return saturated(x / scale, zero, uint8), scale, zero


@composite(
    "DynamicQuantizeLinear", "quantize", reference=dynamic_quantize, infer=_infer_dynamic, flops=operations(6), ulp=1,
    samples=(Sample(((3, 5),)), Sample(([1.0, 2.0, 5.0],)), Sample(([-1.0, -2.0],))),
)  # fmt: skip
def dynamic_quantize_graph(g: Any, x: str) -> Any:
    """y, scale and zero point that map the range of x, with 0 in it, to 0..255."""
    zero, top = g.const(0.0), g.const(255.0)
    low, high = (
        g.op(r, g.op(f, x, keepdims=0), zero) for r, f in (("Min", "ReduceMin"), ("Max", "ReduceMax"))
    )
    span = g.Sub(high, low)
    scale = g.Where(g.Equal(span, zero), g.const(1.0), g.Div(span, top))
    point = g.Min(g.Max(g.Round(g.Div(g.Sub(zero, low), scale)), zero), top)
    return saturated_graph(g, g.Div(x, scale), point, uint8), scale, g.Cast(point, to=number_of(uint8))
