"""Recurrent forms of attention: LinearAttention, and the causal convolution with state that precedes it."""

from __future__ import annotations

import math
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import like, reshape, wider
from walle_core.ops.precision import quiet, widen, widened
from walle_core.ops.rules import (
    check_equal_dtypes,
    check_kinds,
    check_vector,
    operations,
    require,
    rule,
    text,
)
from walle_core.types import TensorSpec

_RULES = ("linear", "gated", "delta", "gated_delta")
MAX_STEPS = 1 << 12  # a decomposition has a dozen nodes per step
_ACTIVATIONS = ("none", "silu", "swish")


def _sizes(
    q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], q_heads: int, kv_heads: int
) -> tuple[int, ...]:
    """Batch, length, key size, value size. Raises ValueError on a misfit."""
    if not len(q) == len(k) == len(v) == 3 or not q[:2] == k[:2] == v[:2]:
        raise ValueError("query, key and value must be [batch, length, heads * size] of one batch and length")
    if q_heads < 1 or kv_heads < 1 or q_heads % kv_heads:
        raise ValueError(f"q_num_heads {q_heads} must be a multiple of kv_num_heads {kv_heads}")
    if q[2] % q_heads or k[2] % kv_heads or v[2] % kv_heads or q[2] // q_heads != k[2] // kv_heads:
        raise ValueError(
            f"last sizes {q[2]}, {k[2]}, {v[2]} do not split into {q_heads} and {kv_heads} heads"
        )
    return q[0], q[1], k[2] // kv_heads, v[2] // kv_heads


@rule
def _infer(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    check_equal_dtypes(ctx, 0, 1, 2, 4, 5)
    heads = ctx.attrs["kv_num_heads"]
    n, length, d_k, d_v = _sizes(ctx.shape(0), ctx.shape(1), ctx.shape(2), ctx.attrs["q_num_heads"], heads)
    mode = text(ctx.attrs["update_rule"])
    if mode not in _RULES:
        raise ValueError(f"update_rule {mode!r} must be one of {', '.join(_RULES)}")
    if "gated" in mode and (
        not ctx.has(4) or ctx.shape(4) not in ((n, length, heads * d_k), (n, length, heads))
    ):
        raise ValueError(f"decay must be [{n}, {length}, {heads * d_k} or {heads}]")
    if "delta" in mode and (not ctx.has(5) or ctx.shape(5) not in ((n, length, heads), (n, length, 1))):
        raise ValueError(f"beta must be [{n}, {length}, {heads} or 1]")
    state = (n, heads, d_k, d_v)
    if ctx.has(3) and ctx.shape(3) != state:
        raise ValueError(f"past_state must be {state}")
    return [
        TensorSpec(ctx.dtype(0), (n, length, ctx.attrs["q_num_heads"] * d_v)),
        TensorSpec(ctx.dtype(3) if ctx.has(3) else ctx.dtype(0), state),
    ]


@quiet
def linear_attention(
    query: Any, key: Any, value: Any, past_state: Any = None, decay: Any = None, beta: Any = None, *,
    q_num_heads: int, kv_num_heads: int,
    chunk_size: int = 64,
    scale: float = 0.0, update_rule: str = "gated_delta",
) -> Any:  # fmt: skip
    """Runs the recurrence token by token; returns the outputs and the last state."""
    n, length, d_k, d_v = _sizes(query.shape, key.shape, value.shape, q_num_heads, kv_num_heads)
    mode, factor = text(update_rule), scale or 1 / math.sqrt(d_k)
    q, k, v = (widen(x) for x in (query, key, value))
    q = q.reshape(n, length, kv_num_heads, q_num_heads // kv_num_heads, d_k)
    k, v = k.reshape(n, length, kv_num_heads, d_k, 1), v.reshape(n, length, kv_num_heads, 1, d_v)
    state = np.zeros((n, kv_num_heads, d_k, d_v), q.dtype) if past_state is None else widen(past_state)
    gate = np.exp(widen(decay)).reshape(n, length, kv_num_heads, -1, 1) if "gated" in mode else None
    rate = widen(beta).reshape(n, length, -1, 1, 1) if "delta" in mode else None
    out = np.zeros((n, length, kv_num_heads, q_num_heads // kv_num_heads, d_v), q.dtype)
    for t in range(length):
        if gate is not None:
            state = gate[:, t] * state
        new = v[:, t]
        if rate is not None:
            new = rate[:, t] * (new - np.sum(state * k[:, t], 2, keepdims=True))
        state = state + k[:, t] * new
        out[:, t] = np.matmul(q[:, t], state) * q.dtype.type(factor)
    kept = query.dtype if past_state is None else past_state.dtype
    return out.reshape(n, length, q_num_heads * d_v).astype(query.dtype), state.astype(kept)


_HEADS = {"q_num_heads": 2, "kv_num_heads": 2}


@composite(
    "LinearAttention", "attention", reference=linear_attention, infer=_infer, ulp=64, domain=(-0.5, 0.5),
    flops=lambda ctx, outs: float(8 * ctx.shape(0)[1] * outs[1].size),
    samples=(
        Sample(((1, 3, 8), (1, 3, 8), (1, 3, 6)), {**_HEADS, "update_rule": "linear"}),
        Sample(((1, 3, 8), (1, 3, 8), (1, 3, 6), (1, 2, 4, 3), (1, 3, 2)), {**_HEADS, "update_rule": "gated"}),
        Sample(((1, 3, 16), (1, 3, 8), (1, 3, 6), None, (1, 3, 8), (1, 3, 1)), {"q_num_heads": 4, "kv_num_heads": 2}),
    ),
)  # fmt: skip
def linear_attention_graph(
    g: Any, query: str, key: str, value: str, past_state: str | None = None, decay: str | None = None,
    beta: str | None = None, *, q_num_heads: int, kv_num_heads: int,
    chunk_size: int = 64,
    scale: float = 0.0, update_rule: str = "gated_delta",
) -> Any:  # fmt: skip
    """Attention as a recurrence over a matrix state: linear, gated, delta or gated delta rule."""
    n, length, d_k, d_v = _sizes(g.shape(query), g.shape(key), g.shape(value), q_num_heads, kv_num_heads)
    require(
        length <= MAX_STEPS,
        f"{length} tokens are more than {MAX_STEPS} unrolled steps; run the sequence in pieces",
    )
    mode, groups = text(update_rule), q_num_heads // kv_num_heads

    def tokens(x: Any, *sizes: int) -> list[str]:
        """One [batch, heads, ...sizes] per time step."""
        heads = [
            reshape(g, wider(g, x), n, length, kv_num_heads if len(sizes) < 3 else sizes[0], *sizes[-2:])
        ]
        if length == 1:
            return [reshape(g, heads[0], n, *g.shape(heads[0])[2:])]
        parts = g.op("Split", heads[0], g.const([1] * length, "int64"), outputs=length, axis=1)
        return [reshape(g, p, n, *g.shape(p)[2:]) for p in parts]

    q, k, v = tokens(query, groups, d_k), tokens(key, d_k, 1), tokens(value, 1, d_v)
    gates = tokens(decay, g.shape(decay)[2] // kv_num_heads, 1) if "gated" in mode else None
    rates = tokens(beta, g.shape(beta)[2], 1, 1) if "delta" in mode else None
    state = (
        wider(g, past_state)
        if past_state
        else g.Expand(g.const(0, like=q[0]), g.const([n, kv_num_heads, d_k, d_v], "int64"))
    )
    factor = g.const(scale or 1 / math.sqrt(d_k), like=q[0])
    outputs = []
    for t in range(length):
        state = g.Mul(g.Exp(gates[t]), state) if gates else state
        new = v[t]
        if rates:
            recalled = g.ReduceSum(g.Mul(state, k[t]), g.const([2], "int64"))
            new = g.Mul(rates[t], g.Sub(new, recalled))
        state = g.Add(state, g.Mul(k[t], new))
        made = g.Mul(g.MatMul(q[t], state), factor)
        outputs.append(reshape(g, made, n, 1, q_num_heads * d_v))
    y = g.Concat(*outputs, axis=1) if length > 1 else outputs[0]
    return like(g, y, query), like(g, state, past_state or query)


@rule
def _infer_causal(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    dtype = check_equal_dtypes(ctx, 0, 1, 2, 3)
    x, w = ctx.shape(0), ctx.shape(1)
    if len(x) != 3 or len(w) != 3 or w[:2] != (x[1], 1) or w[2] < 1:
        raise ValueError(f"input {x} must be [batch, channels, length] and weight {w} [channels, 1, k]")
    check_vector(ctx, 2, x[1], "bias")
    state = (x[0], x[1], w[2] - 1)
    if ctx.has(3) and ctx.shape(3) != state:
        raise ValueError(f"past_state must be {state}")
    if text(ctx.attrs["activation"]) not in _ACTIVATIONS:
        raise ValueError(f"activation {ctx.attrs['activation']!r} must be one of {', '.join(_ACTIVATIONS)}")
    return [ctx.spec(0), TensorSpec(dtype, state)]


@widened
def causal_conv(
    x: Any, weight: Any, bias: Any = None, past_state: Any = None, *, activation: str = "none"
) -> Any:
    """Depthwise convolution that sees the past only; also the last k - 1 inputs."""
    k, length = weight.shape[2], x.shape[2]
    past = np.zeros((*x.shape[:2], k - 1), x.dtype) if past_state is None else past_state
    joined = np.concatenate([past, x], 2)
    y = sum(joined[:, :, t : t + length] * weight[:, 0, t, None] for t in range(k))
    y = y if bias is None else y + bias[:, None]
    if text(activation) != "none":
        y = y / (1 + np.exp(-y))
    return y, joined[:, :, length:]


@composite(
    "CausalConvWithState", "convolution", reference=causal_conv, infer=_infer_causal, ulp=32, domain=(-1, 1),
    flops=lambda ctx, outs: operations(2 * ctx.shape(1)[2])(ctx, outs),
    samples=(
        Sample(((2, 3, 6), (3, 1, 4))),
        Sample(((2, 3, 2), (3, 1, 4), (3,), (2, 3, 3)), {"activation": "silu"}),
        Sample(((1, 2, 5), (2, 1, 1), (2,))),
    ),
)  # fmt: skip
def causal_conv_graph(
    g: Any,
    x: str,
    weight: str,
    bias: str | None = None,
    past_state: str | None = None,
    *,
    activation: str = "none",
) -> Any:
    """Depthwise convolution over [batch, channels, length] that sees the past only, with carried state."""
    (_, channels, length), k = g.shape(x), g.shape(weight)[2]
    if past_state and k > 1:
        joined = g.Concat(past_state, x, axis=2)
    else:
        joined = g.Pad(x, g.const([0, 0, k - 1, 0, 0, 0], "int64")) if k > 1 else x
    y = g.Conv(joined, weight, bias, group=channels)
    y = y if text(activation) == "none" else g.Swish(y)
    return y, g.Slice(joined, *(g.const([v], "int64") for v in (length, length + k - 1, 2)))
