"""Elementwise operators of one operand: one row each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, define
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import widened
from walle_core.ops.rules import check_kinds, operations, rule
from walle_core.types import TensorSpec, bool_

FLOATS = ("float32", "float64", "float16")
INTS = ("int32", "int64", "int8", "uint8", "int16", "uint16", "uint32", "uint64")
SIGNED = ("int32", "int64", "int8", "int16")
SAMPLES = tuple(Sample((shape,)) for shape in ((), (1,), (7,), (16,), (2, 3, 17), (0, 3), (33, 31)))


def unary(
    name: str,
    fn: Callable[..., Any],
    doc: str,
    *,
    flops: float = 1,
    ulp: float = 0,
    domain: tuple[float, float] = (-4.0, 4.0),
    dtypes: tuple[str, ...] = FLOATS,
    kinds: str = "f",
    to_bool: bool = False,
    gradient: Callable[[Any, str, str, str], str | None] | None = None,
) -> None:
    """Adds an elementwise operator.

    Args:
        name: ONNX's name.
        fn: NumPy function of one array; attributes are its keyword parameters.
        doc: one sentence.
        flops: operations per element.
        ulp: tolerance in units in the last place of the result's scale.
        domain: interval of test inputs.
        dtypes: dtypes that the conformance kit tries.
        kinds: DType.kind letters that the operator takes.
        to_bool: the result is bool instead of the input's dtype.
        gradient: appends the gradient by x, from the names of x, of the result and of the gradient by that.
    """

    @rule
    def infer(ctx: OpContext) -> list[TensorSpec]:
        check_kinds(ctx, kinds, 0)
        return [TensorSpec(bool_ if to_bool else ctx.dtype(0), ctx.spec(0).shape)]

    define(
        name, "atomic", "unary", reference=widened(fn), infer=infer, flops=operations(flops), ulp=ulp,
        domain=domain, dtypes=dtypes, samples=SAMPLES, doc=doc, gradient=elementwise(gradient),
    )  # fmt: skip


def elementwise(
    rule: Callable[[Any, str, str, str], str | None] | None,
) -> Callable[[Any, Adjoint], Any] | None:
    """The rule of a row as a gradient rule."""
    if rule is None:
        return None

    def gradient(g: Any, at: Adjoint) -> tuple[str | None]:
        return (rule(g, at.inputs[0] or "", at.outputs[0] or "", at.grads[0] or ""),)

    return gradient


def _flat(g: Any, x: str, y: str, d: str) -> None:
    """Steps: the result does not change where it is defined."""


def _one(g: Any, x: str, value: float = 1.0) -> str:
    return str(g.const(value, like=x))


def _root(g: Any, x: str, sign: float, shift: float) -> str:
    """sqrt(sign * x² + shift)."""
    return str(g.Sqrt(g.Add(g.Mul(g.Mul(x, x), _one(g, x, sign)), _one(g, x, shift))))


def _erf_slope(g: Any, x: str) -> str:
    return str(g.Mul(g.Exp(g.Neg(g.Mul(x, x))), _one(g, x, 2 / math.sqrt(math.pi))))


def erf(x: Any) -> Any:
    """Gauss error function of a float array; the standard library's, as NumPy has none."""
    flat = np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size)
    return flat.reshape(x.shape).astype(x.dtype)


def _sigmoid(x: Any) -> Any:
    return np.where(x >= 0, 1, np.exp(np.minimum(x, 0))).astype(x.dtype) / (1 + np.exp(-np.abs(x)))


def _is_inf(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    positive = np.isinf(x) & (x > 0) if detect_positive else np.zeros(x.shape, bool)
    return positive | (np.isinf(x) & (x < 0)) if detect_negative else positive


unary(
    "Abs",
    lambda x: np.abs(x),
    "Absolute value.",
    dtypes=FLOATS + INTS,
    kinds="fiu",
    gradient=lambda g, x, y, d: g.Mul(d, g.Sign(x)),
)
unary(
    "Neg",
    lambda x: np.negative(x),
    "Sign change.",
    dtypes=FLOATS + SIGNED,
    kinds="fi",
    gradient=lambda g, x, y, d: g.Neg(d),
)
unary(
    "Sign",
    lambda x: np.sign(x),
    "-1, 0 or 1 by the sign of x.",
    dtypes=FLOATS + INTS,
    kinds="fiu",
    gradient=_flat,
)
unary(
    "Relu",
    lambda x: np.maximum(x, 0),
    "max(x, 0).",
    dtypes=FLOATS + SIGNED,
    kinds="fi",
    gradient=lambda g, x, y, d: g.Where(g.Greater(x, _one(g, x, 0)), d, _one(g, d, 0)),
)
unary("Floor", lambda x: np.floor(x), "Largest integer not above x.", gradient=_flat)
unary("Ceil", lambda x: np.ceil(x), "Smallest integer not below x.", gradient=_flat)
unary("Round", lambda x: np.rint(x), "Nearest integer, halves to the even one.", gradient=_flat)
unary(
    "Reciprocal",
    lambda x: np.reciprocal(x),
    "1 / x.",
    flops=4,
    ulp=1,
    domain=(0.1, 10),
    gradient=lambda g, x, y, d: g.Neg(g.Mul(d, g.Mul(y, y))),
)
unary(
    "Sqrt",
    lambda x: np.sqrt(x),
    "Square root.",
    flops=4,
    ulp=1,
    domain=(0, 100),
    gradient=lambda g, x, y, d: g.Div(d, g.Add(y, y)),
)
unary(
    "Exp",
    lambda x: np.exp(x),
    "e to the power x.",
    flops=8,
    ulp=4,
    domain=(-20, 10),
    gradient=lambda g, x, y, d: g.Mul(d, y),
)
unary(
    "Log",
    lambda x: np.log(x),
    "Natural logarithm.",
    flops=8,
    ulp=4,
    domain=(1e-3, 1000),
    gradient=lambda g, x, y, d: g.Div(d, x),
)
unary(
    "Sin",
    lambda x: np.sin(x),
    "Sine of x in radians.",
    flops=10,
    ulp=4,
    domain=(-20, 20),
    gradient=lambda g, x, y, d: g.Mul(d, g.Cos(x)),
)
unary(
    "Cos",
    lambda x: np.cos(x),
    "Cosine of x in radians.",
    flops=10,
    ulp=4,
    domain=(-20, 20),
    gradient=lambda g, x, y, d: g.Neg(g.Mul(d, g.Sin(x))),
)
unary(
    "Tan",
    lambda x: np.tan(x),
    "Tangent of x in radians.",
    flops=16,
    ulp=8,
    domain=(-1.4, 1.4),
    gradient=lambda g, x, y, d: g.Mul(d, g.Add(_one(g, x), g.Mul(y, y))),
)
unary(
    "Asin",
    lambda x: np.arcsin(x),
    "Inverse sine in radians.",
    flops=16,
    ulp=4,
    domain=(-1, 1),
    gradient=lambda g, x, y, d: g.Div(d, _root(g, x, -1, 1)),
)
unary(
    "Acos",
    lambda x: np.arccos(x),
    "Inverse cosine in radians.",
    flops=16,
    ulp=4,
    domain=(-1, 1),
    gradient=lambda g, x, y, d: g.Neg(g.Div(d, _root(g, x, -1, 1))),
)
unary(
    "Atan",
    lambda x: np.arctan(x),
    "Inverse tangent in radians.",
    flops=16,
    ulp=4,
    domain=(-20, 20),
    gradient=lambda g, x, y, d: g.Div(d, g.Add(_one(g, x), g.Mul(x, x))),
)
unary(
    "Sinh",
    lambda x: np.sinh(x),
    "Hyperbolic sine.",
    flops=16,
    ulp=4,
    gradient=lambda g, x, y, d: g.Mul(d, g.Cosh(x)),
)
unary(
    "Cosh",
    lambda x: np.cosh(x),
    "Hyperbolic cosine.",
    flops=16,
    ulp=4,
    gradient=lambda g, x, y, d: g.Mul(d, g.Sinh(x)),
)
unary(
    "Tanh",
    lambda x: np.tanh(x),
    "Hyperbolic tangent.",
    flops=10,
    ulp=4,
    domain=(-10, 10),
    gradient=lambda g, x, y, d: g.Mul(d, g.Sub(_one(g, x), g.Mul(y, y))),
)
unary(
    "Asinh",
    lambda x: np.arcsinh(x),
    "Inverse hyperbolic sine.",
    flops=16,
    ulp=4,
    domain=(-20, 20),
    gradient=lambda g, x, y, d: g.Div(d, _root(g, x, 1, 1)),
)
unary(
    "Acosh",
    lambda x: np.arccosh(x),
    "Inverse hyperbolic cosine.",
    flops=16,
    ulp=4,
    domain=(1, 20),
    gradient=lambda g, x, y, d: g.Div(d, _root(g, x, 1, -1)),
)
unary(
    "Atanh",
    lambda x: np.arctanh(x),
    "Inverse hyperbolic tangent.",
    flops=16,
    ulp=4,
    domain=(-0.95, 0.95),
    gradient=lambda g, x, y, d: g.Div(d, g.Sub(_one(g, x), g.Mul(x, x))),
)
unary(
    "Erf",
    erf,
    "Gauss error function.",
    flops=12,
    ulp=4,
    gradient=lambda g, x, y, d: g.Mul(d, _erf_slope(g, x)),
)
unary(
    "Sigmoid",
    _sigmoid,
    "1 / (1 + exp(-x)).",
    flops=10,
    ulp=4,
    domain=(-20, 20),
    gradient=lambda g, x, y, d: g.Mul(d, g.Mul(y, g.Sub(_one(g, y), y))),
)
unary(
    "Softplus",
    lambda x: np.logaddexp(x, x.dtype.type(0)),
    "ln(1 + exp(x)).",
    flops=16,
    ulp=4,
    domain=(-20, 20),
    gradient=lambda g, x, y, d: g.Mul(d, g.Sigmoid(x)),
)
unary("Not", lambda x: np.logical_not(x), "Logical negation.", dtypes=("bool",), kinds="b")
unary("BitwiseNot", lambda x: np.invert(x), "Every bit inverted.", dtypes=INTS, kinds="iu")
unary("IsNaN", lambda x: np.isnan(x), "True where x is not a number.", to_bool=True)
unary("IsInf", _is_inf, "True where x is infinite, of the signs asked for.", to_bool=True)
