"""Rotary position embedding."""

from __future__ import annotations

from typing import Any

from walle_core.ops.attention import split_shape
from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import widened
from walle_core.ops.rules import check_equal_dtypes, check_kinds, operations, rule
from walle_core.types import TensorSpec


@rule
def _infer(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    check_equal_dtypes(ctx, 0, 1, 2)
    n, _, length, size = split_shape(ctx.shape(0), ctx.attrs["num_heads"], "input")
    rotated = ctx.attrs["rotary_embedding_dim"] or size
    if rotated < 0 or rotated > size or rotated % 2:
        raise ValueError(f"rotary_embedding_dim {rotated} must be even and at most the head size {size}")
    cos, sin = ctx.shape(1), ctx.shape(2)
    leading = 1 if ctx.has(3) else 2
    if cos != sin or len(cos) != leading + 1 or cos[-1] != rotated // 2:
        raise ValueError(f"caches {cos} and {sin} must have {leading + 1} axes, the last of {rotated // 2}")
    if not ctx.has(3) and cos[:2] != (n, length):
        raise ValueError(f"caches {cos} must begin with batch and length ({n}, {length})")
    if ctx.has(3) and ctx.shape(3) != (n, length):
        raise ValueError(f"position_ids must be ({n}, {length})")
    return [ctx.spec(0)]


@widened
def rotary(
    x: Any, cos_cache: Any, sin_cache: Any, position_ids: Any = None, *, interleaved: int = 0,
    num_heads: int | None = None, rotary_embedding_dim: int = 0,
) -> Any:  # fmt: skip
    """Rotates pairs of features of x by the angles of their positions."""
    n, heads, length, size = split_shape(x.shape, num_heads, "input")
    rotated = rotary_embedding_dim or size
    y = np.array(x if x.ndim == 4 else np.swapaxes(x.reshape(n, length, heads, size), 1, 2))
    cos, sin = (c if position_ids is None else c[position_ids] for c in (cos_cache, sin_cache))
    cos, sin = cos[:, None], sin[:, None]  # [batch, 1, length, rotated / 2]
    half = rotated // 2
    even = slice(0, rotated, 2) if interleaved else slice(0, half)
    odd = slice(1, rotated, 2) if interleaved else slice(half, rotated)
    a, b = np.array(y[..., even]), np.array(y[..., odd])
    y[..., even], y[..., odd] = cos * a - sin * b, sin * a + cos * b
    return y if x.ndim == 4 else np.swapaxes(y, 1, 2).reshape(x.shape)


@composite(
    "RotaryEmbedding", "attention", reference=rotary, infer=_infer, flops=operations(3), ulp=8, domain=(-1, 1),
    samples=(
        Sample(((2, 3, 4, 8), (2, 4, 4), (2, 4, 4))),
        Sample(((2, 4, 24), (2, 4, 4), (2, 4, 4)), {"num_heads": 3, "interleaved": 1}),
        Sample(((1, 3, 4, 8), (9, 2), (9, 2), [[0, 3, 8, 1]]), {"rotary_embedding_dim": 4}, ("float32",) * 3 + ("int64",)),
    ),
)  # fmt: skip
def rotary_graph(
    g: Any, x: str, cos_cache: str, sin_cache: str, position_ids: str | None = None, *, interleaved: int = 0,
    num_heads: int | None = None, rotary_embedding_dim: int = 0,
) -> Any:  # fmt: skip
    """Rotation of pairs of features by angles that grow with the position."""
    n, heads, length, size = split_shape(g.shape(x), num_heads, "input")
    rotated = rotary_embedding_dim or size
    packed = len(g.shape(x)) == 3
    y = g.Transpose(reshape(g, x, n, length, heads, size), perm=(0, 2, 1, 3)) if packed else x
    cos, sin = (g.Gather(c, position_ids) if position_ids else c for c in (cos_cache, sin_cache))
    cos, sin = (reshape(g, c, n, 1, length, rotated // 2) for c in (cos, sin))

    def part(start: int, end: int, step: int = 1) -> str:
        return str(g.Slice(y, *(g.const([v], "int64") for v in (start, end, 3, step))))

    half = rotated // 2
    a, b = (part(0, rotated, 2), part(1, rotated, 2)) if interleaved else (part(0, half), part(half, rotated))
    pair = [g.Sub(g.Mul(cos, a), g.Mul(sin, b)), g.Add(g.Mul(sin, a), g.Mul(cos, b))]
    if interleaved:
        pair = [reshape(g, p, n, heads, length, half, 1) for p in pair]
        turned = reshape(g, g.Concat(*pair, axis=4), n, heads, length, rotated)
    else:
        turned = g.Concat(*pair, axis=3)
    y = g.Concat(turned, part(rotated, size), axis=3) if rotated < size else turned
    return reshape(g, g.Transpose(y, perm=(0, 2, 1, 3)), n, length, heads * size) if packed else y
