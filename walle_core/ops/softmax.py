"""Softmax, LogSoftmax and Hardmax along one axis."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import quiet, widen, widened
from walle_core.ops.rules import check_kinds, check_table, normal_axis, operations, rule
from walle_core.types import TensorSpec

SAMPLES = (
    Sample(((3, 10),)),
    Sample(((2, 5, 7),), {"axis": 1}),
    Sample(((2, 1000),), {"axis": -1}),
    Sample(((2, 3, 4, 5),), {"axis": 0}),
)


@rule
def infer_softmax(ctx: OpContext) -> list[TensorSpec]:
    """The spec of the input; `axis` must be one of its axes."""
    check_kinds(ctx, "f", 0)
    normal_axis(ctx.attrs["axis"], len(ctx.shape(0)))
    return [ctx.spec(0)]


@quiet
def softmax(x: Any, *, axis: int = -1) -> Any:
    """exp(x - max) / sum(exp(x - max)) along `axis`."""
    if not x.size:
        return x
    e = np.exp(x - np.max(x, axis, keepdims=True))
    return e / np.sum(widen(e), axis, keepdims=True).astype(x.dtype)


@widened
def log_softmax(x: Any, *, axis: int = -1) -> Any:
    """X - max - log(sum(exp(x - max))) along `axis`."""
    if not x.size:
        return x
    shifted = x - np.max(x, axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis, keepdims=True))


@widened
def _hardmax(x: Any, *, axis: int = -1) -> Any:
    first = np.expand_dims(np.argmax(x, axis), axis)
    made = np.zeros_like(x)
    np.put_along_axis(made, first, 1, axis)
    return made


def _softmax_gradient(g: Any, at: Adjoint) -> tuple[str]:
    y, d, axes = at.outputs[0], at.grads[0], g.const([at.attrs["axis"]], "int64")
    return (g.Mul(y, g.Sub(d, g.ReduceSum(g.Mul(d, y), axes))),)


def _log_softmax_gradient(g: Any, at: Adjoint) -> tuple[str]:
    y, d, axes = at.outputs[0], at.grads[0], g.const([at.attrs["axis"]], "int64")
    return (g.Sub(d, g.Mul(g.Exp(y), g.ReduceSum(d, axes))),)


@composite(
    "Softmax", "softmax", gradient=_softmax_gradient, reference=softmax, infer=infer_softmax, flops=operations(12), ulp=8, domain=(-20, 20),
    dtypes=("float32", "float64"), samples=SAMPLES,
)  # fmt: skip
def _softmax(g: Any, x: str, *, axis: int = -1) -> Any:
    """Exponentials normalised to sum 1 along an axis."""
    axes = g.const([axis], "int64")
    e = g.Exp(g.Sub(x, g.ReduceMax(x, axes)))
    return g.Div(e, g.ReduceSum(e, axes))


@composite(
    "LogSoftmax", "softmax", gradient=_log_softmax_gradient, reference=log_softmax, infer=infer_softmax, flops=operations(12), ulp=8,
    domain=(-20, 20), dtypes=("float32", "float64"), samples=SAMPLES,
)  # fmt: skip
def _log_softmax(g: Any, x: str, *, axis: int = -1) -> Any:
    """Logarithm of the softmax along an axis."""
    axes = g.const([axis], "int64")
    shifted = g.Sub(x, g.ReduceMax(x, axes))
    return g.Sub(shifted, g.Log(g.ReduceSum(g.Exp(shifted), axes)))


@composite(
    "Hardmax", "softmax", reference=_hardmax, infer=infer_softmax, flops=operations(2), ulp=0, samples=SAMPLES
)
def _hard(g: Any, x: str, *, axis: int = -1) -> Any:
    """1 at the first maximum along an axis, 0 elsewhere."""
    shape = g.shape(x)
    axis = normal_axis(axis, len(shape))
    check_table(shape[axis])
    places = g.const([[i] for i in range(shape[axis])], "int64")
    places = g.Reshape(places, g.const([-1 if i == axis else 1 for i in range(len(shape))], "int64"))
    return g.CastLike(g.Equal(places, g.ArgMax(x, axis=axis)), x)
