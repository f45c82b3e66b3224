"""Selection between two operands by a third."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import summed_to
from walle_core.ops.rules import broadcast_shapes, check_equal_dtypes, check_kinds, operations, rule
from walle_core.types import TensorSpec

_BITS = [True, False, True]


@rule
def _infer_where(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "b", 0)
    dtype = check_equal_dtypes(ctx, 1, 2)
    return [TensorSpec(dtype, broadcast_shapes(ctx.shape(0), ctx.shape(1), ctx.shape(2)))]


def _where_gradient(g: Any, at: Adjoint) -> list[str | None]:
    condition, d = at.inputs[0], at.grads[0]
    zero = g.const(0, like=d)
    parts = [g.Where(condition, d, zero), g.Where(condition, zero, d)]
    return [None, *(summed_to(g, p, g.shape(n)) for p, n in zip(parts, at.inputs[1:], strict=True))]


@atomic(
    "Where", "select", infer=_infer_where, flops=operations(1), ulp=0,
    samples=(
        Sample((_BITS, (3,), (3,)), {}, ("bool", "float32", "float32")),
        Sample((_BITS, (4, 3), ()), {}, ("bool", "float32", "float32")),
        Sample(([_BITS, _BITS], (3,), (5, 2, 1)), {}, ("bool", "float32", "float32")),
        Sample((_BITS, (3,), (3,)), {}, ("bool", "int64", "int64")),
    ),
    gradient=_where_gradient,
)  # fmt: skip
def where(condition: Any, x: Any, y: Any) -> Any:
    """X where the condition is true, y elsewhere; all three broadcast."""
    return np.where(condition, x, y).astype(x.dtype, copy=False)
