"""Winograd, depthwise and pooling kernels, through their emit rules, against NumPy in float64, on every table."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import Tensor
from walle_core.backends.table import depthwise, pool, winograd
from walle_core.backends.table.emitter import Emitter
from walle_core.graph.builder import Builder
from walle_core.types import Candidate

CASES = settings(max_examples=40, deadline=None)
sizes = st.integers(1, 19)
ACTIVATIONS = {
    "": lambda x: x,
    "Relu": lambda x: np.maximum(x, 0),
    "Clip": lambda x: np.clip(x, -0.5, 0.75),
    "LeakyRelu": lambda x: np.where(x < 0, x * 0.1, x),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "Gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "Swish": lambda x: x / (1 + np.exp(-x)),
}
ALPHA = {
    "Clip": {"act_alpha": -0.5, "act_beta": 0.75},
    "LeakyRelu": {"act_alpha": 0.1},
    "Swish": {"act_alpha": 1.0},
}


def taps(x, kernel, strides, dilations, pads, out, fill):
    """(tap index, its [n, oh, ow, c] inputs) for every tap, with padding of `fill` as far as windows reach."""
    n, h, w, c = x.shape
    reach = [(out[i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 for i in range(2)]
    grown = np.full((n, max(reach[0], pads[0] + h), max(reach[1], pads[1] + w), c), fill, np.float64)
    grown[:, pads[0] : pads[0] + h, pads[1] : pads[1] + w] = x
    for i, j in product(range(kernel[0]), range(kernel[1])):
        rows = slice(i * dilations[0], i * dilations[0] + (out[0] - 1) * strides[0] + 1, strides[0])
        cols = slice(j * dilations[1], j * dilations[1] + (out[1] - 1) * strides[1] + 1, strides[1])
        yield (i, j), grown[:, rows, cols]


def conv(x, w, strides, dilations, pads, out, group):
    """Convolution of [n, h, w, c] with [k, c/group, kh, kw]; one group or depthwise."""
    y = np.zeros((x.shape[0], *out, w.shape[0]))
    for (i, j), part in taps(x, w.shape[2:], strides, dilations, pads, out, 0.0):
        tap = w[:, :, i, j].astype(np.float64)
        y += part @ tap.T if group == 1 else part * tap[:, 0]
    return y


def offers(kernels, rule, graph):
    """Candidates of a rule for a graph of one node, by algorithm."""
    return {c.algorithm: c for c in rule.candidates(kernels, graph.nodes[0], graph.specs, graph.constants)}


def run(kernels, rule, graph, choice, inputs, threads=1):
    """Outputs of a graph of one node through one emit rule; `choice` is a candidate or the algorithm of an offered one."""
    em = Emitter(graph, kernels, threads)
    rule.emit(em, graph.nodes[0], offers(kernels, rule, graph)[choice] if isinstance(choice, str) else choice)
    program = em.finish()[0].program()
    return [np.asarray(t) for t in program.run([Tensor.wrap(np.ascontiguousarray(a)) for a in inputs])]


def conv_graph(x, w, bias, residual, **attributes):
    """A graph of one channels-last FusedConv, and its output shape."""
    g = Builder()
    names = [g.input("x", "float32", x.shape), g.const(Tensor.wrap(w))]
    names.append(g.const(Tensor.wrap(bias)) if bias is not None else None)
    names.append(g.input("residual", "float32", residual) if residual is not None else None)
    y = g.FusedConv(*names, layout="NHWC", **attributes)
    return g.graph([y]), g.shape(y)


def fused(draw, kernels, rule, choice, x, w, group, tolerance, **attributes):
    """Runs one convolution with a drawn epilogue and compares it; errors count against the sum before activation."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    bias = rng.standard_normal(w.shape[0], dtype=np.float32) if draw(st.booleans()) else None
    name = draw(st.sampled_from(list(ACTIVATIONS)))
    attributes |= {"group": group, "activation": name, **ALPHA.get(name, {})}
    _, shape = conv_graph(x, w, bias, None, **attributes)
    residual = rng.standard_normal(shape, dtype=np.float32) if draw(st.booleans()) else None
    graph, _ = conv_graph(x, w, bias, None if residual is None else shape, **attributes)
    inputs = [x] if residual is None else [x, residual]
    (got,) = run(kernels, rule, graph, choice, inputs, draw(st.integers(1, 2)))
    dilations = attributes.get("dilations", (1, 1))
    total = conv(x, w, attributes["strides"], dilations, attributes["pads"][:2], shape[1:3], group)
    total = total + (0 if bias is None else bias) + (0 if residual is None else residual)
    np.testing.assert_allclose(
        got, ACTIVATIONS[name](total), rtol=0, atol=tolerance * max(1.0, np.abs(total).max())
    )


@pytest.mark.parametrize(("unit", "tolerance"), [(2, 2e-6), (4, 8e-6), (6, 4e-5)])
@CASES
@given(data=st.data())
def test_winograd(kernels, unit, tolerance, data):
    draw = data.draw
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    h = draw(st.integers(max(1, 3 - pads[0] - pads[2] + unit // 2 - 1), 20))
    w = draw(st.integers(max(1, 3 - pads[1] - pads[3] + unit // 2 - 1), 20))
    c, k = draw(st.integers(8, 40)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = np.maximum(rng.standard_normal((draw(st.integers(1, 2)), h, w, c), dtype=np.float32), 0)
    weight = (rng.standard_normal((k, c, 3, 3)) / math.sqrt(9 * c)).astype(np.float32)
    (rule,) = winograd.rules()
    fused(
        draw, kernels, rule, Candidate("", "", 0, 0, params={"unit": unit}), x, weight, 1, tolerance,
        kernel_shape=(3, 3), pads=pads, strides=(1, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "c", "k", "group", "stride", "expected"),
    [
        (56, 64, 64, 1, 1, {2, 4}),  # F(6) saves too little for its rounding
        (224, 64, 64, 1, 1, {2, 4, 6}),
        (56, 64, 64, 1, 2, set()),
        (56, 64, 64, 64, 1, set()),
        (56, 3, 64, 1, 1, set()),
        (2, 64, 64, 1, 1, {2, 4}),
    ],
)
def test_winograd_is_offered_where_it_may_pay(kernels, size, c, k, group, stride, expected):
    x, w = np.zeros((1, size, size, c), np.float32), np.zeros((k, c // group, 3, 3), np.float32)
    graph, _ = conv_graph(x, w, None, None, group=group, strides=(stride, stride), pads=(1, 1, 1, 1))
    (rule,) = winograd.rules()
    found = offers(kernels, rule, graph)
    assert {int(c.params["unit"]) for c in found.values()} == expected
    assert all(
        c.algorithm == f"winograd_f{c.params['unit']}x3" and c.ops > 0 and c.bytes > 0 for c in found.values()
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("size", "c"), [(56, 64), (28, 128), (14, 256), (7, 512), (112, 16), (4, 2048)])
@pytest.mark.parametrize("unit", [2, 4, 6])
def test_winograd_schedule_feeds_the_threads_and_is_no_worse_than_the_plain_ones(unit, size, c, threads):
    tiles = (-(-size // unit)) ** 2
    tiling = winograd.Tiling(unit, tiles, c, c, 12, 32)
    block, groups = tiling.schedule(threads)
    assert 1 <= block <= tiles and 1 <= groups <= tiling.panels
    if tiles * tiling.tile_bytes() <= winograd.SPILL_BLOCKS * winograd.BLOCK_BYTES:
        assert tiling.seconds(block, groups, threads) <= tiling.seconds(tiles, 1, threads)
    assert block == 1 or block * tiling.tile_bytes() <= winograd.SPILL_BLOCKS * winograd.BLOCK_BYTES
    assert -(-tiles // block) * groups >= 0.75 * min(threads, tiles * tiling.panels)
    fitting = max(1, winograd.BLOCK_BYTES // tiling.tile_bytes())
    assert tiling.seconds(block, groups, threads) <= tiling.seconds(
        -(-tiles // -(-tiles // fitting)), 1, threads
    )


@CASES
@given(data=st.data())
def test_depthwise(kernels, data):
    draw = data.draw
    kernel = draw(st.sampled_from([(3, 3), (5, 5), (1, 3), (3, 5), (2, 4), (7, 7), (1, 1)]))
    strides, dilations = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    h, w = (
        draw(st.integers(max(1, (kernel[i] - 1) * dilations[i] + 1 - pads[i] - pads[i + 2]), 24))
        for i in range(2)
    )
    c = draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.standard_normal((draw(st.integers(1, 2)), h, w, c), dtype=np.float32)
    weight = (rng.standard_normal((c, 1, *kernel)) / math.sqrt(math.prod(kernel))).astype(np.float32)
    (rule,) = depthwise.rules()
    group = c
    attributes = {"kernel_shape": kernel, "pads": pads, "strides": strides, "dilations": dilations}
    fused(draw, kernels, rule, "depthwise", x, weight, group, 4e-6, **attributes)


def test_depthwise_packs_weights_that_are_computed(kernels):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 9, 5), dtype=np.float32), rng.standard_normal((5, 1, 3), dtype=np.float32)
    g = Builder()
    names = g.input("x", "float32", x.shape), g.input("w", "float32", w.shape)
    graph = g.graph([g.FusedConv(*names, group=5, pads=(1, 1), layout="NHWC")])
    (rule,) = depthwise.rules()
    (got,) = run(kernels, rule, graph, "depthwise", [x, w], 2)
    expected = conv(x[:, None], w[:, :, None], (1, 1), (1, 1), (0, 1), (1, 9), 5)[:, 0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@CASES
@given(data=st.data())
def test_pool(kernels, op, data):
    draw = data.draw
    kernel, strides, dilations = (
        draw(st.tuples(st.integers(1, top), st.integers(1, top))) for top in (4, 3, 2)
    )
    extent = [(kernel[i] - 1) * dilations[i] + 1 for i in range(2)]
    pads = tuple(draw(st.integers(0, min(3, extent[i % 2] - 1))) for i in range(4))
    h, w = (draw(st.integers(max(1, extent[i] - pads[i] - pads[i + 2]), 20)) for i in range(2))
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    attributes |= {"ceil_mode": draw(st.integers(0, 1))}
    include = draw(st.integers(0, 1)) if op == "AveragePool" else 0
    attributes |= {"count_include_pad": include} if op == "AveragePool" else {}
    x = np.random.default_rng(draw(st.integers(0, 99))).standard_normal((2, h, w, draw(st.integers(1, 70))))
    x = x.astype(np.float32)
    g = Builder()
    y = g.op(op, g.input("x", "float32", x.shape), layout="NHWC", **attributes)
    out = g.shape(y)[1:3]
    (got,) = run(kernels, pool.rules()[0], g.graph([y]), "pool", [x], draw(st.integers(1, 2)))
    if op == "MaxPool":
        parts = [part for _, part in taps(x, kernel, strides, dilations, pads[:2], out, -np.inf)]
        np.testing.assert_array_equal(got, np.max(parts, 0).astype(np.float32))
        return
    total = sum(part for _, part in taps(x, kernel, strides, dilations, pads[:2], out, 0.0))
    inside = np.ones((1, h, w, 1))
    if include:
        inside = np.ones((1, h + pads[0] + pads[2], w + pads[1] + pads[3], 1))
    starts = (0, 0) if include else pads[:2]
    count = sum(part for _, part in taps(inside, kernel, strides, dilations, starts, out, 0.0))
    np.testing.assert_allclose(
        got, np.divide(total, count, where=count > 0, out=np.zeros_like(total)), rtol=0, atol=4e-6
    )


@pytest.mark.parametrize(("op", "oracle"), [("GlobalMaxPool", np.max), ("GlobalAveragePool", np.mean)])
@CASES
@given(data=st.data())
def test_global_pool(kernels, op, oracle, data):
    draw = data.draw
    spatial = draw(st.lists(sizes, min_size=1, max_size=3))
    shape = (draw(st.integers(1, 3)), *spatial, draw(st.integers(1, 150)))
    x = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(np.float32)
    g = Builder()
    graph = g.graph([g.op(op, g.input("x", "float32", shape), layout="NHWC")])
    (got,) = run(kernels, pool.rules()[1], graph, "pool", [x], draw(st.integers(1, 2)))
    expected = oracle(x.astype(np.float64), axis=tuple(range(1, len(shape) - 1)), keepdims=True)
    np.testing.assert_allclose(got, expected, rtol=0, atol=0 if op == "GlobalMaxPool" else 2e-6)


def test_pool_passes_nan(kernels):
    x = np.ones((1, 3, 3, 20), np.float32)
    x[0, 1, 0, 7] = np.nan
    for op in ("MaxPool", "AveragePool"):
        g = Builder()
        graph = g.graph([g.op(op, g.input("x", "float32", x.shape), kernel_shape=(2, 2), layout="NHWC")])
        (got,) = run(kernels, pool.rules()[0], graph, "pool", [x])
        assert (
            np.isnan(got[0, :, 0, 7]).all()
            and np.isfinite(np.delete(got, 7, 3)).all()
            and np.isfinite(got[0, :, 1]).all()
        )
