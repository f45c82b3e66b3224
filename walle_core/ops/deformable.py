"""DeformConv: convolution whose taps are moved by learned offsets and read by linear interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from walle_core.ops.convolution import geometry, products
from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import widened
from walle_core.ops.rules import Window, check_equal_dtypes, check_kinds, check_table, check_vector, rule
from walle_core.types import TensorSpec

Ints = Sequence[int] | None


def _window(x: Sequence[int], w: Sequence[int], attributes: Any) -> Window:
    return geometry(x, w, {**attributes, "auto_pad": "NOTSET"})


@rule
def _infer(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    dtype = check_equal_dtypes(ctx, 0, 1, 2, 3, 4)
    x, w = ctx.shape(0), ctx.shape(1)
    window, groups, n = _window(x, w, ctx.attrs), ctx.attrs["offset_group"], len(x) - 2
    if groups < 1 or x[1] % groups:
        raise ValueError(f"offset_group {groups} must divide {x[1]} channels")
    taps = prod(window.kernel)
    for index, channels in ((2, groups * taps * n), (4, groups * taps)):
        wanted = (x[0], channels, *window.out)
        if ctx.has(index) and ctx.shape(index) != wanted:
            raise ValueError(f"input {index} has shape {ctx.shape(index)}, must be {wanted}")
    check_vector(ctx, 3, w[0], "bias")
    return [TensorSpec(dtype, (x[0], w[0], *window.out))]


def base_positions(window: Window) -> list[list[float]]:
    """Per spatial axis, the row-major unmoved positions of every (tap, output)."""
    check_table(prod(window.kernel) * prod(window.out))
    taps = list(product(*map(range, window.kernel)))
    outs = list(product(*map(range, window.out)))
    return [
        [
            float(o[i] * window.strides[i] - window.pads[i] + k[i] * window.dilations[i])
            for k in taps
            for o in outs
        ]
        for i in range(len(window.kernel))
    ]


@widened
def deform_conv(
    x: Any, w: Any, offset: Any, b: Any = None, mask: Any = None, *, dilations: Ints = None, group: int = 1,
    kernel_shape: Ints = None, offset_group: int = 1, pads: Ints = None, strides: Ints = None,
) -> Any:  # fmt: skip
    """Interpolates the moved taps, weights them by the mask and multiplies with the filters."""
    window = _window(x.shape, w.shape, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
    })  # fmt: skip
    n, channels, dims = x.shape[0], x.shape[1], x.ndim - 2
    taps, out = prod(window.kernel), prod(window.out)
    moved = offset.reshape(n, offset_group, taps, dims, out)
    base = np.array(base_positions(window), x.dtype).reshape(dims, taps, out)
    places = [moved[:, :, :, a] + base[a] for a in range(dims)]  # each [n, offset groups, taps, out]
    floors = [np.floor(p) for p in places]
    flat = x.reshape(n, offset_group, channels // offset_group, prod(x.shape[2:]))
    columns = np.zeros((n, offset_group, channels // offset_group, taps, out), x.dtype)
    for corner in product((0, 1), repeat=dims):
        weight, index = np.ones_like(places[0]), np.zeros(places[0].shape, np.int64)
        for p, f, c, size in zip(places, floors, corner, x.shape[2:], strict=True):
            at = f + c
            weight = weight * (1 - np.abs(p - at)) * ((at >= 0) & (at < size))
            index = index * size + np.clip(at, 0, size - 1).astype(np.int64)
        picked = np.take_along_axis(flat, index.reshape(n, offset_group, 1, taps * out), 3)
        columns += picked.reshape(columns.shape) * weight[:, :, None]
    if mask is not None:
        columns *= mask.reshape(n, offset_group, 1, taps, out)
    rows = channels // group * taps
    y = np.matmul(w.reshape(group, w.shape[0] // group, rows), columns.reshape(n, group, rows, out))
    y = y.reshape(n, w.shape[0], *window.out)
    return y if b is None else y + b.reshape(-1, *[1] * dims)


@composite(
    "DeformConv", "convolution", reference=deform_conv, infer=_infer, flops=lambda ctx, outs: 3 * products(ctx, outs),
    ulp=256, domain=(-1, 1),
    samples=(
        Sample(((1, 2, 4, 5), (3, 2, 2, 2), (1, 8, 3, 4))),
        Sample(((2, 4, 5, 5), (4, 2, 3, 3), (2, 36, 5, 5), (4,), (2, 18, 5, 5)), {
            "group": 2, "offset_group": 2, "pads": (1, 1, 1, 1),
        }),
    ),
)  # fmt: skip
def deform_conv_graph(
    g: Any, x: str, w: str, offset: str, b: str | None = None, mask: str | None = None, *, dilations: Ints = None,
    group: int = 1, kernel_shape: Ints = None, offset_group: int = 1, pads: Ints = None, strides: Ints = None,
) -> Any:  # fmt: skip
    """Convolution with taps moved by offsets; positions between elements are interpolated, outside ones are zero."""
    sizes, filters = g.shape(x), g.shape(w)
    window = _window(sizes, filters, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
    })  # fmt: skip
    n, dims, each = sizes[0], len(sizes) - 2, sizes[1] // offset_group
    taps, out = prod(window.kernel), prod(window.out)
    moved = reshape(g, offset, n, offset_group, taps, dims, out)
    zero, one = g.const(0, like=x), g.const(1, like=x)
    places, floors = [], []
    for axis, base in enumerate(base_positions(window)):
        part = g.Slice(moved, *(g.const([v], "int64") for v in (axis, axis + 1, 3)))
        part = g.Add(reshape(g, part, n, offset_group, 1, taps * out), g.const(base, like=x))
        places.append(part)
        floors.append(g.Floor(part))
    flat = reshape(g, x, n, offset_group, each, prod(sizes[2:]))
    total: Any = None
    for corner in product((0, 1), repeat=dims):
        weight, index = None, None
        for p, f, c, size in zip(places, floors, corner, sizes[2:], strict=True):
            at = g.Add(f, one) if c else f
            last = g.const(size - 1, like=x)
            kept = g.Min(g.Max(at, zero), last)
            near = g.Where(g.Equal(at, kept), g.Sub(one, g.Abs(g.Sub(p, at))), zero)
            weight = g.Mul(weight, near) if weight else near
            step = g.Cast(kept, to=7)
            index = g.Add(g.Mul(index, g.const(size, "int64")), step) if index else step
        index = g.Expand(index, g.const([n, offset_group, each, taps * out], "int64"))
        term = g.Mul(g.GatherElements(flat, index, axis=3), weight)
        total = g.Add(total, term) if total else term
    if mask:
        total = g.Mul(total, reshape(g, mask, n, offset_group, 1, taps * out))
    columns = reshape(g, total, n, group, filters[1] * taps, out)
    y = g.MatMul(reshape(g, w, group, filters[0] // group, filters[1] * taps), columns)
    y = reshape(g, y, n, filters[0], *window.out)
    return g.Add(y, reshape(g, b, -1, *[1] * dims)) if b else y
