"""Linear algebra beyond products."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import widened
from walle_core.ops.rules import check_kinds, require, rule
from walle_core.types import TensorSpec


@rule
def _infer_det(ctx: OpContext) -> Sequence[TensorSpec]:
    check_kinds(ctx, "f", 0)
    shape = ctx.shape(0)
    require(len(shape) >= 2 and shape[-1] == shape[-2], f"matrices must be square, not {shape}")
    return [TensorSpec(ctx.dtype(0), shape[:-2])]


@atomic(
    "Det", "linalg", infer=_infer_det, ulp=256, domain=(-1, 1), dtypes=("float32", "float64"),
    samples=(Sample(((3, 3),)), Sample(((2, 4, 5, 5),)), Sample(((2, 1, 1),))),
    flops=lambda ctx, outs: prod(ctx.shape(0)) * ctx.shape(0)[-1] * 2 / 3,
)  # fmt: skip
@widened
def det(x: Any) -> Any:
    """Determinants of square matrices [..., M, M]."""
    return np.asarray(np.linalg.det(x), x.dtype)
