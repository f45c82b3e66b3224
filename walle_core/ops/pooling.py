"""Pooling over sliding windows and over whole feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import first, reshape, stored
from walle_core.ops.precision import widened
from walle_core.ops.rules import (
    MAX_LENGTH,
    MAX_TAPS,
    Window,
    check_kinds,
    check_table,
    from_channels_first,
    rule,
    text,
    to_channels_first,
)
from walle_core.ops.windows import channels_first, channels_stored, windows_of
from walle_core.types import DType, TensorSpec, int64

Ints = Sequence[int] | None


def geometry(shape: Sequence[int], attributes: Any) -> Window:
    """Window of a pooling over [N, C, spatial...]. Raises ValueError on a misfit."""
    window = Window.of(
        shape[2:], attributes["kernel_shape"], attributes["strides"], attributes["pads"], attributes["dilations"],
        attributes["auto_pad"], attributes["ceil_mode"],
    )  # fmt: skip
    n = len(window.kernel)
    if prod(window.kernel) > MAX_TAPS or max(window.kernel) > MAX_LENGTH:
        raise ValueError(
            f"a window of {window.kernel} has more than {MAX_TAPS} elements or an axis above {MAX_LENGTH}"
        )
    if any(window.pads[i] >= window.extent[i] or window.pads[n + i] >= window.extent[i] for i in range(n)):
        raise ValueError(f"pads {window.pads} must be smaller than the window {window.extent}")
    return window


def _pooled(ctx: OpContext) -> tuple[int, ...]:
    shape = to_channels_first(ctx.shape(0), ctx.attrs.get("layout", "NCHW"))
    return from_channels_first((*shape[:2], *geometry(shape, ctx.attrs).out), ctx.attrs.get("layout", "NCHW"))


@rule
def _infer_pool(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    return [TensorSpec(ctx.dtype(0), _pooled(ctx))]


@rule
def _infer_max(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "fiu", 0)
    shape = _pooled(ctx)
    if text(ctx.attrs["layout"]) == "NCHW":
        return [TensorSpec(ctx.dtype(0), shape), TensorSpec(int64, shape)]
    if ctx.n_outputs > 1:
        raise ValueError("indices exist for layout NCHW only")
    return [TensorSpec(ctx.dtype(0), shape)]


def _taps(ctx: OpContext, outs: Sequence[TensorSpec]) -> float:
    return float(outs[0].size * prod(ctx.attrs["kernel_shape"]))


def lowest(dtype: DType) -> float:
    """The value that never wins a maximum."""
    if dtype.kind == "f":
        return float("-inf")
    return 0.0 if dtype.kind == "u" else -float(1 << (dtype.bits - 1))


@widened
def max_pool(
    x: Any, *, kernel_shape: Ints, strides: Ints = None, pads: Ints = None, dilations: Ints = None,
    auto_pad: str = "NOTSET", ceil_mode: int = 0, storage_order: int = 0, layout: str = "NCHW",
) -> Any:  # fmt: skip
    """Maximum of every window, and its index in the flattened input."""
    x = channels_first(x, layout)
    window = geometry(x.shape, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations,
        "auto_pad": auto_pad, "ceil_mode": ceil_mode,
    })  # fmt: skip
    view = windows_of(x, window, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    best = np.array(view[(slice(None), slice(None), *[0] * len(window.kernel))])
    tap = np.zeros(best.shape, np.int32)
    for number, index in enumerate(np.ndindex(*window.kernel)):
        if number:
            other = view[(slice(None), slice(None), *index)]
            better = (
                (other > best) | (np.isnan(other) & ~np.isnan(best)) if x.dtype.kind == "f" else other > best
            )
            np.copyto(best, other, where=better)
            np.copyto(tap, number, where=better)
    table = np.array(_index_table(window, storage_order)).reshape(prod(window.kernel), prod(window.out))
    flat = table[tap.reshape(prod(x.shape[:2]), prod(window.out)), np.arange(prod(window.out))]
    planes = np.arange(prod(x.shape[:2]))[:, None] * prod(window.spatial)
    return channels_stored(best, layout), (flat + planes).reshape(best.shape)


def _index_table(window: Window, storage_order: int) -> list[int]:
    """Offset inside a plane of every (tap, output), row-major; padding gets an arbitrary offset inside."""
    n = len(window.spatial)
    order = range(n) if storage_order else range(n - 1, -1, -1)
    steps, step = [0] * n, 1
    for axis in order:
        steps[axis], step = step, step * window.spatial[axis]
    offsets = [[0]]
    for i in range(n):
        rows = []
        for k in range(window.kernel[i]):
            at = (
                o * window.strides[i] - window.pads[i] + k * window.dilations[i] for o in range(window.out[i])
            )
            rows.append([min(max(a, 0), window.spatial[i] - 1) * steps[i] for a in at])
        offsets = [[a + b for a in taken for b in row] for taken in offsets for row in rows]
    return [v for row in offsets for v in row]


def _columns(g: Any, x: str, window: Window, fill: float) -> str:
    return str(
        g.Im2Col(
            x, kernel_shape=window.kernel, strides=window.strides, pads=window.full_pads, dilations=window.dilations,
            fill=fill,
        )
    )  # fmt: skip


_WINDOWS = (
    Sample(((1, 3, 8, 9),), {"kernel_shape": (2, 2), "strides": (2, 2)}),
    Sample(((2, 3, 9, 9),), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    Sample(((1, 2, 8, 8),), {"kernel_shape": (3, 2), "strides": (2, 3), "ceil_mode": 1}),
    Sample(((1, 2, 10),), {"kernel_shape": (3,), "auto_pad": "SAME_UPPER", "strides": (2,)}),
    Sample(((1, 2, 10),), {"kernel_shape": (2,), "auto_pad": "SAME_LOWER"}),
    Sample(((1, 2, 5, 6, 7),), {"kernel_shape": (2, 3, 2)}),
    Sample(((1, 2, 9, 9),), {"kernel_shape": (3, 3), "dilations": (2, 2)}),
)
_LAST = (
    Sample(
        ((1, 9, 9, 5),), {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "layout": "NHWC"}
    ),
)


@composite(
    "MaxPool",
    "pooling",
    reference=max_pool,
    infer=_infer_max,
    flops=_taps,
    ulp=0,
    samples=(*_WINDOWS, *_LAST),
)
def max_pool_graph(
    g: Any, x: str, *, kernel_shape: Ints, strides: Ints = None, pads: Ints = None, dilations: Ints = None,
    auto_pad: str = "NOTSET", ceil_mode: int = 0, storage_order: int = 0, layout: str = "NCHW",
) -> Any:  # fmt: skip
    """Maximum of every window of [N, C, spatial...] ([N, spatial..., C] for layout NHWC), and where it is."""
    x = first(g, x, layout)
    sizes = g.shape(x)
    window = geometry(sizes, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations,
        "auto_pad": auto_pad, "ceil_mode": ceil_mode,
    })  # fmt: skip
    columns = _columns(g, x, window, lowest(g.dtype(x)))
    shape = (*sizes[:2], *window.out)
    y = stored(g, reshape(g, g.ReduceMax(columns, g.const([2], "int64"), keepdims=0), *shape), layout)
    if g.n_outputs < 2:
        return y
    out = prod(window.out)
    check_table(prod(window.kernel) * out)
    tap = g.ArgMax(columns, axis=2, keepdims=0)
    places = g.Add(g.Mul(tap, g.const(out, "int64")), g.const(list(range(out)), "int64"))
    check_table(prod(sizes[:2]))
    planes = g.const([i * prod(window.spatial) for i in range(prod(sizes[:2]))], "int64")
    inside = g.Gather(g.const(_index_table(window, storage_order), "int64"), places)
    flat = g.Add(inside, reshape(g, planes, *sizes[:2], 1))
    return y, reshape(g, flat, *shape)


@widened
def average_pool(
    x: Any, *, kernel_shape: Ints, strides: Ints = None, pads: Ints = None, dilations: Ints = None,
    auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0, layout: str = "NCHW",
) -> Any:  # fmt: skip
    """Mean of every window."""
    x = channels_first(x, layout)
    window = geometry(x.shape, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations,
        "auto_pad": auto_pad, "ceil_mode": ceil_mode,
    })  # fmt: skip
    counts = np.array(window.counts(count_include_pad), x.dtype).reshape(window.out)
    return channels_stored(_tap_sum(windows_of(x, window), window) / counts, layout)


def _tap_sum(view: Any, window: Window) -> Any:
    return np.sum(view, tuple(range(2, 2 + len(window.kernel))), dtype=view.dtype)


@composite(
    "AveragePool", "pooling", reference=average_pool, infer=_infer_pool, flops=_taps, ulp=8,
    samples=(
        *_WINDOWS, *_LAST,
        Sample(((2, 3, 9, 9),), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "count_include_pad": 1}),
        Sample(((1, 2, 8, 8),), {
            "kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 0, 0), "ceil_mode": 1, "count_include_pad": 1,
        }),
    ),
)  # fmt: skip
def average_pool_graph(
    g: Any, x: str, *, kernel_shape: Ints, strides: Ints = None, pads: Ints = None, dilations: Ints = None,
    auto_pad: str = "NOTSET", ceil_mode: int = 0, count_include_pad: int = 0, layout: str = "NCHW",
) -> Any:  # fmt: skip
    """Mean of every window of [N, C, spatial...] ([N, spatial..., C] for layout NHWC)."""
    x = first(g, x, layout)
    sizes = g.shape(x)
    window = geometry(sizes, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations,
        "auto_pad": auto_pad, "ceil_mode": ceil_mode,
    })  # fmt: skip
    total = g.ReduceSum(_columns(g, x, window, 0.0), g.const([2], "int64"), keepdims=0)
    inside = not any(window.full_pads)  # then all windows have one size
    mean = g.Div(
        total, g.const(float(prod(window.kernel)) if inside else window.counts(count_include_pad), like=x)
    )
    return stored(g, reshape(g, mean, *sizes[:2], *window.out), layout)


@widened
def lp_pool(
    x: Any, *, kernel_shape: Ints, strides: Ints = None, pads: Ints = None, dilations: Ints = None,
    auto_pad: str = "NOTSET", ceil_mode: int = 0, p: int = 2,
) -> Any:  # fmt: skip
    """p-norm of every window."""
    window = geometry(x.shape, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations,
        "auto_pad": auto_pad, "ceil_mode": ceil_mode,
    })  # fmt: skip
    return np.power(_tap_sum(windows_of(np.power(np.abs(x), p), window), window), x.dtype.type(1 / p))


@rule
def _infer_lp(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    if ctx.attrs["p"] < 1:
        raise ValueError(f"p {ctx.attrs['p']} must be at least 1")
    return [TensorSpec(ctx.dtype(0), _pooled(ctx))]


def norm(g: Any, x: str, p: int, total: Any) -> str:
    """p-th root of total(|x|**p); `total` appends the sum."""
    size = g.Abs(x)
    if p == 1:
        return str(total(size))
    power = g.Mul(size, size) if p == 2 else g.Pow(size, g.const(p, like=x))
    return str(g.Sqrt(total(power)) if p == 2 else g.Pow(total(power), g.const(1 / p, like=x)))


@composite(
    "LpPool", "pooling", reference=lp_pool, infer=_infer_lp, flops=lambda ctx, outs: 4 * _taps(ctx, outs), ulp=16,
    samples=(*_WINDOWS, Sample(((1, 2, 7, 7),), {"kernel_shape": (2, 2), "p": 3})),
)  # fmt: skip
def lp_pool_graph(
    g: Any, x: str, *, kernel_shape: Ints, strides: Ints = None, pads: Ints = None, dilations: Ints = None,
    auto_pad: str = "NOTSET", ceil_mode: int = 0, p: int = 2,
) -> Any:  # fmt: skip
    """p-norm of every window of [N, C, spatial...]."""
    sizes = g.shape(x)
    window = geometry(sizes, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations,
        "auto_pad": auto_pad, "ceil_mode": ceil_mode,
    })  # fmt: skip
    columns = _columns(g, x, window, 0.0)
    pooled = norm(g, columns, p, lambda v: g.ReduceSum(v, g.const([2], "int64"), keepdims=0))
    return reshape(g, pooled, *sizes[:2], *window.out)
