"""Batch normalisation folded into weights, against ONNX Runtime on the graph as it was."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core._native import Tensor
from walle_core.evaluate import evaluate
from walle_core.graph.fusion import fold_batch_norm
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

sys.path.insert(0, str(Path(__file__).parents[1] / "frontends"))
from onnx_oracle import run_graph

RNG = np.random.default_rng(1)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def graph(nodes, feeds, arrays, outputs=("y",)):
    constants = {k: Tensor.of(np.ascontiguousarray(v)) for k, v in arrays.items()}
    specs = {k: TensorSpec(as_dtype(v.dtype.name), v.shape) for k, v in {**arrays, **feeds}.items()}
    return Graph(tuple(feeds), outputs, tuple(nodes), constants, specs)


def statistics(channels):
    return {"scale": f(channels), "bias": f(channels), "mean": f(channels), "var": np.abs(f(channels))}


def norm(x="t", y="y", **attrs):
    return Node("BatchNormalization", (x, "scale", "bias", "mean", "var"), (y,), attrs, "bn")


def check(before, feeds, ops):
    after = fold_batch_norm(infer(before), evaluate)
    assert [n.op for n in after.nodes] == ops
    for mine, theirs in zip(run_graph(after, feeds), run_graph(before, feeds), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
    return after


@given(st.sampled_from([1, 2, 3]), st.booleans(), st.integers(1, 2), st.sampled_from([1, 3]))
@settings(max_examples=30, deadline=None)
def test_conv(group, bias, rank, kernel):
    feeds = {"x": f(2, 2 * group, *[5] * rank)}
    arrays = {"w": f(3 * group, 2, *[kernel] * rank), "b": f(3 * group), **statistics(3 * group)}
    conv = Node("Conv", ("x", "w", "b") if bias else ("x", "w"), ("t",), {"group": group}, "c")
    after = check(graph([conv, norm(epsilon=1e-3)], feeds, arrays), feeds, ["Conv"])
    assert set(after.constants) == {"bn/weight", "bn/bias"}


@given(st.sampled_from([1, 2]), st.booleans())
@settings(max_examples=10, deadline=None)
def test_conv_transpose(group, bias):
    feeds = {"x": f(1, 2 * group, 4, 4)}
    arrays = {"w": f(2 * group, 3, 2, 2), "b": f(3 * group), **statistics(3 * group)}
    conv = Node(
        "ConvTranspose",
        ("x", "w", "b") if bias else ("x", "w"),
        ("t",),
        {"group": group, "strides": (2, 2)},
        "c",
    )
    check(graph([conv, norm()], feeds, arrays), feeds, ["ConvTranspose"])


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("shape", [None, (), (1,), (5,), (1, 5)], ids=str)
def test_gemm(transposed, shape):
    feeds = {"x": f(3, 4)}
    arrays = {"w": f(5, 4) if transposed else f(4, 5), "b": f(*(shape or ())), **statistics(5)}
    inputs = ("x", "w") if shape is None else ("x", "w", "b")
    gemm = Node("Gemm", inputs, ("t",), {"transB": transposed, "alpha": 0.5, "beta": 2.0}, "c")
    check(graph([gemm, norm()], feeds, arrays), feeds, ["Gemm"])


def test_bias_per_row_stays():
    feeds = {"x": f(3, 4)}
    gemm = Node("Gemm", ("x", "w", "b"), ("t",), {}, "c")
    check(
        graph([gemm, norm()], feeds, {"w": f(4, 5), "b": f(3, 1), **statistics(5)}),
        feeds,
        ["Gemm", "Mul", "Add"],
    )


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_without_a_linear_operator(rank):
    feeds = {"x": f(2, 3, *[4] * rank)}
    check(graph([norm("x")], feeds, statistics(3)), feeds, ["Mul", "Add"])


def test_weights_that_others_read_are_left_alone():
    feeds = {"x": f(1, 2, 4, 4)}
    arrays = {"w": f(2, 2, 1, 1), **statistics(2)}
    nodes = [Node("Conv", ("x", "w"), ("t",), {}, "c"), norm(), Node("Conv", ("y", "w"), ("z",), {}, "d")]
    check(graph(nodes, feeds, arrays, ("z",)), feeds, ["Conv", "Conv"])


def test_a_value_read_elsewhere_is_kept():
    feeds = {"x": f(1, 2, 4, 4)}
    arrays = {"w": f(2, 2, 1, 1), **statistics(2)}
    conv = Node("Conv", ("x", "w"), ("t",), {}, "c")
    before = graph([conv, norm()], feeds, arrays, ("y", "t"))
    assert fold_batch_norm(before, evaluate).nodes[0].op == "Conv"
    assert "w" in fold_batch_norm(before, evaluate).constants
    used = graph([conv, norm(), Node("Neg", ("t",), ("z",), {}, "n")], feeds, arrays, ("y", "z"))
    assert "w" in fold_batch_norm(used, evaluate).constants


@pytest.mark.parametrize(
    "node",
    [
        norm("x", training_mode=1),
        Node("BatchNormalization", ("x", "scale", "bias", "mean", "runtime"), ("y",), {}, "bn"),
        Node("BatchNormalization", ("x", "scale", "bias", "mean", "negative"), ("y",), {}, "bn"),
    ],
    ids=["training", "not constant", "negative variance"],
)
def test_what_cannot_be_folded_stays(node):
    before = graph(
        [node], {"x": f(1, 2, 3), "runtime": f(2)}, {**statistics(2), "negative": np.full(2, -1, np.float32)}
    )
    assert fold_batch_norm(before, evaluate).nodes == (node,)


def test_without_an_evaluator_nothing_is_lost():
    feeds = {"x": f(1, 2, 4, 4)}
    conv = Node("Conv", ("x", "w"), ("t",), {}, "c")
    before = graph([conv, norm()], feeds, {"w": f(2, 2, 1, 1), **statistics(2)})
    after = fold_batch_norm(before, lambda *_: None)
    assert after.nodes[0].op == "Conv"
    np.testing.assert_allclose(run_graph(after, feeds)[0], run_graph(before, feeds)[0], rtol=1e-4, atol=1e-5)
