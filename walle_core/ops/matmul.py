"""Matrix products: MatMul (atomic), Gemm and FusedMatMul."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.ops.activation import fused
from walle_core.ops.define import Adjoint, OpContext, Sample, atomic, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape, summed_to
from walle_core.ops.precision import widened
from walle_core.ops.rules import (
    broadcast_shapes,
    check_broadcast,
    check_equal_dtypes,
    check_kinds,
    matmul_shape,
    rule,
)
from walle_core.types import TensorSpec


def products(ctx: OpContext, outs: Sequence[TensorSpec]) -> float:
    """Operations of a matrix product: 2 * K per element of the result."""
    a = ctx.shape(0)
    transposed = bool(ctx.attrs.get("transA", 0)) and len(a) > 1
    return 2.0 * outs[0].size * (a[-2] if transposed else a[-1])


@rule
def _infer_matmul(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "fiu", 0)
    return [TensorSpec(check_equal_dtypes(ctx, 0, 1), matmul_shape(ctx.shape(0), ctx.shape(1)))]


def _matmul_gradient(g: Any, at: Adjoint) -> list[str | None]:
    """Products again: d * Bᵀ and Aᵀ * d, summed over the axes that were broadcast."""
    (a, b), d = [n or "" for n in at.inputs], at.grads[0] or ""
    sizes = g.shape(a), g.shape(b)
    row, column = len(sizes[0]) == 1, len(sizes[1]) == 1
    a = reshape(g, a, 1, *sizes[0]) if row else a
    b = reshape(g, b, *sizes[1], 1) if column else b
    m, k, n = g.shape(a)[-2], g.shape(a)[-1], g.shape(b)[-1]
    d = reshape(g, d, *[v for v in broadcast_shapes(g.shape(a)[:-2], g.shape(b)[:-2])], m, n)
    if len(g.shape(b)) == 2 and len(g.shape(a)) > 2:  # one product of all rows
        a, d = reshape(g, a, -1, k), reshape(g, d, -1, n)
    by_a = g.FusedMatMul(d, b, transB=1) if at.wanted[0] else None
    by_b = g.FusedMatMul(a, d, transA=1) if at.wanted[1] else None
    return [
        reshape(g, summed_to(g, v, g.shape(w)), *s) if v is not None else None
        for v, w, s in zip((by_a, by_b), (a, b), sizes, strict=True)
    ]


@atomic(
    "MatMul", "matmul", infer=_infer_matmul, gradient=_matmul_gradient, flops=products, ulp=32, domain=(-1, 1), dtypes=("float32", "float64"),
    samples=(
        Sample(((5, 7), (7, 9))), Sample(((1, 64), (64, 33))), Sample(((2, 3, 5, 7), (7, 4))),
        Sample(((2, 1, 5, 7), (3, 7, 4))), Sample(((7,), (7, 4))), Sample(((3, 5, 7), (7,))), Sample(((9,), (9,))),
        Sample(((65, 130), (130, 67))), Sample(((4, 0), (0, 3))), Sample(((0, 4), (4, 3))),
    ),
)  # fmt: skip
@widened
def matmul(a: Any, b: Any) -> Any:
    """Matrix product over the last two axes; leading axes broadcast, a vector is a row (left) or a column (right)."""
    return np.matmul(a, b)


def swapped(shape: tuple[int, ...], transposed: Any) -> tuple[int, ...]:
    """`shape` with its last two sizes swapped if `transposed`."""
    return (*shape[:-2], shape[-1], shape[-2]) if transposed and len(shape) > 1 else shape


def _product_spec(ctx: OpContext) -> TensorSpec:
    check_kinds(ctx, "fiu", 0)
    a = swapped(ctx.shape(0), ctx.attrs["transA"])
    b = swapped(ctx.shape(1), ctx.attrs["transB"])
    return TensorSpec(check_equal_dtypes(ctx, *range(len(ctx.inputs))), matmul_shape(a, b))


@rule
def _infer_gemm(ctx: OpContext) -> list[TensorSpec]:
    if len(ctx.shape(0)) != 2 or len(ctx.shape(1)) != 2:
        raise ValueError("A and B must be matrices; use MatMul for other ranks")
    spec = _product_spec(ctx)
    if ctx.has(2):
        check_broadcast("C", ctx.shape(2), spec.sizes)
    return [spec]


def _scale(x: Any, factor: float) -> Any:
    if factor == 1.0:
        return x
    return x * x.dtype.type(factor) if x.dtype.kind == "f" else (x * factor).astype(x.dtype)


@widened
def _gemm(
    a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    y = _scale((a.T if transA else a) @ (b.T if transB else b), alpha)
    return y if c is None else y + _scale(c, beta)


_GEMM = (
    Sample(((3, 5), (5, 4))),
    Sample(((5, 3), (4, 5), (4,)), {"transA": 1, "transB": 1}),
    Sample(((3, 5), (5, 4), (3, 1)), {"alpha": 0.5, "beta": 2.0}),
    Sample(((1, 128), (10, 128), (10,)), {"transB": 1}),
    Sample(((3, 5), (5, 4), ())),
)


def _transposed(g: Any, x: str, flag: Any) -> str:
    rank = len(g.shape(x))
    if not flag or rank < 2:
        return x
    return str(g.Transpose(x, perm=(*range(rank - 2), rank - 1, rank - 2)))


def _times(g: Any, x: str, factor: float) -> str:
    if factor == 1.0:
        return x
    if g.dtype(x).kind == "f":
        return str(g.Mul(x, g.const(factor, like=x)))
    return str(g.CastLike(g.Mul(g.Cast(x, to=11), g.const(factor, "float64")), x))


@composite(
    "Gemm", "matmul", reference=_gemm, infer=_infer_gemm, flops=products, ulp=32, domain=(-1, 1),
    dtypes=("float32", "float64"), samples=_GEMM,
)  # fmt: skip
def gemm(
    g: Any,
    a: str,
    b: str,
    c: str | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Any:
    """Alpha * A * B + beta * C on matrices, either of them transposed first."""
    y = _times(g, g.MatMul(_transposed(g, a, transA), _transposed(g, b, transB)), alpha)
    return g.Add(y, _times(g, c, beta)) if c else y


@rule
def _infer_fused(ctx: OpContext) -> list[TensorSpec]:
    spec = _product_spec(ctx)
    for index, what in ((2, "bias"), (3, "residual")):
        if ctx.has(index):
            check_broadcast(what, ctx.shape(index), spec.sizes)
    return [spec]


@composite(
    "FusedMatMul", "matmul", infer=_infer_fused, flops=products, ulp=32, domain=(-1, 1),
    samples=(
        Sample(((3, 5), (5, 4))),
        Sample(((3, 5), (5, 4), (4,), (3, 4)), {"activation": "Relu"}),
        Sample(((2, 5, 3), (4, 5), (4,)), {"transA": 1, "transB": 1, "alpha": 0.5, "activation": "Gelu"}),
        Sample(((7, 33), (33, 40), (40,)), {"activation": "Clip", "act_alpha": 0.0, "act_beta": 6.0}),
    ),
)  # fmt: skip
def fused_matmul(
    g: Any, a: str, b: str, bias: str | None = None, residual: str | None = None, *, transA: int = 0, transB: int = 0,
    alpha: float = 1.0, activation: str = "", act_alpha: float = 0.0, act_beta: float = 0.0,
) -> Any:  # fmt: skip
    """activation(alpha * A * B + bias + residual) with MatMul's broadcasting."""
    y = _times(g, g.MatMul(_transposed(g, a, transA), _transposed(g, b, transB)), alpha)
    for term in (bias, residual):
        y = g.Add(y, term) if term else y
    return fused(g, y, activation, act_alpha, act_beta)
