"""Normalisation, softmax, losses and attention against direct formulas, and as their parts."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core.errors import ShapeError

LIMIT = settings(max_examples=40, deadline=None)
SHAPES = st.sampled_from([(2, 4), (1, 4, 5), (2, 4, 3, 3), (0, 4, 2), (2, 4, 1, 2, 2)])


def filled(shape, seed=0, low=-2.0, high=2.0):
    return np.random.RandomState(seed).uniform(low, high, shape)


def columns(v, x):
    return v.reshape(-1, *[1] * (x.ndim - 2))


@LIMIT
@given(SHAPES, st.sampled_from([1e-5, 0.1]))
def test_batch_norm(ops, near, shape, epsilon):
    x, scale, bias, mean = filled(shape), filled(4, 1), filled(4, 2), filled(4, 3)
    var = filled(4, 4, 0.1, 2)
    wanted = (x - columns(mean, x)) / np.sqrt(columns(var, x) + epsilon) * columns(scale, x) + columns(
        bias, x
    )
    near(ops.agree("BatchNormalization", x, scale, bias, mean, var, epsilon=epsilon)[0], wanted)


def test_batch_norm_in_training_updates_its_statistics(ops, near):
    x, scale, bias, mean, var = (
        filled((5, 4, 3)),
        filled(4, 1),
        filled(4, 2),
        filled(4, 3),
        filled(4, 4, 0.1, 2),
    )
    y, new_mean, new_var = ops.agree(
        "BatchNormalization", x, scale, bias, mean, var, outputs=3, training_mode=1, momentum=0.75
    )
    near(new_mean, 0.75 * mean + 0.25 * x.mean((0, 2)))
    near(new_var, 0.75 * var + 0.25 * x.var((0, 2)))
    np.testing.assert_allclose((y - columns(bias, x)).mean((0, 2)), np.zeros(4), atol=1e-12)


def test_batch_norm_mixes_precisions(ops):
    x = filled((2, 3, 4)).astype(np.float16)
    parameters = [filled(3, i, 0.5, 1).astype(np.float32) for i in range(4)]
    (y,) = ops.agree("BatchNormalization", x, *parameters)
    assert y.dtype == np.float16


@LIMIT
@given(
    st.sampled_from([(2, 4, 3), (1, 4, 3, 3), (0, 4, 2)]),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1e-5, 0.1]),
)
def test_group_and_instance_norm(ops, near, shape, groups, epsilon):
    x, scale, bias = (
        filled(shape).astype(np.float32),
        filled(4, 1).astype(np.float32),
        filled(4, 2).astype(np.float32),
    )
    parts = x.reshape(shape[0], groups, int(np.prod(shape[1:])) // groups).astype(float)
    wanted = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + epsilon)
    wanted = (wanted.reshape(shape) * columns(scale, x) + columns(bias, x)).astype(np.float32)
    near(ops.agree("GroupNormalization", x, scale, bias, num_groups=groups, epsilon=epsilon)[0], wanted)
    if groups == 4:
        near(ops.agree("InstanceNormalization", x, scale, bias, epsilon=epsilon)[0], wanted)


@LIMIT
@given(st.sampled_from([(6,), (2, 6), (2, 3, 4)]), st.data())
def test_layer_and_rms_norm(ops, near, shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = filled(shape).astype(np.float32)
    scale, bias = (filled(shape[axis % len(shape) :], i).astype(np.float32) for i in (1, 2))
    axes = tuple(range(axis % len(shape), len(shape)))
    wide = x.astype(float)
    mean, var = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    inverse = 1 / np.sqrt(var + 1e-2)
    y, m, i = ops.agree("LayerNormalization", x, scale, bias, outputs=3, axis=axis, epsilon=1e-2)
    near(y, ((wide - mean) * inverse * scale + bias).astype(np.float32))
    near(m, mean.astype(np.float32))
    near(i, inverse.astype(np.float32))
    rms = wide / np.sqrt(np.mean(wide * wide, axes, keepdims=True) + 1e-2) * scale
    near(ops.agree("RMSNormalization", x, scale, axis=axis, epsilon=1e-2)[0], rms.astype(np.float32))


def test_layer_norm_of_half_floats_keeps_float32_statistics(ops):
    x, scale = filled((2, 64)).astype(np.float16), np.ones(64, np.float16)
    y, mean, inverse = ops.agree("LayerNormalization", x, scale, outputs=3)
    assert [v.dtype for v in (y, mean, inverse)] == [np.float16, np.float32, np.float32]


@LIMIT
@given(st.integers(1, 7), st.integers(1, 6))
def test_local_response(ops, near, size, channels):
    x = filled((2, channels, 3))
    wanted = np.empty_like(x)
    for c in range(channels):
        near_by = x[:, max(0, c - (size - 1) // 2) : min(channels - 1, c + math.ceil((size - 1) / 2)) + 1]
        wanted[:, c] = x[:, c] / (2.0 + 0.5 / size * np.sum(near_by**2, 1)) ** 0.6
    near(ops.agree("LRN", x, size=size, alpha=0.5, beta=0.6, bias=2.0)[0], wanted)


@LIMIT
@given(st.sampled_from([(5,), (2, 5), (2, 3, 4)]), st.data())
def test_softmaxes(ops, near, shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = filled(shape, high=30)
    e = np.exp(x)
    p = e / e.sum(axis, keepdims=True)
    near(ops.agree("Softmax", x, axis=axis)[0], p)
    near(ops.agree("LogSoftmax", x, axis=axis)[0], np.log(p))
    (hard,) = ops.agree("Hardmax", np.round(x), axis=axis)
    assert (hard.sum(axis) == 1).all()
    np.testing.assert_array_equal(np.argmax(hard, axis), np.argmax(np.round(x), axis))


@LIMIT
@given(
    st.sampled_from([(3, 4), (2, 4, 3), (1, 4, 2, 2)]), st.sampled_from(["none", "sum", "mean"]), st.booleans(),
    st.sampled_from([None, 0, 3, -1]),
)  # fmt: skip
def test_losses(ops, near, shape, reduction, weighted, ignored):
    scores = filled(shape)
    labels = np.random.RandomState(5).randint(0, 4, (shape[0], *shape[2:]))
    labels.flat[0] = 1
    if ignored == -1:
        labels.flat[-1] = -1
    weight = filled(4, 6, 0.5, 1.5) if weighted else None
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    each, total = np.zeros(labels.shape), np.zeros(labels.shape)
    for at in np.ndindex(*labels.shape):
        c = labels[at]
        if c != ignored:
            total[at] = 1 if weight is None else weight[c]
            each[at] = -logs[(at[0], c, *at[1:])] * total[at]
    wanted = {"none": each, "sum": each.sum(), "mean": each.sum() / total.sum()}[reduction]
    extra = {} if ignored is None else {"ignore_index": ignored}
    near(
        ops.agree("NegativeLogLikelihoodLoss", logs, labels, weight, reduction=reduction, **extra)[0],
        np.asarray(wanted),
    )
    loss, shown = ops.agree(
        "SoftmaxCrossEntropyLoss", scores, labels, weight, outputs=2, reduction=reduction, **extra
    )
    near(loss, np.asarray(wanted))
    near(shown, logs)


def naive_attention(q, k, v, scale, allowed):
    """One head at a time; allowed[b, i, j] says whether query i sees key j."""
    y = np.zeros((*q.shape[:3], v.shape[3]))
    for b, h, i in np.ndindex(*q.shape[:3]):
        g = h // (q.shape[1] // k.shape[1])
        keys = [j for j in range(k.shape[2]) if allowed[b, i, j]]
        if keys:
            e = np.exp([scale * q[b, h, i] @ k[b, g, j] for j in keys])
            y[b, h, i] = sum(w * v[b, g, j] for w, j in zip(e / e.sum(), keys, strict=False))
    return y


@LIMIT
@given(
    st.sampled_from([(2, 2), (4, 2), (3, 1)]), st.integers(1, 4), st.integers(1, 5), st.integers(0, 1),
    st.sampled_from([-1, 0, 1]), st.sampled_from([-1, 0, 2]), st.sampled_from(["none", "past", "nonpad"]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_attention(ops, near, heads, queries, keys, causal, left, right, cache, masked, packed):
    hq, hk = heads
    q, k, v = filled((2, hq, queries, 4)), filled((2, hk, keys, 4), 1), filled((2, hk, keys, 3), 2)
    past = [filled((2, hk, 3, 4), 3), filled((2, hk, 3, 3), 4)] if cache == "past" else [None, None]
    nonpad = np.array([max(1, keys - 1), keys]) if cache == "nonpad" else None
    total = keys + (3 if cache == "past" else 0)
    mask = np.random.RandomState(8).rand(queries, total) < 0.7 if masked else None
    allowed = np.ones((2, queries, total), bool)
    for b, i, j in np.ndindex(*allowed.shape):
        place = i + (3 if cache == "past" else 0 if nonpad is None else nonpad[b] - queries)
        allowed[b, i, j] = (
            (not causal or j <= place)
            and (left < 0 or j >= place - left)
            and (right < 0 or j <= place + right)
            and (nonpad is None or j < nonpad[b])
            and (mask is None or mask[i, j])
        )
    full_k, full_v = (
        np.concatenate([p, x], 2) if p is not None else x for p, x in zip(past, (k, v), strict=False)
    )
    wanted = naive_attention(q, full_k, full_v, 0.3, allowed)
    attributes = {"is_causal": causal, "left_window_size": left, "right_window_size": right, "scale": 0.3}
    if packed:
        q, k, v, wanted = (np.swapaxes(x, 1, 2).reshape(2, x.shape[2], -1) for x in (q, k, v, wanted))
        attributes |= {"q_num_heads": hq, "kv_num_heads": hk}
    y, present_k, present_v = ops.agree("Attention", q, k, v, mask, *past, nonpad, outputs=3, **attributes)
    near(y, wanted)
    near(present_k, full_k)
    near(present_v, full_v)


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_attention_shows_its_scores(ops, mode):
    q, k, v = filled((1, 2, 3, 4)), filled((1, 2, 5, 4), 1), filled((1, 2, 5, 4), 2)
    mask = filled((3, 4), 3)  # shorter than the keys: the last one is hidden
    shown = ops.agree("Attention", q, k, v, mask, outputs=4, softcap=2.0, qk_matmul_output_mode=mode)[3]
    raw = np.matmul(q, np.swapaxes(k, 2, 3)) / 2
    capped = 2 * np.tanh(raw / 2)
    biased = np.concatenate([capped[..., :4] + mask, np.full((1, 2, 3, 1), -np.inf)], 3)
    e = np.exp(biased)
    np.testing.assert_allclose(shown, [raw, capped, biased, e / e.sum(-1, keepdims=True)][mode], rtol=1e-12)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("rotated", [0, 4])
def test_rotary_embedding_rotates_pairs(ops, near, interleaved, rotated):
    x = filled((2, 3, 4, 8))
    size = rotated or 8
    angle = filled((2, 4, size // 2), 1)
    wanted = x.copy()
    for p in range(size // 2):
        a, b = (2 * p, 2 * p + 1) if interleaved else (p, p + size // 2)
        c, s = np.cos(angle[:, None, :, p]), np.sin(angle[:, None, :, p])
        wanted[..., a], wanted[..., b] = c * x[..., a] - s * x[..., b], s * x[..., a] + c * x[..., b]
    attributes = {"interleaved": interleaved, "rotary_embedding_dim": rotated}
    near(ops.agree("RotaryEmbedding", x, np.cos(angle), np.sin(angle), **attributes)[0], wanted)
    table, places = filled((9, size // 2), 2), np.array([[0, 8, 3, 3], [1, 2, 7, 0]])
    looked_up = ops.agree("RotaryEmbedding", x, np.cos(table), np.sin(table), places, **attributes)[0]
    near(
        looked_up,
        ops.reference("RotaryEmbedding", x, np.cos(table)[places], np.sin(table)[places], **attributes)[0],
    )


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("past", [False, True])
def test_linear_attention_is_its_recurrence(ops, near, rule, past):
    n, length, hq, hk, dk, dv = 2, 3, 4, 2, 3, 5
    q, k, v = filled((n, length, hq * dk)), filled((n, length, hk * dk), 1), filled((n, length, hk * dv), 2)
    state = filled((n, hk, dk, dv), 3) if past else np.zeros((n, hk, dk, dv))
    decay = filled((n, length, hk * dk), 4, -1, 0) if "gated" in rule else None
    beta = filled((n, length, hk), 5, 0, 1) if "delta" in rule else None
    y, last = ops.agree(
        "LinearAttention", q, k, v, state if past else None, decay, beta, outputs=2, q_num_heads=hq, kv_num_heads=hk,
        update_rule=rule, scale=0.5,
    )  # fmt: skip
    wanted = np.zeros((n, length, hq, dv))
    state = state.copy()
    for b, t in np.ndindex(n, length):
        for h in range(hk):
            key, value = k[b, t].reshape(hk, dk)[h], v[b, t].reshape(hk, dv)[h]
            if decay is not None:
                state[b, h] *= np.exp(decay[b, t].reshape(hk, dk)[h])[:, None]
            if beta is not None:
                value = beta[b, t, h] * (value - state[b, h].T @ key)
            state[b, h] += np.outer(key, value)
            for head in range(h * hq // hk, (h + 1) * hq // hk):
                wanted[b, t, head] = 0.5 * q[b, t].reshape(hq, dk)[head] @ state[b, h]
    near(y, wanted.reshape(n, length, -1))
    near(last, state)


@LIMIT
@given(st.integers(1, 4), st.integers(1, 5), st.booleans(), st.booleans())
def test_causal_conv_carries_its_state(ops, near, k, length, bias, silu):
    """Two pieces with the state carried over give what the whole gives."""
    x, w, b = filled((2, 3, 5 + length)), filled((3, 1, k), 1), filled(3, 2) if bias else None
    extra = {"activation": "silu"} if silu else {}
    whole, last = ops.agree("CausalConvWithState", x, w, b, outputs=2, **extra)
    one, state = ops.agree("CausalConvWithState", x[..., :length].copy(), w, b, outputs=2, **extra)
    two, final = ops.agree("CausalConvWithState", x[..., length:].copy(), w, b, state, outputs=2, **extra)
    near(np.concatenate([one, two], 2), whole)
    near(final, last)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "message"),
    [
        ("BatchNormalization", [(2, 3, 4), (3,), (3,), (3,), (4,)], {}, "input 4"),
        ("BatchNormalization", [(), (1,), (1,), (1,), (1,)], {}, "scalar"),
        ("GroupNormalization", [(2, 3, 4), (3,), (3,)], {"num_groups": 2}, "num_groups"),
        ("GroupNormalization", [(2, 3, 4), (3,), (3,)], {"num_groups": 0}, "num_groups"),
        ("LayerNormalization", [(2, 3), (4,)], {}, "broadcast"),
        ("LayerNormalization", [(2, 3), (3,)], {"axis": 2}, "axis"),
        ("LayerNormalization", [(2, 3), (3,)], {"stash_type": 7}, "floating-point"),
        ("LpNormalization", [(2, 3)], {"p": 3}, "p 3"),
        ("LRN", [(2, 3)], {"size": 0}, "size"),
        ("Softmax", [(2, 3)], {"axis": 2}, "axis"),
        ("Attention", [(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3, 4)], {}, "do not fit"),
        ("Attention", [(1, 3, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)], {}, "multiple"),
        ("Attention", [(1, 3, 8), (1, 3, 8), (1, 3, 8)], {}, "4-D"),
        ("Attention", [(1, 3, 8), (1, 3, 8), (1, 3, 8)], {"q_num_heads": 3, "kv_num_heads": 3}, "divides"),
        ("Attention", [(1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (3, 4)], {}, "attn_mask"),
        ("Attention", [(1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), None, (1, 2, 3, 4)], {}, "together"),
        ("RotaryEmbedding", [(1, 2, 3, 4), (1, 3, 3), (1, 3, 3)], {}, "caches"),
        (
            "LinearAttention",
            [(1, 2, 4), (1, 2, 4), (1, 2, 4)],
            {"q_num_heads": 2, "kv_num_heads": 2},
            "decay",
        ),
        ("CausalConvWithState", [(1, 2, 4), (2, 2, 3)], {}, "weight"),
    ],
)
def test_misfits_are_named(ops, op, shapes, attributes, message):
    with pytest.raises(ShapeError, match=message):
        ops.infer(op, *[None if s is None else np.zeros(s, np.float32) for s in shapes], **attributes)


def test_labels_that_do_not_fit_the_scores(ops):
    with pytest.raises(ShapeError, match="labels"):
        ops.infer("NegativeLogLikelihoodLoss", np.zeros((2, 3, 4), np.float32), np.zeros((2, 5), np.int64))
