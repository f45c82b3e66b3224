"""Reductions over axes: six atomic ones, and those written in them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, composite, define
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import in_float32, like, reshape
from walle_core.ops.precision import average, quiet, widen, widened
from walle_core.ops.rules import (
    Infer,
    check_kinds,
    input_operations,
    normal_axes,
    normal_axis,
    reduced_shape,
    rule,
)
from walle_core.ops.unary import FLOATS
from walle_core.types import TensorSpec, int64

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
DTYPES = (*FLOATS, "int32", "int64")
SAMPLES = (
    Sample(((3, 4, 5),)),
    Sample(((3, 4, 5), [1])),
    Sample(((3, 4, 5), [-1]), {"keepdims": 0}),
    Sample(((3, 4, 5), [0, 2]), {"keepdims": 0}),
    Sample(((7, 33), [0])),
    Sample(((2, 1000), [1])),
    Sample(((),)),
    Sample(((2, 3),), {"noop_with_empty_axes": 1}),
)


def _infer(kinds: str) -> Infer:
    @rule
    def infer(ctx: OpContext) -> list[TensorSpec] | None:
        check_kinds(ctx, kinds, 0)
        shape = ctx.shape(0)
        if ctx.has(1) and not ctx.constant(1):
            return None
        axes = ctx.ints(1) if ctx.has(1) else []
        return [
            TensorSpec(
                ctx.dtype(0),
                reduced_shape(shape, _resolve(axes or [], len(shape), ctx.attrs), ctx.attrs["keepdims"]),
            )
        ]

    return infer


def _resolve(axes: list[int], rank: int, attributes: Any) -> tuple[int, ...]:
    if not axes:
        return () if attributes["noop_with_empty_axes"] else tuple(range(rank))
    return normal_axes(axes, rank)


def _axes_of(x: Any, axes: Any, noop: int) -> tuple[int, ...]:
    listed = [] if axes is None else [int(a) for a in np.asarray(axes).reshape(-1)]
    return _resolve(listed, x.ndim, {"noop_with_empty_axes": noop})


def _reduction(fn: Callable[[Any, tuple[int, ...], bool], Any]) -> Callable[..., Any]:
    @widened
    def reference(data: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        made = fn(data, _axes_of(data, axes, noop_with_empty_axes), bool(keepdims))
        return np.asarray(made).astype(data.dtype, copy=False)

    return reference


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _spread(g: Any, at: Adjoint, name: str) -> str:
    """A value of the reduction's result shape with the reduced axes as axes of size 1."""
    shape = g.shape(at.inputs[0])
    axes = g.ints(at.inputs[1]) if len(at.inputs) > 1 and at.inputs[1] else []
    return reshape(g, name, *reduced_shape(shape, _resolve(axes, len(shape), at.attrs), 1))


def _sum_gradient(g: Any, at: Adjoint) -> list[str | None]:
    shape = g.const(list(g.shape(at.inputs[0])), "int64")
    return [g.Expand(_spread(g, at, at.grads[0] or ""), shape), None][: len(at.inputs)]


def _extreme_gradient(g: Any, at: Adjoint) -> list[str | None]:
    """Elements that equal the extreme share the gradient."""
    x, d = at.inputs[0] or "", _spread(g, at, at.grads[0] or "")
    taken = like(g, g.Cast(g.Equal(x, _spread(g, at, at.outputs[0] or "")), to=1), x)
    flags = {"keepdims": 1, "noop_with_empty_axes": at.attrs["noop_with_empty_axes"]}
    share = g.Div(d, g.ReduceSum(taken, at.inputs[1] if len(at.inputs) > 1 else None, **flags))
    return [g.Mul(taken, share), None][: len(at.inputs)]


def _product_gradient(g: Any, at: Adjoint) -> list[str | None]:
    """The product of the others: with one zero only that one has it, with two none."""
    x, d = at.inputs[0] or "", _spread(g, at, at.grads[0] or "")
    axes = at.inputs[1] if len(at.inputs) > 1 else None
    flags = {"keepdims": 1, "noop_with_empty_axes": at.attrs["noop_with_empty_axes"]}
    null, one = g.const(0, like=x), g.const(1, like=x)
    zero = g.Equal(x, null)
    safe = g.Where(zero, one, x)
    count = g.ReduceSum(g.Where(zero, one, null), axes, **flags)
    rest = g.ReduceProd(safe, axes, **flags)
    others = g.Where(
        zero, g.Where(g.Equal(count, one), rest, null), g.Where(g.Equal(count, null), g.Div(rest, safe), null)
    )
    return [g.Mul(d, others), None][: len(at.inputs)]


def reduction(
    name: str,
    fn: Callable[..., Any],
    doc: str,
    gradient: Callable[..., Any],
    *,
    ulp: float,
    kinds: str = "fiu",
    flops: float = 1,
) -> None:
    """Adds an atomic reduction; `fn(x, axes, keepdims)` is its NumPy form."""
    define(
        name, "atomic", "reduce", reference=_reduction(fn), infer=_infer(kinds), flops=input_operations(flops),
        ulp=ulp, dtypes=DTYPES, samples=SAMPLES, doc=doc, gradient=gradient,
    )  # fmt: skip


reduction(
    "ReduceSum",
    lambda x, a, k: np.sum(x, a, dtype=x.dtype, keepdims=k),
    "Sum over axes.",
    _sum_gradient,
    ulp=8,
)
reduction(
    "ReduceProd",
    lambda x, a, k: np.prod(x, a, dtype=x.dtype, keepdims=k),
    "Product over axes.",
    _product_gradient,
    ulp=64,
)
reduction(
    "ReduceMax", lambda x, a, k: np.max(x, a, keepdims=k, initial=_lowest(x.dtype)),
    "Maximum over axes; NaN wins.", _extreme_gradient, ulp=0, kinds="fiub",
)  # fmt: skip
reduction(
    "ReduceMin", lambda x, a, k: np.min(x, a, keepdims=k, initial=_highest(x.dtype)),
    "Minimum over axes; NaN wins.", _extreme_gradient, ulp=0, kinds="fiub",
)  # fmt: skip


@rule
def _infer_arg(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "fiu", 0)
    shape = ctx.shape(0)
    axis = normal_axis(ctx.attrs["axis"], len(shape))
    if shape and not shape[axis]:
        raise ValueError(f"axis {axis} is empty, so no element is the extreme one")
    return [TensorSpec(int64, reduced_shape(shape, (axis,), ctx.attrs["keepdims"]))]


def _arg(name: str, fn: Callable[[Any, int], Any], doc: str) -> None:
    @quiet
    def reference(data: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        data = widen(data)
        if not data.ndim:
            return np.zeros((), np.int64)
        found = fn(np.flip(data, axis), axis) if select_last_index else fn(data, axis)
        if select_last_index:
            found = data.shape[axis] - 1 - found
        return np.expand_dims(found, axis) if keepdims else found

    define(
        name, "atomic", "reduce", reference=reference, infer=_infer_arg, flops=input_operations(1), ulp=0, doc=doc,
        samples=(
            Sample(((3, 4, 5),), {"axis": 1}),
            Sample(((3, 40),), {"axis": -1, "keepdims": 0}),
            Sample(([[2, 7, 7], [1, 1, 0]],), {"axis": 1, "select_last_index": 1}, ("float32",)),
            Sample(([[2, 7, 7], [1, 1, 0]],), {"axis": 1}, ("float32",)),
        ),
    )  # fmt: skip


_arg(
    "ArgMax",
    lambda x, axis: np.argmax(x, axis),
    "Index of the maximum along an axis, the first (or last) of equals.",
)
_arg(
    "ArgMin",
    lambda x, axis: np.argmin(x, axis),
    "Index of the minimum along an axis, the first (or last) of equals.",
)


def _composite(
    name: str, fn: Callable[..., Any], *, kinds: str = "fiu", flops: float = 2, ulp: float = 8
) -> Decorator:
    return composite(
        name, "reduce", reference=_reduction(fn), infer=_infer(kinds), flops=input_operations(flops), ulp=ulp,
        dtypes=FLOATS, samples=SAMPLES,
    )  # fmt: skip


def _mean_of(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if x.dtype.kind == "f":
        return average(x, axes, keepdims)
    count = prod(x.shape[a] for a in axes)
    total = np.sum(x, axes, dtype=x.dtype, keepdims=keepdims)
    return np.trunc(total / count) if count else total


@_composite("ReduceMean", _mean_of, flops=1)
def _mean(
    g: Any, data: str, axes: str | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """Arithmetic mean over axes."""
    shape = g.shape(data)
    count = prod(
        shape[a]
        for a in _resolve(
            g.ints(axes) if axes else [], len(shape), {"noop_with_empty_axes": noop_with_empty_axes}
        )
    )

    def mean(x: str) -> str:
        total = g.ReduceSum(x, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)
        return str(g.Div(total, g.const(count, like=x)))

    return in_float32(g, data, mean)


@_composite("ReduceSumSquare", lambda x, a, k: np.sum(x * x, a, dtype=x.dtype, keepdims=k))
def _sum_square(
    g: Any, data: str, axes: str | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """Sum of squares over axes."""
    flags = {"keepdims": keepdims, "noop_with_empty_axes": noop_with_empty_axes}
    return in_float32(g, data, lambda x: g.ReduceSum(g.Mul(x, x), axes, **flags))


@_composite("ReduceL1", lambda x, a, k: np.sum(np.abs(x), a, dtype=x.dtype, keepdims=k))
def _l1(
    g: Any, data: str, axes: str | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """Sum of absolute values over axes."""
    flags = {"keepdims": keepdims, "noop_with_empty_axes": noop_with_empty_axes}
    return in_float32(g, data, lambda x: g.ReduceSum(g.Abs(x), axes, **flags))


def _root(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    wide = x if x.dtype.kind == "f" else x.astype(np.float64)
    return np.sqrt(np.sum(wide * wide, axes, keepdims=keepdims))


@_composite("ReduceL2", _root)
def _l2(
    g: Any, data: str, axes: str | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """Square root of the sum of squares over axes."""
    flags = {"keepdims": keepdims, "noop_with_empty_axes": noop_with_empty_axes}

    def norm(x: str) -> str:
        return str(g.Sqrt(g.ReduceSum(g.Mul(x, x), axes, **flags)))

    return (
        in_float32(g, data, norm)
        if g.dtype(data).kind == "f"
        else g.CastLike(norm(g.Cast(data, to=11)), data)
    )


def _log_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    wide = x if x.dtype.kind == "f" else x.astype(np.float64)
    return np.log(np.sum(wide, axes, keepdims=keepdims))


@_composite("ReduceLogSum", _log_sum, ulp=16)
def _log_sum_graph(
    g: Any, data: str, axes: str | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """Logarithm of the sum over axes."""
    flags = {"keepdims": keepdims, "noop_with_empty_axes": noop_with_empty_axes}

    def log(x: str) -> str:
        return str(g.Log(g.ReduceSum(x, axes, **flags)))

    return (
        in_float32(g, data, log) if g.dtype(data).kind == "f" else g.CastLike(log(g.Cast(data, to=11)), data)
    )


def _log_sum_exp(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    wide = x if x.dtype.kind == "f" else x.astype(np.float64)
    top = np.max(wide, axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isinf(top), 0, top).astype(wide.dtype)
    total = np.log(np.sum(np.exp(wide - top), axes, keepdims=keepdims))
    return total + (top if keepdims else np.squeeze(top, axes))


@_composite("ReduceLogSumExp", _log_sum_exp, flops=10, ulp=16)
def _log_sum_exp_graph(
    g: Any, data: str, axes: str | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """Logarithm of the sum of exponentials over axes, shifted by the maximum so that it cannot overflow."""

    def shifted(x: str) -> str:
        found = _resolve(
            g.ints(axes) if axes else [], len(g.shape(x)), {"noop_with_empty_axes": noop_with_empty_axes}
        )
        over = {"noop_with_empty_axes": noop_with_empty_axes}
        top = g.ReduceMax(x, axes, keepdims=1, **over)
        top = g.Where(g.IsInf(top), g.const(0, like=x), top)
        total = g.Add(g.Log(g.ReduceSum(g.Exp(g.Sub(x, top)), axes, keepdims=1, **over)), top)
        if keepdims:
            return str(total)
        return str(g.Reshape(total, g.const(list(reduced_shape(g.shape(x), found, 0)), "int64")))

    return (
        in_float32(g, data, shifted)
        if g.dtype(data).kind == "f"
        else g.CastLike(shifted(g.Cast(data, to=11)), data)
    )
