"""Convolutions: Conv, ConvInteger and FusedConv, by im2col and a matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.activation import fused
from walle_core.ops.define import Adjoint, OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import first, reshape, stored
from walle_core.ops.precision import widened
from walle_core.ops.rules import (
    Window,
    check_broadcast,
    check_equal_dtypes,
    check_kinds,
    check_vector,
    from_channels_first,
    rule,
    text,
    to_channels_first,
)
from walle_core.ops.windows import windows_of
from walle_core.types import TensorSpec, int32

Ints = Sequence[int] | None


def geometry(x: Sequence[int], w: Sequence[int], attributes: Any) -> Window:
    """Window of a convolution of x [N, C, spatial...] with w [M, C/group, kernel...]. Raises ValueError on a misfit."""
    group = int(attributes["group"])
    if len(x) < 3 or len(w) != len(x):
        raise ValueError(f"input {tuple(x)} and weight {tuple(w)} must have one rank of at least 3")
    if group < 1 or x[1] != w[1] * group or w[0] % group:
        raise ValueError(
            f"{x[1]} input channels and {w[0]} output channels do not fit weight {tuple(w)} with group {group}: "
            "input channels must be weight.shape[1] * group and output channels a multiple of group"
        )
    kernel = attributes["kernel_shape"]
    if kernel and tuple(kernel) != tuple(w[2:]):
        raise ValueError(f"kernel_shape {tuple(kernel)} differs from the weight's {tuple(w[2:])}")
    return Window.of(
        x[2:],
        w[2:],
        attributes["strides"],
        attributes["pads"],
        attributes["dilations"],
        attributes["auto_pad"],
    )


def _conv_shape(ctx: OpContext) -> tuple[int, ...]:
    x = to_channels_first(ctx.shape(0), ctx.attrs.get("layout", "NCHW"))
    window = geometry(x, ctx.shape(1), ctx.attrs)
    return (x[0], ctx.shape(1)[0], *window.out)


def products(ctx: OpContext, outs: Sequence[TensorSpec]) -> float:
    """Operations of a convolution: two per weight of a filter and output element."""
    return 2.0 * outs[0].size * prod(ctx.shape(1)[1:])


@rule
def _infer_conv(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "fi", 0)
    dtype = check_equal_dtypes(ctx, 0, 1, 2)
    check_vector(ctx, 2, ctx.shape(1)[0], "bias")
    return [TensorSpec(dtype, _conv_shape(ctx))]


def _convolve(x: Any, w: Any, window: Window, group: int) -> Any:
    n, channels = x.shape[:2]
    view, each = windows_of(x, window), w.shape[1]
    if each == 1 and w.shape[0] == channels:  # depthwise: one multiply-add per tap, no copied columns
        y = np.zeros((n, channels, *window.out), x.dtype)
        for index in np.ndindex(*window.kernel):
            y += view[(slice(None), slice(None), *index)] * w[(slice(None), 0, *index)].reshape(
                -1, *[1] * len(window.out)
            )
        return y
    columns = view.reshape(n, group, each * prod(window.kernel), prod(window.out))
    y = np.matmul(w.reshape(group, w.shape[0] // group, each * prod(window.kernel)), columns)
    return y.reshape(n, w.shape[0], *window.out)


@widened
def conv(
    x: Any, w: Any, b: Any = None, *, kernel_shape: Ints = None, strides: Ints = None, pads: Ints = None,
    dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET",
) -> Any:  # fmt: skip
    """Convolution of x [N, C, spatial...] with w [M, C/group, kernel...]; returns [N, M, out...]."""
    attributes = {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
        "auto_pad": auto_pad,
    }  # fmt: skip
    y = _convolve(x, w, geometry(x.shape, w.shape, attributes), group)
    return y if b is None else y + b.reshape(-1, *[1] * (x.ndim - 2))


SAMPLES = (
    Sample(((1, 3, 8, 9), (4, 3, 3, 3)), {"pads": (1, 1, 1, 1)}),
    Sample(((2, 3, 8, 9), (4, 3, 3, 3), (4,)), {"strides": (2, 2), "pads": (1, 0, 1, 2)}),
    Sample(((1, 4, 9, 9), (6, 2, 3, 2), (6,)), {"group": 2, "dilations": (2, 1)}),
    Sample(((1, 8, 7, 7), (8, 1, 3, 3), (8,)), {"group": 8, "pads": (1, 1, 1, 1)}),
    Sample(((1, 16, 5, 5), (32, 16, 1, 1), (32,))),
    Sample(((1, 2, 10), (3, 2, 3)), {"auto_pad": "SAME_LOWER", "strides": (2,)}),
    Sample(((1, 2, 4, 5, 6), (3, 2, 2, 2, 3), (3,)), {"auto_pad": "SAME_UPPER"}),
    Sample(((1, 3, 16, 16), (8, 3, 3, 3)), {"pads": (1, 1, 1, 1), "strides": (1, 1)}),
)


def _conv_gradient(g: Any, at: Adjoint) -> list[str | None]:
    """A transposed convolution by x; by w the product of the output's gradient and the columns, over all outputs."""
    x, w, d = at.inputs[0] or "", at.inputs[1] or "", at.grads[0] or ""
    sizes, filters, group = g.shape(x), g.shape(w), int(at.attrs["group"])
    window = geometry(sizes, filters, at.attrs)
    found: list[str | None] = [None, None, None]
    if at.wanted[0]:
        reach = [(o - 1) * s + (k - 1) * e + 1 for o, s, k, e in zip(
            window.out, window.strides, window.kernel, window.dilations, strict=True)]  # fmt: skip
        n = len(reach)
        before = window.pads[:n]
        grow = [
            i + b - r for i, b, r in zip(sizes[2:], before, reach, strict=True)
        ]  # rows that no window reaches
        pads = [max(0, -v) for v in grow]
        found[0] = g.ConvTranspose(
            d, w, strides=window.strides, dilations=window.dilations, group=group, pads=[*before, *pads],
            output_padding=[max(0, v) for v in grow],
        )  # fmt: skip
    if at.wanted[1]:
        taps, out, each = prod(filters[1:]), prod(window.out), filters[0] // group
        columns = g.Im2Col(
            x,
            kernel_shape=window.kernel,
            strides=window.strides,
            pads=window.pads,
            dilations=window.dilations,
        )
        columns, d2 = (
            reshape(g, columns, sizes[0], group, taps, out),
            reshape(g, d, sizes[0], group, each, out),
        )
        if sizes[0] == 1 or each * taps < out * (taps + each):
            total = g.ReduceSum(g.FusedMatMul(d2, columns, transB=1), g.const([0], "int64"), keepdims=0)
        else:  # few outputs, many filters: one product over the outputs of all images
            rows = reshape(g, g.Transpose(columns, perm=(1, 0, 3, 2)), group, sizes[0] * out, taps)
            total = g.MatMul(
                reshape(g, g.Transpose(d2, perm=(1, 2, 0, 3)), group, each, sizes[0] * out), rows
            )
        found[1] = reshape(g, total, *filters)
    if len(at.inputs) > 2 and at.wanted[2]:
        found[2] = g.ReduceSum(d, g.const([0, *range(2, len(sizes))], "int64"), keepdims=0)
    return found[: len(at.inputs)]


@composite(
    "Conv", "convolution", reference=conv, infer=_infer_conv, gradient=_conv_gradient, flops=products, ulp=64, domain=(-1, 1), samples=SAMPLES,
)  # fmt: skip
def conv_graph(
    g: Any, x: str, w: str, b: str | None = None, *, kernel_shape: Ints = None, strides: Ints = None,
    pads: Ints = None, dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET",
) -> Any:  # fmt: skip
    """Convolution of [N, C, spatial...] with filters [M, C/group, kernel...]."""
    sizes, filters = g.shape(x), g.shape(w)
    window = geometry(sizes, filters, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
        "auto_pad": auto_pad,
    })  # fmt: skip
    taps, out = prod(filters[1:]), prod(window.out)
    columns = g.Im2Col(
        x, kernel_shape=window.kernel, strides=window.strides, pads=window.pads, dilations=window.dilations
    )
    columns = reshape(g, columns, sizes[0], group, taps, out)
    y = g.MatMul(reshape(g, w, group, filters[0] // group, taps), columns)
    y = reshape(g, y, sizes[0], filters[0], *window.out)
    return g.Add(y, reshape(g, b, -1, *[1] * len(window.out))) if b else y


@rule
def _infer_integer(ctx: OpContext) -> list[TensorSpec]:
    for index in (0, 1):
        if ctx.dtype(index).name not in ("int8", "uint8"):
            raise ValueError(f"input {index} must be int8 or uint8")
    shape = _conv_shape(ctx)
    if ctx.has(2) and prod(ctx.shape(2)) != 1:
        raise ValueError("x_zero_point must be a scalar")
    if ctx.has(3) and ctx.shape(3) not in ((), (1,), (shape[1],)):
        raise ValueError("w_zero_point must be a scalar or have one entry per output channel")
    return [TensorSpec(int32, shape)]


def conv_integer(
    x: Any, w: Any, x_zero_point: Any = None, w_zero_point: Any = None, **attributes: Any
) -> Any:
    """Convolution of integers less their zero points, in int32."""
    x32, w32 = x.astype(np.int32), w.astype(np.int32)
    if x_zero_point is not None:
        x32 = x32 - x_zero_point.astype(np.int32).reshape(())
    if w_zero_point is not None:
        w32 = w32 - w_zero_point.astype(np.int32).reshape(-1, *[1] * (w.ndim - 1))
    return conv(x32, w32, **attributes)


@composite(
    "ConvInteger", "convolution", reference=conv_integer, infer=_infer_integer, flops=products, ulp=0,
    samples=(
        Sample(([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], [[[[1, 1], [1, 1]]]], 1), {}, ("uint8", "uint8", "uint8")),
        Sample(
            ([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], [[[[1, -1], [2, 1]]]], 1, [3]), {"pads": (1, 1, 1, 1)},
            ("uint8", "int8", "uint8", "int8"),
        ),
    ),
)  # fmt: skip
def conv_integer_graph(
    g: Any, x: str, w: str, x_zero_point: str | None = None, w_zero_point: str | None = None, *,
    kernel_shape: Ints = None, strides: Ints = None, pads: Ints = None, dilations: Ints = None, group: int = 1,
    auto_pad: str = "NOTSET",
) -> Any:  # fmt: skip
    """Convolution of 8-bit integers less their zero points, accumulated in int32; padding counts as zero."""
    rank = len(g.shape(x))
    x32, w32 = g.Cast(x, to=6), g.Cast(w, to=6)
    if x_zero_point:
        x32 = g.Sub(x32, reshape(g, g.Cast(x_zero_point, to=6)))
    if w_zero_point:
        w32 = g.Sub(w32, reshape(g, g.Cast(w_zero_point, to=6), -1, *[1] * (rank - 1)))
    return g.Conv(
        x32, w32, kernel_shape=kernel_shape, strides=strides, pads=pads, dilations=dilations, group=group,
        auto_pad=auto_pad,
    )  # fmt: skip


@rule
def _infer_fused(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    dtype = check_equal_dtypes(ctx, 0, 1, 2, 3)
    check_vector(ctx, 2, ctx.shape(1)[0], "bias")
    shape = from_channels_first(_conv_shape(ctx), ctx.attrs["layout"])
    if ctx.has(3):
        check_broadcast("residual", ctx.shape(3), shape)
    return [TensorSpec(dtype, shape)]


@composite(
    "FusedConv", "convolution", infer=_infer_fused, flops=products, ulp=64, domain=(-1, 1),
    samples=(
        Sample(((1, 3, 8, 9), (4, 3, 3, 3)), {"pads": (1, 1, 1, 1)}),
        Sample(
            ((1, 8, 9, 3), (4, 3, 3, 3), (4,), (1, 8, 9, 4)),
            {"pads": (1, 1, 1, 1), "layout": "NHWC", "activation": "Relu"},
        ),
        Sample(((2, 9, 6), (4, 3, 3), (4,)), {"group": 2, "layout": "NHWC", "activation": "HardSwish"}),
        Sample(
            ((1, 7, 7, 16), (16, 1, 3, 3), (16,)),
            {"group": 16, "layout": "NHWC", "activation": "Clip", "act_beta": 6.0, "strides": (2, 2)},
        ),
        Sample(((1, 5, 5, 16), (33, 16, 1, 1), (33,)), {"layout": "NHWC", "activation": "LeakyRelu", "act_alpha": 0.1}),
    ),
)  # fmt: skip
def fused_conv(
    g: Any, x: str, w: str, bias: str | None = None, residual: str | None = None, *, kernel_shape: Ints = None,
    strides: Ints = None, pads: Ints = None, dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET",
    activation: str = "", act_alpha: float = 0.0, act_beta: float = 0.0, layout: str = "NCHW",
) -> Any:  # fmt: skip
    """activation(conv(x, w) + bias + residual), channels first or last; w is [M, C/group, kernel...] in both."""
    attributes = {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
        "auto_pad": auto_pad,
    }  # fmt: skip
    if text(layout) == "NHWC" and group == 1:
        y = _channels_last(g, x, w, attributes)
        y = g.Add(y, bias) if bias else y
    else:
        y = stored(g, g.Conv(first(g, x, layout), w, bias, **attributes), layout)
    y = g.Add(y, residual) if residual else y
    return fused(g, y, activation, act_alpha, act_beta)


def _channels_last(g: Any, x: str, w: str, attributes: Any) -> str:
    sizes, filters = g.shape(x), g.shape(w)
    window = geometry(to_channels_first(sizes, "NHWC"), filters, attributes)
    columns = g.Im2Col(
        x, kernel_shape=window.kernel, strides=window.strides, pads=window.pads, dilations=window.dilations,
        layout="NHWC",
    )  # fmt: skip
    taps = prod(filters[1:])
    weights = reshape(g, g.Transpose(w, perm=(*range(2, len(filters)), 1, 0)), taps, filters[0])
    y = g.MatMul(reshape(g, columns, sizes[0], prod(window.out), taps), weights)
    return reshape(g, y, sizes[0], *window.out, filters[0])
