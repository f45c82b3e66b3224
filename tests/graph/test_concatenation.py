"""Products of concatenations, against ONNX Runtime on the graph as it was."""

import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import Session, Tensor
from walle_core.evaluate import evaluate
from walle_core.graph.concatenation import shrink_concatenations
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

sys.path.insert(0, str(Path(__file__).parents[1] / "frontends"))
from onnx_oracle import run_graph

WIDTH, ROWS, N = 20, 9, 7


def attention(pieces, batch=1, bias=True, outputs=("y",)):
    """MatMul over a Concat of `pieces` of a query (one row, expanded), a key and what is made of them."""
    rng = np.random.default_rng(len(pieces))
    q, k = (rng.normal(size=(batch, n, WIDTH)).astype("float32") for n in (1, ROWS))
    nodes = [
        Node("Expand", ("query", "shape"), ("q",), {}, "expand"),
        Node("Sub", ("q", "key"), ("sub",), {}, "sub"), Node("Add", ("key", "q"), ("add",), {}, "add"),
        Node("Mul", ("q", "key"), ("mul",), {}, "mul"), Node("Sub", ("mul", "key"), ("far",), {}, "far"),
        Node("Concat", pieces, ("rows",), {"axis": -1}, "concat"), Node("MatMul", ("rows", "w"), ("p",), {}, "matmul"),
    ]  # fmt: skip
    nodes.append(Node("Add", ("b", "p") if bias else ("p", "p"), ("y",), {}, "bias"))
    arrays = {
        "shape": np.array([batch, ROWS, WIDTH]), "w": rng.normal(size=(WIDTH * len(pieces), N)).astype("float32"),
        "b": rng.normal(size=N).astype("float32"),
    }  # fmt: skip
    feeds = {"query": q, "key": k}
    constants = {n: Tensor.of(np.ascontiguousarray(v)) for n, v in arrays.items()}
    specs = {n: TensorSpec(as_dtype(v.dtype.name), v.shape) for n, v in {**arrays, **feeds}.items()}
    return infer(Graph(tuple(feeds), outputs, tuple(nodes), constants, specs).pruned()), feeds


def products(graph):
    """(rows, depth) of every product."""
    shapes = [graph.specs[n.inputs[0]].sizes for n in graph.nodes if n.op == "MatMul"]
    return sorted((s[-2], s[-1]) for s in shapes)


def check(graph, feeds):
    after = infer(shrink_concatenations(graph, evaluate))
    (want,) = run_graph(graph, feeds)
    (got,) = run_graph(after, feeds)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    mine = Session(graph, backend="portable", threads=1, cache=False).run(feeds)["y"]
    np.testing.assert_allclose(np.asarray(mine), want, rtol=1e-4, atol=1e-4)
    return after


def test_interest_network_multiplies_two_pieces_of_four():
    after = check(*attention(("q", "key", "sub", "mul")))
    assert products(after) == [(1, WIDTH), (ROWS, 2 * WIDTH)]
    assert "Sub" not in [n.op for n in after.nodes]


@settings(max_examples=40, deadline=None)
@given(
    pieces=st.lists(st.sampled_from(["q", "key", "sub", "add", "mul", "far"]), min_size=2, max_size=6),
    batch=st.integers(1, 3),
    bias=st.booleans(),
)
def test_any_mixture_of_pieces_keeps_its_value(pieces, batch, bias):
    check(*attention(tuple(pieces), batch, bias))


def test_unrelated_pieces_and_observed_concatenations_stay():
    for graph, _ in (attention(("key", "mul")), attention(("q", "key"), outputs=("y", "rows"))):
        after = shrink_concatenations(graph, evaluate)
        assert [n.name for n in after.nodes] == [n.name for n in graph.nodes]
