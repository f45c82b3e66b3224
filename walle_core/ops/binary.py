"""Elementwise operators of two operands with broadcasting: one row each. Max and Min also take more than two."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, composite, define
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import like, summed_to
from walle_core.ops.precision import widened
from walle_core.ops.rules import (
    broadcast_shapes,
    check_broadcast,
    check_equal_dtypes,
    check_kinds,
    operations,
    rule,
    text,
)
from walle_core.ops.unary import FLOATS, INTS
from walle_core.types import TensorSpec, bool_

_PAIRS = (
    ((), ()), ((7,), (7,)), ((2, 3, 17), (2, 3, 17)), ((33, 31), (31,)), ((33, 31), (33, 1)), ((5, 1), (1, 6)),
    ((2, 3, 4), ()), ((), (9,)), ((0, 3), (3,)), ((3, 1, 5), (2, 3, 4, 5)),
)  # fmt: skip
SAMPLES = tuple(Sample(pair) for pair in _PAIRS)


Slope = Callable[
    [Any, str, str, str, str], str
]  # (g, a, b, result, gradient of it) -> gradient by an operand


def broadcasting(slopes: tuple[Slope, Slope] | None) -> Callable[[Any, Adjoint], Any] | None:
    """The rules of a row as a gradient rule: axes along which an operand was repeated are summed."""
    if slopes is None:
        return None

    def gradient(g: Any, at: Adjoint) -> list[str | None]:
        operands = [n or "" for n in at.inputs]
        given = (*operands, at.outputs[0] or "", at.grads[0] or "")
        return [
            summed_to(g, like(g, slope(g, *given), name), g.shape(name)) if wanted else None
            for slope, name, wanted in zip(slopes, operands, at.wanted, strict=True)
        ]

    return gradient


def _power_slope(g: Any, a: str, b: str, y: str, d: str) -> str:
    exponent = like(g, b, a)
    return str(g.Mul(d, g.Mul(exponent, g.Pow(a, g.Sub(exponent, g.const(1, like=a))))))


def _exponent_slope(g: Any, a: str, b: str, y: str, d: str) -> str:
    positive = g.Greater(a, g.const(0, like=a))  # the derivative by the exponent is not defined elsewhere
    log = g.Log(g.Where(positive, a, g.const(1, like=a)))
    return str(g.Mul(d, g.Mul(y, log)))


def _chosen(comparison: str) -> tuple[Slope, Slope]:
    """Slopes of an operator that takes a where `comparison` of a and b holds, else b."""
    return (
        lambda g, a, b, y, d: g.Where(getattr(g, comparison)(a, b), d, g.const(0, like=d)),
        lambda g, a, b, y, d: g.Where(getattr(g, comparison)(a, b), g.const(0, like=d), d),
    )


def binary(
    name: str,
    fn: Callable[..., Any],
    doc: str,
    *,
    flops: float = 1,
    ulp: float = 0,
    domain: tuple[float, float] = (-4.0, 4.0),
    dtypes: tuple[str, ...] = FLOATS + INTS,
    kinds: str = "fiu",
    to_bool: bool = False,
    one_dtype: bool = True,
    samples: tuple[Sample, ...] = SAMPLES,
    gradient: tuple[Slope, Slope] | None = None,
) -> None:
    """Adds an elementwise operator of two operands.

    `one_dtype` demands one dtype of both, `samples` are the cases for the conformance kit; `gradient` appends the gradients
    by a and by b, of the result's shape, from the names of a, b, the result and its gradient; the rest is as in `unary`.
    """

    @rule
    def infer(ctx: OpContext) -> list[TensorSpec]:
        check_kinds(ctx, kinds, 0, 1)
        if one_dtype:
            check_equal_dtypes(ctx, 0, 1)
        shape = broadcast_shapes(ctx.shape(0), ctx.shape(1))
        return [TensorSpec(bool_ if to_bool else ctx.dtype(0), shape)]

    define(
        name, "atomic", "binary", reference=widened(fn), infer=infer, flops=operations(flops), ulp=ulp,
        domain=domain, dtypes=dtypes, samples=samples, doc=doc, gradient=broadcasting(gradient),
    )  # fmt: skip


def _divide(a: Any, b: Any) -> Any:
    if a.dtype.kind not in "iu":
        return a / b
    quotient = np.floor_divide(a, np.where(b == 0, 1, b).astype(b.dtype))
    if a.dtype.kind == "i":  # toward zero, as in C; NumPy rounds down
        inexact = (quotient * b != a) & ((a < 0) != (b < 0))
        quotient = quotient + inexact.astype(a.dtype)
    return np.where(b == 0, 0, quotient).astype(a.dtype)


def _power(a: Any, b: Any) -> Any:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        if b.dtype.kind == "u" or not (b < 0).any():
            return np.power(a, b.astype(a.dtype)).astype(a.dtype)
        return np.power(a.astype(np.float64), b).astype(a.dtype)
    wide = (
        np.power(a.astype(np.float64), b.astype(np.float64))
        if a.dtype.kind in "iu"
        else np.power(a, b.astype(a.dtype))
    )
    return wide.astype(a.dtype)


def _modulo(a: Any, b: Any, *, fmod: int = 0) -> Any:
    if a.dtype.kind == "f":
        return np.fmod(a, b) if fmod else np.mod(a, b)
    safe = np.where(b == 0, 1, b).astype(b.dtype)
    return np.where(b == 0, 0, np.fmod(a, safe) if fmod else np.mod(a, safe)).astype(a.dtype)


def _bit_shift(x: Any, y: Any, *, direction: str) -> Any:
    x, y = np.broadcast_arrays(x, y)
    bits = 8 * x.dtype.itemsize
    inside = (y >= 0) & (y < bits)
    amount = np.where(inside, y, 0).astype(x.dtype)
    if text(direction) == "LEFT":
        return np.where(inside, np.left_shift(x, amount), 0).astype(x.dtype)
    return np.where(inside, np.right_shift(x, amount), np.where(x < 0, -1, 0).astype(x.dtype)).astype(x.dtype)


_NONZERO = (0.5, 4.0)
_INT_PAIR = Sample(([[-7, 7, 6]], [[2, -2, 3]]), {}, ("int32", "int32"))
_SHIFTS = tuple(
    Sample(([1, 8, 200], [1, 3, 9]), {"direction": d}, ("uint8", "uint8")) for d in ("LEFT", "RIGHT")
)

binary("Add", lambda a, b: a + b, "a + b.", gradient=(lambda g, a, b, y, d: d,) * 2)
binary(
    "Sub", lambda a, b: a - b, "a - b.", gradient=(lambda g, a, b, y, d: d, lambda g, a, b, y, d: g.Neg(d))
)
binary(
    "Mul",
    lambda a, b: a * b,
    "a * b.",
    gradient=(lambda g, a, b, y, d: g.Mul(d, b), lambda g, a, b, y, d: g.Mul(d, a)),
)
binary(
    "Div",
    _divide,
    "a / b; integers round toward zero.",
    flops=4,
    ulp=1,
    domain=_NONZERO,
    samples=(*SAMPLES, _INT_PAIR),
    gradient=(
        lambda g, a, b, y, d: g.Div(d, b),
        lambda g, a, b, y, d: g.Neg(g.Div(g.Mul(d, y), b)),
    ),
)
binary(
    "Pow", _power, "a to the power b, in the dtype of a.", flops=16, ulp=8, domain=(0.1, 4), one_dtype=False,
    dtypes=("float32", "float64"), gradient=(_power_slope, _exponent_slope),
)  # fmt: skip
binary(
    "Mod", _modulo, "Remainder with the sign of b, or (fmod) of a.", flops=6, ulp=2, domain=_NONZERO,
    samples=(*SAMPLES, _INT_PAIR, Sample(((5,), (5,)), {"fmod": 1})),
    gradient=(lambda g, a, b, y, d: d, lambda g, a, b, y, d: g.Mul(d, g.Div(g.Sub(y, a), b))),
)  # fmt: skip
binary("BitShift", _bit_shift, "Bits of x moved by y places.", dtypes=("uint8",), kinds="iu", samples=_SHIFTS)
binary("BitwiseAnd", lambda a, b: a & b, "Bits set in both operands.", dtypes=INTS, kinds="iu")
binary("BitwiseOr", lambda a, b: a | b, "Bits set in either operand.", dtypes=INTS, kinds="iu")
binary("BitwiseXor", lambda a, b: a ^ b, "Bits set in exactly one operand.", dtypes=INTS, kinds="iu")
binary("And", lambda a, b: np.logical_and(a, b), "Logical and.", dtypes=("bool",), kinds="b")
binary("Or", lambda a, b: np.logical_or(a, b), "Logical or.", dtypes=("bool",), kinds="b")
binary("Xor", lambda a, b: np.logical_xor(a, b), "Logical exclusive or.", dtypes=("bool",), kinds="b")
binary(
    "Equal", lambda a, b: np.asarray(a == b, bool), "True where a equals b.", kinds="fiubs", to_bool=True,
    dtypes=("float32", "float64", *INTS, "bool"),
)  # fmt: skip
binary("Less", lambda a, b: a < b, "True where a < b.", to_bool=True)
binary("LessOrEqual", lambda a, b: a <= b, "True where a <= b.", to_bool=True)
binary("Greater", lambda a, b: a > b, "True where a > b.", to_bool=True)
binary("GreaterOrEqual", lambda a, b: a >= b, "True where a >= b.", to_bool=True)


@rule
def _infer_variadic(ctx: OpContext) -> list[TensorSpec]:
    count = len(ctx.inputs)
    if not count:
        raise ValueError("needs at least one input")
    check_kinds(ctx, "fiu", *range(count))
    return [
        TensorSpec(
            check_equal_dtypes(ctx, *range(count)), broadcast_shapes(*[ctx.shape(i) for i in range(count)])
        )
    ]


@rule
def _infer_mean(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", *range(len(ctx.inputs)))
    return list(_infer_variadic(ctx) or ())


def _chain(name: str) -> Callable[..., Any]:
    def fold(g: Any, *data: str) -> Any:
        return functools.reduce(
            lambda a, b: g.op(name, a, b), data[1:], g.Identity(data[0]) if len(data) < 2 else data[0]
        )

    return fold


def _extremum(name: str, ufunc: str, doc: str, comparison: str) -> None:
    def reference(*data: Any) -> Any:
        return functools.reduce(lambda a, b: getattr(np, ufunc)(a, b), data)

    define(
        name, "atomic", "binary", reference=widened(reference), infer=_infer_variadic, decompose=_chain(name), arity=2,
        flops=lambda ctx, outs: float(max(1, len(ctx.inputs) - 1) * outs[0].size), ulp=0, dtypes=FLOATS + INTS, doc=doc,
        samples=(*SAMPLES, Sample(((3, 4),)), Sample(((3, 4), (4,), (3, 1)))),
        params={}, input_names=("*data",), required=0, gradient=broadcasting(_chosen(comparison)),
    )  # fmt: skip


_extremum("Max", "maximum", "Elementwise maximum of the operands; NaN wins.", "GreaterOrEqual")
_extremum("Min", "minimum", "Elementwise minimum of the operands; NaN wins.", "LessOrEqual")
_VARIADIC = (Sample(((3, 4), (3, 4))), Sample(((3, 4),)), Sample(((3, 4), (4,), (3, 1))))


def _reference_sum(*data: Any) -> Any:
    return functools.reduce(lambda a, b: a + b, data)


def _reference_mean(*data: Any) -> Any:
    return widened(lambda *d: _reference_sum(*d) / d[0].dtype.type(len(d)))(*data)


@composite(
    "Sum", "binary", reference=widened(_reference_sum), infer=_infer_variadic, dtypes=FLOATS, samples=_VARIADIC,
    flops=lambda ctx, outs: float(len(ctx.inputs) * outs[0].size),
)  # fmt: skip
def _sum(g: Any, *data: str) -> Any:
    """Elementwise sum of any number of operands."""
    return _chain("Add")(g, *data)


@composite(
    "Mean", "binary", reference=_reference_mean, infer=_infer_mean, dtypes=FLOATS, samples=_VARIADIC,
    flops=lambda ctx, outs: float((len(ctx.inputs) + 1) * outs[0].size),
)  # fmt: skip
def _mean(g: Any, *data: str) -> Any:
    """Elementwise mean of any number of operands."""
    return g.Div(_chain("Add")(g, *data), g.const(float(len(data)), like=data[0]))


@rule
def _infer_prelu(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "fiu", 0)
    check_equal_dtypes(ctx, 0, 1)
    check_broadcast("slope", ctx.shape(1), ctx.shape(0))
    return [ctx.spec(0)]


@composite(
    "PRelu", "binary", infer=_infer_prelu, flops=operations(2), ulp=1, dtypes=FLOATS,
    samples=(Sample(((2, 3, 5), (3, 1))), Sample(((4, 5), (5,))), Sample(((4, 5), (1,)))),
)  # fmt: skip
def _prelu(g: Any, x: str, slope: str) -> Any:
    """X where x >= 0, slope * x elsewhere."""
    return g.Where(g.Less(x, g.const(0, like=x)), g.Mul(x, slope), x)
