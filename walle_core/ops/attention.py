"""Scaled dot-product attention with masks, windows, caches and grouped heads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import np_dtype, quiet, widen
from walle_core.ops.rules import (
    broadcasts_to,
    check_equal_dtypes,
    check_kinds,
    check_table,
    onnx_dtype,
    rule,
)
from walle_core.types import TensorSpec

Shape = tuple[int, ...]


@attrs.frozen
class Heads:
    """Sizes of one attention: batch, query and key/value heads, head sizes, sequence lengths."""

    batch: int
    q_heads: int
    kv_heads: int
    size: int
    v_size: int
    queries: int
    new_keys: int
    past: int

    @property
    def keys(self) -> int:
        """Keys in all: cached ones, then new ones."""
        return self.past + self.new_keys

    @classmethod
    def of(
        cls, q: Shape, k: Shape, v: Shape, past: Shape | None, q_heads: int | None, kv_heads: int | None
    ) -> Heads:
        """Sizes from the operands' shapes. Raises ValueError where they do not fit."""
        q4, k4, v4 = (
            split_shape(s, n, w) for s, n, w in ((q, q_heads, "Q"), (k, kv_heads, "K"), (v, kv_heads, "V"))
        )
        if not q4[0] == k4[0] == v4[0] or q4[3] != k4[3] or k4[1:3] != v4[1:3]:
            raise ValueError(
                f"Q {q4}, K {k4} and V {v4} as [batch, heads, length, size] do not fit each other"
            )
        if k4[1] < 1 or q4[1] % k4[1]:
            raise ValueError(f"{q4[1]} query heads must be a multiple of {k4[1]} key/value heads")
        if past is not None and (len(past) != 4 or past[:2] != k4[:2] or past[3] != k4[3]):
            raise ValueError(f"past_key {past} must be [{k4[0]}, {k4[1]}, past length, {k4[3]}]")
        return cls(q4[0], q4[1], k4[1], q4[3], v4[3], q4[2], k4[2], past[2] if past else 0)


def split_shape(shape: Shape, heads: int | None, what: str) -> Shape:
    """[batch, heads, length, size] of a 4-D operand or of a 3-D one whose last axis holds all heads."""
    if len(shape) == 4:
        return shape
    if len(shape) != 3 or not heads or heads < 1 or shape[2] % heads:
        raise ValueError(
            f"{what} {shape} must be 4-D, or 3-D with a number of heads that divides its last size, not {heads}"
        )
    return (shape[0], heads, shape[1], shape[2] // heads)


def _sizes(ctx: OpContext) -> Heads:
    past = ctx.shape(4) if ctx.has(4) else None
    return Heads.of(
        ctx.shape(0), ctx.shape(1), ctx.shape(2), past, ctx.attrs["q_num_heads"], ctx.attrs["kv_num_heads"]
    )


@rule
def _infer(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0, 1, 2)
    check_equal_dtypes(ctx, 0, 1, 4)
    check_equal_dtypes(ctx, 2, 5)
    h = _sizes(ctx)
    if ctx.has(4) != ctx.has(5):
        raise ValueError("past_key and past_value must be given together")
    if ctx.has(5) and ctx.shape(5) != (h.batch, h.kv_heads, h.past, h.v_size):
        raise ValueError(f"past_value must be {(h.batch, h.kv_heads, h.past, h.v_size)}")
    if ctx.has(3):
        mask = ctx.shape(3)
        if not mask or mask[-1] > h.keys or not broadcasts_to(mask[:-1], (h.batch, h.q_heads, h.queries)):
            raise ValueError(f"attn_mask must broadcast to {(h.batch, h.q_heads, h.queries, h.keys)}")
    if ctx.has(6) and (ctx.shape(6) != (h.batch,) or ctx.has(4)):
        raise ValueError(f"nonpad_kv_seqlen must be ({h.batch},) and comes without past_key")
    if ctx.attrs["qk_matmul_output_mode"] not in (0, 1, 2, 3):
        raise ValueError("qk_matmul_output_mode must be 0, 1, 2 or 3")
    y: Shape = (h.batch, h.q_heads, h.queries, h.v_size)
    if len(ctx.shape(0)) == 3:
        y = (h.batch, h.queries, h.q_heads * h.v_size)
    present = (h.batch, h.kv_heads, h.keys)
    return [
        TensorSpec(ctx.dtype(0), y),
        TensorSpec(ctx.dtype(1), (*present, h.size)),
        TensorSpec(ctx.dtype(2), (*present, h.v_size)),
        TensorSpec(ctx.dtype(0), (h.batch, h.q_heads, h.queries, h.keys)),
    ]


def _flops(ctx: OpContext, _outs: Sequence[TensorSpec]) -> float:
    h = _sizes(ctx)
    return float(h.batch * h.q_heads * h.queries * h.keys * (2 * (h.size + h.v_size) + 12))


def _split(x: Any, heads: int | None) -> Any:
    shape = split_shape(x.shape, heads, "operand")
    return x if x.ndim == 4 else np.transpose(x.reshape(shape[0], shape[2], shape[1], shape[3]), (0, 2, 1, 3))


def _allowed(h: Heads, nonpad: Any, is_causal: int, left: int, right: int) -> Any:
    """Which key each query may see, [batch or 1, 1, queries, keys], or None for all."""
    key = np.arange(h.keys)
    offset = h.past if nonpad is None else nonpad.reshape(-1, 1, 1, 1) - h.queries
    place = np.arange(h.queries)[:, None] + offset
    found = [
        key <= place if is_causal else None,
        key >= place - left if left >= 0 else None,
        key <= place + right if right >= 0 else None,
        key < nonpad.reshape(-1, 1, 1, 1) if nonpad is not None else None,
    ]
    known = [f for f in found if f is not None]
    return np.logical_and.reduce(np.broadcast_arrays(*known)) if known else None


def _bias(mask: Any, h: Heads, dtype: Any) -> Any:
    if mask is None:
        return np.zeros((), dtype)
    bias = np.where(mask, 0, -np.inf) if mask.dtype.kind == "b" else widen(mask)
    short = h.keys - mask.shape[-1]
    grown = (
        np.pad(bias, [(0, 0)] * (mask.ndim - 1) + [(0, short)], constant_values=-np.inf) if short else bias
    )
    return grown.astype(dtype)


def _probabilities(scores: Any) -> Any:
    top = np.max(scores, -1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(np.isneginf(top), 0, top).astype(scores.dtype))
    total = np.sum(e, -1, keepdims=True)
    return e / np.where(total == 0, 1, total).astype(scores.dtype)


@quiet
def attention(
    q: Any, k: Any, v: Any, attn_mask: Any = None, past_key: Any = None, past_value: Any = None,
    nonpad_kv_seqlen: Any = None, *, is_causal: int = 0, kv_num_heads: int | None = None,
    left_window_size: int = -1, q_num_heads: int | None = None, qk_matmul_output_mode: int = 0,
    right_window_size: int = -1, scale: float | None = None, softcap: float = 0.0, softmax_precision: int | None = None,
) -> Any:  # fmt: skip
    """softmax(scale * Q K^T + bias) V per head; also the grown caches and the scores or probabilities."""
    h = Heads.of(
        q.shape, k.shape, v.shape, None if past_key is None else past_key.shape, q_num_heads, kv_num_heads
    )
    key, value = _split(k, kv_num_heads), _split(v, kv_num_heads)
    if past_key is not None:
        key, value = np.concatenate([past_key, key], 2), np.concatenate([past_value, value], 2)
    groups = h.q_heads // h.kv_heads
    rows, columns = widen(_split(q, q_num_heads)), widen(key)
    root = rows.dtype.type(math.sqrt(1 / math.sqrt(h.size) if scale is None else scale))
    raw = np.matmul(rows * root, np.swapaxes(np.repeat(columns * root, groups, 1), 2, 3))
    capped = np.tanh(raw / softcap) * raw.dtype.type(softcap) if softcap else raw
    allowed = _allowed(h, nonpad_kv_seqlen, is_causal, left_window_size, right_window_size)
    biased = capped + _bias(attn_mask, h, raw.dtype)
    if allowed is not None:
        biased = np.where(allowed, biased, -np.inf).astype(raw.dtype)
    precision = biased.dtype if softmax_precision is None else np_dtype(onnx_dtype(softmax_precision))
    weights = _probabilities(widen(biased.astype(precision))).astype(precision)
    y = np.matmul(widen(weights).astype(biased.dtype), np.repeat(widen(value), groups, 1)).astype(q.dtype)
    if q.ndim == 3:
        y = np.transpose(y, (0, 2, 1, 3)).reshape(h.batch, h.queries, h.q_heads * h.v_size)
    shown = (raw, capped, biased, weights)[qk_matmul_output_mode]
    return y, key, value, shown.astype(q.dtype)


_CASES = (
    Sample(((2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8))),
    Sample(((2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 10)), {"is_causal": 1}),
    Sample(((2, 4, 24), (2, 6, 8), (2, 6, 8)), {"q_num_heads": 3, "kv_num_heads": 1}),
    Sample(((1, 4, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), (4, 4)), {"softcap": 2.0, "scale": 0.1}),
    Sample(((1, 2, 4, 8), (1, 2, 3, 8), (1, 2, 3, 8), None, (1, 2, 5, 8), (1, 2, 5, 8)), {"is_causal": 1}),
    Sample(((1, 2, 6, 8), (1, 2, 6, 8), (1, 2, 6, 8)), {"left_window_size": 2, "right_window_size": 1}),
)


@composite(
    "Attention",
    "attention",
    reference=attention,
    infer=_infer,
    flops=_flops,
    ulp=64,
    domain=(-2, 2),
    samples=_CASES,
)
def attention_graph(
    g: Any, q: str, k: str, v: str, attn_mask: str | None = None, past_key: str | None = None,
    past_value: str | None = None, nonpad_kv_seqlen: str | None = None, *, is_causal: int = 0,
    kv_num_heads: int | None = None, left_window_size: int = -1, q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0, right_window_size: int = -1, scale: float | None = None, softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Any:  # fmt: skip
    """softmax(scale * Q K^T + bias) V per head; also the grown caches and the scores or probabilities."""
    past = g.shape(past_key) if past_key else None
    h = Heads.of(g.shape(q), g.shape(k), g.shape(v), past, q_num_heads, kv_num_heads)
    key, value = split_heads(g, k, kv_num_heads), split_heads(g, v, kv_num_heads)
    if past_key:
        key, value = g.Concat(past_key, key, axis=2), g.Concat(past_value, value, axis=2)
    root = math.sqrt(1 / math.sqrt(h.size) if scale is None else scale)
    rows = g.Mul(split_heads(g, q, q_num_heads), g.const(root, like=q))
    columns = g.Transpose(g.Mul(key, g.const(root, like=k)), perm=(0, 1, 3, 2))
    raw = g.MatMul(rows, repeat_heads(g, columns, h))
    cap = g.const(softcap, like=raw)
    capped = g.Mul(g.Tanh(g.Div(raw, cap)), cap) if softcap else raw
    biased = _masked(
        g, capped, h, attn_mask, nonpad_kv_seqlen, is_causal, left_window_size, right_window_size
    )
    wide = biased
    if softmax_precision is not None and onnx_dtype(softmax_precision) != g.dtype(biased).name:
        wide = g.Cast(biased, to=softmax_precision)
    weights = g.Softmax(wide, axis=-1)
    if biased != capped:  # a query that sees no key gets zeros
        low = g.const(-math.inf, like=wide)
        blind = g.Equal(g.ReduceMax(wide, g.const([-1], "int64")), low)
        weights = g.Where(blind, g.const(0, like=wide), weights)
    y = g.MatMul(
        g.CastLike(weights, v) if g.dtype(weights) != g.dtype(v) else weights, repeat_heads(g, value, h)
    )
    if len(g.shape(q)) == 3:
        y = reshape(g, g.Transpose(y, perm=(0, 2, 1, 3)), h.batch, h.queries, h.q_heads * h.v_size)
    shown = (raw, capped, biased, weights)[qk_matmul_output_mode]
    shown = shown if g.dtype(shown) == g.dtype(q) or g.n_outputs < 4 else g.CastLike(shown, q)
    return (y if g.dtype(y) == g.dtype(q) else g.CastLike(y, q)), key, value, shown


def split_heads(g: Any, x: str, heads: int | None) -> str:
    """[batch, heads, length, size] of an operand that may have all heads in its last axis."""
    if len(g.shape(x)) == 4:
        return x
    n, heads, length, size = split_shape(g.shape(x), heads, "operand")
    return str(g.Transpose(reshape(g, x, n, length, heads, size), perm=(0, 2, 1, 3)))


def repeat_heads(g: Any, x: str, h: Heads) -> str:
    """[batch, kv heads, a, b] with every head repeated for the query heads that share it."""
    if h.q_heads == h.kv_heads:
        return x
    _, _, a, b = g.shape(x)
    shared = reshape(g, x, h.batch, h.kv_heads, 1, a, b)
    sizes = [h.batch, h.kv_heads, h.q_heads // h.kv_heads, a, b]
    return reshape(g, g.Expand(shared, g.const(sizes, "int64")), h.batch, h.q_heads, a, b)


def _masked(
    g: Any, scores: str, h: Heads, mask: str | None, nonpad: str | None, is_causal: int, left: int, right: int
) -> str:
    """Scores with the float mask added and -inf where a query may not see a key."""
    low = g.const(-math.inf, like=scores)
    if mask:
        short = h.keys - g.shape(mask)[-1]
        rank = len(g.shape(mask))
        boolean = g.dtype(mask).kind == "b"
        bias = mask if boolean or g.dtype(mask) == g.dtype(scores) else g.CastLike(mask, scores)
        if short:
            fill = g.const(False, "bool") if boolean else low
            bias = g.Pad(bias, g.const([0] * (2 * rank - 1) + [short], "int64"), fill)
        scores = g.Where(bias, scores, low) if boolean else g.Add(scores, bias)
    if nonpad:
        nonpad = reshape(g, nonpad, -1, 1, 1, 1)
    check_table(h.queries + h.keys)
    place = g.const([[i + (0 if nonpad else h.past)] for i in range(h.queries)], "int64")
    if nonpad:
        place = g.Add(place, g.Sub(nonpad, g.const(h.queries, "int64")))
    key = g.const(list(range(h.keys)), "int64")
    conditions = [
        g.LessOrEqual(key, place) if is_causal else None,
        g.GreaterOrEqual(key, g.Sub(place, g.const(left, "int64"))) if left >= 0 else None,
        g.LessOrEqual(key, g.Add(place, g.const(right, "int64"))) if right >= 0 else None,
        g.Less(key, nonpad) if nonpad else None,
    ]
    for condition in conditions:
        scores = g.Where(condition, scores, low) if condition else scores
    return scores
