"""Activation functions written in elementwise operators; each needs no more than its formula here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from walle_core.ops.binary import SAMPLES as PAIRS
from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.pieces import in_float32
from walle_core.ops.rules import check_equal_dtypes, check_kinds, operations, require, rule, same, text
from walle_core.ops.unary import FLOATS, SAMPLES
from walle_core.types import TensorSpec

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def activation(
    name: str, flops: float, ulp: float = 8, domain: tuple[float, float] = (-8.0, 8.0), **fields: Any
) -> Decorator:
    """Decorates the formula of an activation function of one operand."""
    fields = {"infer": same, "dtypes": FLOATS, "samples": SAMPLES} | fields
    return composite(name, "activation", flops=operations(flops), ulp=ulp, domain=domain, **fields)


def _with(**attributes: Any) -> tuple[Sample, ...]:
    return (*SAMPLES[:4], Sample(((3, 17),), attributes))


@activation("Elu", 10, samples=_with(alpha=2.0))
def elu(g: Any, x: str, *, alpha: float = 1.0) -> Any:
    """X where x > 0, alpha * (exp(x) - 1) elsewhere."""

    def formula(v: str) -> str:
        zero, one = g.const(0, like=v), g.const(1, like=v)
        return str(g.Add(g.Max(v, zero), g.Mul(g.Sub(g.Exp(g.Min(v, zero)), one), g.const(alpha, like=v))))

    return in_float32(g, x, formula)


@activation("Celu", 11, samples=_with(alpha=2.0))
def celu(g: Any, x: str, *, alpha: float = 1.0) -> Any:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""

    def formula(v: str) -> str:
        zero, one, a = g.const(0, like=v), g.const(1, like=v), g.const(alpha, like=v)
        return str(g.Add(g.Max(v, zero), g.Min(zero, g.Mul(g.Sub(g.Exp(g.Div(v, a)), one), a))))

    return in_float32(g, x, formula)


@activation("Selu", 11, samples=_with(alpha=2.0, gamma=3.0))
def selu(
    g: Any, x: str, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> Any:
    """Gamma * x where x > 0, gamma * alpha * (exp(x) - 1) elsewhere."""
    return in_float32(g, x, lambda v: g.Mul(elu(g, v, alpha=alpha), g.const(gamma, like=v)))


@activation("LeakyRelu", 2, ulp=1, samples=_with(alpha=0.1))
def leaky_relu(g: Any, x: str, *, alpha: float = 0.01) -> Any:
    """X where x >= 0, alpha * x elsewhere."""
    return g.Where(g.Less(x, g.const(0, like=x)), g.Mul(x, g.const(alpha, like=x)), x)


@activation("ThresholdedRelu", 1, ulp=0, samples=_with(alpha=0.5))
def thresholded_relu(g: Any, x: str, *, alpha: float = 1.0) -> Any:
    """X where x > alpha, 0 elsewhere."""
    return g.Where(g.Greater(x, g.const(alpha, like=x)), x, g.const(0, like=x))


@activation("HardSigmoid", 4, ulp=2, samples=_with(alpha=0.3, beta=0.4))
def hard_sigmoid(g: Any, x: str, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    """max(0, min(1, alpha * x + beta))."""
    line = g.Add(g.Mul(x, g.const(alpha, like=x)), g.const(beta, like=x))
    return g.Max(g.const(0, like=x), g.Min(g.const(1, like=x), line))


@activation("HardSwish", 5, ulp=2)
def hard_swish(g: Any, x: str) -> Any:
    """X * max(0, min(1, x / 6 + 0.5))."""
    return g.Mul(x, hard_sigmoid(g, x, alpha=1 / 6, beta=0.5))


@activation("Swish", 12, samples=_with(alpha=1.5))
def swish(g: Any, x: str, *, alpha: float = 1.0) -> Any:
    """X * sigmoid(alpha * x)."""
    return g.Mul(x, g.Sigmoid(x if alpha == 1.0 else g.Mul(x, g.const(alpha, like=x))))


@activation("Mish", 20)
def mish(g: Any, x: str) -> Any:
    """X * tanh(softplus(x))."""
    return g.Mul(x, g.Tanh(g.Softplus(x)))


@activation("Softsign", 6, ulp=2)
def softsign(g: Any, x: str) -> Any:
    """X / (1 + |x|)."""
    return g.Div(x, g.Add(g.const(1, like=x), g.Abs(x)))


@activation("Gelu", 16, samples=_with(approximate="tanh"))
def gelu(g: Any, x: str, *, approximate: str = "none") -> Any:
    """X * Phi(x), Phi the normal distribution function, exactly by erf or approximately by tanh."""
    require(text(approximate) in ("none", "tanh"), f"Gelu: approximate {approximate!r} must be none or tanh")
    half, one = g.const(0.5, like=x), g.const(1, like=x)
    if text(approximate) == "none":
        return g.Mul(g.Mul(half, x), g.Add(one, g.Erf(g.Mul(x, g.const(math.sqrt(0.5), like=x)))))
    cubic = g.Mul(g.Mul(g.Mul(x, x), x), g.const(0.044715, like=x))
    inner = g.Mul(g.const(math.sqrt(2 / math.pi), like=x), g.Add(x, cubic))
    return g.Mul(g.Mul(half, x), g.Add(one, g.Tanh(inner)))


@activation("Shrink", 3, ulp=1, dtypes=(*FLOATS, "int32"), samples=_with(lambd=1.0, bias=1.0))
def shrink(g: Any, x: str, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    """X + bias below -lambd, x - bias above lambd, 0 between."""
    wide = x if g.dtype(x).kind == "f" else g.Cast(x, to=1)
    b, limit, zero = (g.const(v, like=wide) for v in (bias, lambd, 0))
    outside = g.Where(g.Less(wide, g.Neg(limit)), g.Add(wide, b), zero)
    made = g.Where(g.Greater(wide, limit), g.Sub(wide, b), outside)
    return made if wide == x else g.CastLike(made, x)


@rule
def _infer_clip(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "fiu", 0)
    check_equal_dtypes(ctx, 0, 1, 2)
    for index, what in ((1, "min"), (2, "max")):
        if ctx.has(index) and ctx.shape(index) not in ((), (1,)):
            raise ValueError(f"{what} must be a scalar, has shape {ctx.shape(index)}")
    return [ctx.spec(0)]


@activation(
    "Clip", 2, ulp=0, infer=_infer_clip, dtypes=(*FLOATS, "int32", "int64", "int8", "uint8"),
    samples=(Sample(((3, 17), (), ())), Sample(((3, 17), ())), Sample(((3, 17), None, ())), Sample(((5,),))),
)  # fmt: skip
def clip(g: Any, x: str, min: str | None = None, max: str | None = None) -> Any:
    """min(max, max(x, min)); an absent bound does not limit."""

    def scalar(bound: str) -> str:
        return bound if not g.shape(bound) else str(g.Reshape(bound, g.const([], "int64")))

    made = g.Max(x, scalar(min)) if min else x
    made = g.Min(made, scalar(max)) if max else made
    return g.Identity(x) if made == x else made


@rule
def _infer_swiglu(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    check_equal_dtypes(ctx, 0, 1)
    if ctx.shape(0) != ctx.shape(1):
        raise ValueError("gate and value must have one shape; this operator does not broadcast")
    return [ctx.spec(0)]


@activation(
    "SwiGLU", 13, infer=_infer_swiglu, samples=(PAIRS[1], PAIRS[2], Sample(((4, 5), (4, 5)), {"alpha": 2.0}))
)
def swiglu(g: Any, gate: str, value: str, *, alpha: float = 1.0) -> Any:
    """swish(gate) * value."""
    return g.Mul(swish(g, gate, alpha=alpha), value)


def fused(g: Any, x: str, name: str | bytes, alpha: float, beta: float) -> str:
    """Appends the activation that the fused operators name; `""` leaves x.

    Clip has its bounds in (alpha, beta), LeakyRelu its slope in alpha, Swish its factor in alpha (0 means 1).
    Raises ShapeError for an unknown name.
    """
    known = text(name)
    plain = {"Relu", "HardSwish", "Sigmoid", "Tanh", "Gelu"}
    require(known in {"", "Clip", "LeakyRelu", "Swish", *plain}, f"unknown fused activation {known!r}")
    if known in plain:
        return str(g.op(known, x))
    if known == "Clip":
        return str(g.Clip(x, g.const(alpha, like=x), g.const(beta, like=x)))
    if known == "LeakyRelu":
        return str(g.LeakyRelu(x, alpha=alpha))
    return str(g.Swish(x, alpha=alpha or 1.0)) if known == "Swish" else x
