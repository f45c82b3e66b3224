"""Products of quantized operands: MatMulInteger, QLinearMatMul, QLinearConv. Accumulation is exact in 32-bit integers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.convolution import conv_integer, geometry
from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import quiet
from walle_core.ops.quantize import saturated, saturated_graph
from walle_core.ops.rules import broadcasts_to, matmul_shape, require, rule
from walle_core.types import DTYPES, TensorSpec, int32

Ints = Sequence[int] | None


def _matmul_flops(ctx: OpContext, outs: Sequence[TensorSpec]) -> float:
    return 2.0 * outs[0].size * ctx.shape(0)[-1]


def _row_shape(v: Sequence[int], rank: int) -> tuple[int, ...]:
    """Shape in which a parameter of the left operand broadcasts: one entry per row, a scalar, or given in full."""
    return (*v, 1) if len(v) == 1 and prod(v) > 1 and rank > 1 else tuple(v) if prod(v) > 1 else ()


def _check_parameter(name: str, v: Sequence[int], operand: Sequence[int], left: bool) -> None:
    shape = _row_shape(v, len(operand)) if left else tuple(v) if prod(v) > 1 else ()
    require(
        broadcasts_to(shape, operand), f"{name} {tuple(v)} must be a scalar or one entry per row or column"
    )


@rule
def _infer_integer(ctx: OpContext) -> Sequence[TensorSpec]:
    for index in (0, 1):
        require(ctx.dtype(index).name in ("int8", "uint8"), f"input {index} must be int8 or uint8")
        if ctx.has(index + 2):
            _check_parameter("zero point", ctx.shape(index + 2), ctx.shape(index), index == 0)
    return [TensorSpec(int32, matmul_shape(ctx.shape(0), ctx.shape(1)))]


def _centred(x: Any, zero: Any, left: bool) -> Any:
    wide = np.int32 if DTYPES[x.dtype.name].kind in "iu" else np.float32
    y = x.astype(wide)
    if zero is None:
        return y
    zero = zero.astype(wide)
    return y - zero.reshape(_row_shape(zero.shape, x.ndim) if left else zero.shape if zero.size > 1 else ())


def matmul_integer(a: Any, b: Any, a_zero_point: Any = None, b_zero_point: Any = None) -> Any:
    """Matrix product of integers less their zero points, in int32."""
    return np.matmul(_centred(a, a_zero_point, True), _centred(b, b_zero_point, False))


def _centred_graph(g: Any, x: str, zero: str | None, left: bool) -> str:
    wide = 6 if g.dtype(x).kind in "iu" else 1
    y = str(g.Cast(x, to=wide))
    if not zero:
        return y
    shape = g.shape(zero)
    shape = _row_shape(shape, len(g.shape(x))) if left else shape if prod(shape) > 1 else ()
    return str(g.Sub(y, reshape(g, g.Cast(zero, to=wide), *shape)))


@composite(
    "MatMulInteger", "matmul", reference=matmul_integer, infer=_infer_integer, flops=_matmul_flops, ulp=0,
    samples=(
        Sample(([[11, 7, 3], [10, 6, 2]], [[1, 4], [2, 5], [3, 6]], 12, 0), {}, ("uint8",) * 4),
        Sample(([[-11, 7, 3], [10, 6, 2]], [[1, 4], [2, 5], [3, 6]], [1, -2], [3, 4]), {}, ("int8", "uint8") * 2),
    ),
)  # fmt: skip
def matmul_integer_graph(
    g: Any, a: str, b: str, a_zero_point: str | None = None, b_zero_point: str | None = None
) -> Any:
    """Matrix product of integers less their zero points, in int32."""
    return g.MatMul(_centred_graph(g, a, a_zero_point, True), _centred_graph(g, b, b_zero_point, False))


@rule
def _infer_qmatmul(ctx: OpContext) -> Sequence[TensorSpec]:
    for first in (0, 3):
        for index in (first + 1, first + 2):
            _check_parameter("scale or zero point", ctx.shape(index), ctx.shape(first), first == 0)
    return [TensorSpec(ctx.dtype(7), matmul_shape(ctx.shape(0), ctx.shape(3)))]


def _single(v: Any, left: bool, rank: int) -> Any:
    v = v.astype(np.float32)
    return v.reshape(_row_shape(v.shape, rank) if left else v.shape if v.size > 1 else ())


@quiet
def qlinear_matmul(
    a: Any,
    a_scale: Any,
    a_zero_point: Any,
    b: Any,
    b_scale: Any,
    b_zero_point: Any,
    y_scale: Any,
    y_zero_point: Any,
) -> Any:
    """Matrix product of quantized operands, quantized again."""
    sums = np.matmul(_centred(a, a_zero_point, True), _centred(b, b_zero_point, False)).astype(np.float32)
    scale = (
        _single(a_scale, True, a.ndim) * _single(b_scale, False, b.ndim) / _single(y_scale, True, sums.ndim)
    )
    zero = _single(y_zero_point, True, sums.ndim)
    return saturated(sums * scale, zero, DTYPES[y_zero_point.dtype.name])


_QMATMUL_TYPES = ("uint8", "float32", "uint8") * 2 + ("float32", "uint8")


@composite(
    "QLinearMatMul", "matmul", reference=qlinear_matmul, infer=_infer_qmatmul, flops=_matmul_flops, ulp=0,
    samples=(
        Sample(
            ([[208, 236, 0], [3, 214, 255]], 0.0066, 113, [[152, 51], [60, 26], [0, 127]], 0.00705, 114, 0.0107, 118),
            {}, _QMATMUL_TYPES,
        ),
    ),
)  # fmt: skip
def qlinear_matmul_graph(
    g: Any, a: str, a_scale: str, a_zero_point: str, b: str, b_scale: str, b_zero_point: str, y_scale: str,
    y_zero_point: str,
) -> Any:  # fmt: skip
    """Matrix product of quantized operands, quantized again."""
    product = g.MatMul(_centred_graph(g, a, a_zero_point, True), _centred_graph(g, b, b_zero_point, False))
    sums = g.Cast(product, to=1)

    def single(v: str, left: bool, rank: int) -> str:
        shape = g.shape(v)
        shape = _row_shape(shape, rank) if left else shape if prod(shape) > 1 else ()
        return reshape(g, g.Cast(v, to=1), *shape)

    rank = len(g.shape(sums))
    scale = g.Mul(single(a_scale, True, len(g.shape(a))), single(b_scale, False, len(g.shape(b))))
    scale = g.Div(scale, single(y_scale, True, rank))
    return saturated_graph(g, g.Mul(sums, scale), single(y_zero_point, True, rank), g.dtype(y_zero_point))


@rule
def _infer_qconv(ctx: OpContext) -> Sequence[TensorSpec]:
    x, w = ctx.shape(0), ctx.shape(3)
    window = geometry(x, w, ctx.attrs)
    for index in (1, 2, 6, 7):
        require(prod(ctx.shape(index)) == 1, f"input {index} must be a scalar")
    for index in (4, 5, 8):
        if ctx.has(index):
            allowed = ((w[0],),) if index == 8 else ((), (1,), (w[0],))
            require(
                ctx.shape(index) in allowed, f"input {index} must be a scalar or one entry per output channel"
            )
    return [TensorSpec(ctx.dtype(7), (x[0], w[0], *window.out))]


@quiet
def qlinear_conv(
    x: Any, x_scale: Any, x_zero_point: Any, w: Any, w_scale: Any, w_zero_point: Any, y_scale: Any, y_zero_point: Any,
    b: Any = None, **attributes: Any,
) -> Any:  # fmt: skip
    """Convolution of quantized operands, quantized again."""
    sums = conv_integer(x, w, x_zero_point, w_zero_point, **attributes)
    column = [-1, *[1] * (x.ndim - 2)]
    if b is not None:
        sums = sums + b.reshape(column)
    scale = x_scale.reshape(()) * w_scale.reshape(column if w_scale.size > 1 else ()) / y_scale.reshape(())
    return saturated(
        sums.astype(np.float32) * scale, y_zero_point.reshape(()), DTYPES[y_zero_point.dtype.name]
    )


def _conv_flops(ctx: OpContext, outs: Sequence[TensorSpec]) -> float:
    return 2.0 * outs[0].size * prod(ctx.shape(3)[1:])


@composite(
    "QLinearConv", "convolution", reference=qlinear_conv, infer=_infer_qconv, flops=_conv_flops, ulp=0,
    samples=(
        Sample(
            ([[[[255, 174, 162], [25, 203, 168], [58, 3, 77]]]], 0.00369, 132, [[[[7, 3], [1, 255]]]], 0.00172, 255,
             0.00162, 123),
            {"pads": (1, 1, 0, 0)}, ("uint8", "float32", "uint8") * 2 + ("float32", "uint8"),
        ),
    ),
)  # fmt: skip
def qlinear_conv_graph(
    g: Any, x: str, x_scale: str, x_zero_point: str, w: str, w_scale: str, w_zero_point: str, y_scale: str,
    y_zero_point: str, b: str | None = None, *, kernel_shape: Ints = None, strides: Ints = None, pads: Ints = None,
    dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET",
) -> Any:  # fmt: skip
    """Convolution of quantized operands, quantized again."""
    sums = g.ConvInteger(
        x, w, x_zero_point, w_zero_point, kernel_shape=kernel_shape, strides=strides, pads=pads, dilations=dilations,
        group=group, auto_pad=auto_pad,
    )  # fmt: skip
    column = (-1, *[1] * (len(g.shape(x)) - 2))
    if b:
        sums = g.Add(sums, reshape(g, b, *column))
    many = prod(g.shape(w_scale)) > 1
    scale = g.Mul(reshape(g, x_scale), reshape(g, w_scale, *(column if many else ())))
    scale = g.Div(scale, reshape(g, y_scale))
    zero = g.Cast(reshape(g, y_zero_point), to=1)
    return saturated_graph(g, g.Mul(g.Cast(sums, to=1), scale), zero, g.dtype(y_zero_point))
