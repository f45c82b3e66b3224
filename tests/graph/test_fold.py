"""Constant folding keeps the meaning and removes what is known; judged by ONNX Runtime and by what remains."""

import sys
from pathlib import Path

import numpy as np
import pytest

from walle_core._native import Tensor
from walle_core.errors import BackendError, ShapeError
from walle_core.evaluate import evaluate
from walle_core.graph.builder import Builder
from walle_core.graph.fold import fold
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer
from walle_core.types import TensorSpec, float32

sys.path.insert(0, str(Path(__file__).parents[1] / "frontends"))
from onnx_oracle import run_graph


def folded(graph, **options):
    return fold(infer(graph), evaluate, **options)


def plain(nodes, shape=(2, 3), outputs=("y",), constants=None):
    return Graph(("x",), outputs, tuple(nodes), constants or {}, {"x": TensorSpec(float32, shape)})


def test_shape_chains_vanish():
    g = Builder()
    x = g.input("x", "float32", (2, 3, 4))
    batch = g.Gather(g.Shape(x), g.const([0], "int64"), axis=0)
    y = g.Reshape(x, g.Concat(batch, g.const([-1], "int64"), axis=0))
    graph = folded(g.graph([y]))
    assert [n.op for n in graph.nodes] == ["Reshape"]
    assert graph.constants[graph.nodes[0].inputs[1]].tolist() == [2, -1]
    assert graph.specs[y].sizes == (2, 12)
    feed = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(run_graph(graph, {"x": feed})[0], feed.reshape(2, 12))


def test_arithmetic_of_constants():
    g = Builder()
    x = g.input("x", "float32", (2,))
    y = g.Mul(x, g.Exp(g.Add(g.const([1.0, 2.0]), g.const(0.5))))
    graph = folded(g.graph([y]))
    assert [n.op for n in graph.nodes] == ["Mul"]
    np.testing.assert_allclose(
        np.asarray(graph.constants[graph.nodes[0].inputs[1]]), np.exp([1.5, 2.5]), rtol=1e-6
    )
    assert len(graph.constants) == 1


def test_known_outputs_become_constants():
    graph = folded(plain([Node("Shape", ("x",), ("y",), {}, "s")]))
    assert graph.nodes == ()
    assert graph.constants["y"].tolist() == [2, 3]
    assert graph.inputs == ("x",)


@pytest.mark.parametrize(
    ("attrs", "shape", "expected"),
    [({}, (2, 3), [2, 3]), ({"start": 1}, ("n", 3), [3]), ({"end": -1}, (2, "n"), [2]), ({"start": -1, "end": 9}, ("n", 4), [4]),
     ({"start": 2}, ("n", 4), [])],
)  # fmt: skip
def test_shape_of_what_is_known(attrs, shape, expected):
    assert (
        folded(plain([Node("Shape", ("x",), ("y",), attrs, "s")], shape)).constants["y"].tolist() == expected
    )


def test_shape_of_what_is_not_known_stays():
    assert [n.op for n in folded(plain([Node("Shape", ("x",), ("y",), {}, "s")], ("n", 3))).nodes] == [
        "Shape"
    ]


def test_identity_and_dropout_vanish():
    nodes = [Node("Identity", ("x",), ("a",), {}, "i"), Node("Dropout", ("a", "ratio"), ("b", ""), {}, "d"),
             Node("Identity", ("b",), ("c",), {}, "j"), Node("Neg", ("c",), ("y",), {}, "n")]  # fmt: skip
    graph = folded(plain(nodes, constants={"ratio": Tensor.of(0.5)}))
    assert [(n.op, n.inputs) for n in graph.nodes] == [("Neg", ("x",))]


def test_identity_that_is_an_output_stays():
    nodes = [Node("Identity", ("x",), ("y",), {}, "i"), Node("Neg", ("y",), ("z",), {}, "n")]
    graph = folded(plain(nodes, outputs=("y", "z")))
    assert [n.op for n in graph.nodes] == ["Identity", "Neg"]


@pytest.mark.parametrize(
    "node",
    [
        Node("Dropout", ("x", "ratio", "on"), ("y",), {}, "d"),
        Node("Dropout", ("x", "ratio"), ("t", "y"), {}, "d"),
    ],
    ids=["training", "mask is read"],
)
def test_dropout_that_does_something_stays(node):
    graph = folded(plain([node], constants={"ratio": Tensor.of(0.5), "on": Tensor.of(True, "bool")}))
    assert [n.op for n in graph.nodes] == ["Dropout"]


def test_values_read_by_subgraphs_keep_their_names():
    branch = Graph((), ("r",), (Node("Neg", ("a",), ("r",), {}, "n"),))
    nodes = [Node("Identity", ("x",), ("a",), {}, "i"),
             Node("If", ("flag",), ("y",), {"then_branch": branch, "else_branch": branch}, "if")]  # fmt: skip
    graph = folded(plain(nodes).evolve(inputs=("x", "flag")))
    assert [n.op for n in graph.nodes] == ["Identity", "If"]
    shape = [Node("Shape", ("x",), ("a",), {}, "i"), nodes[1]]
    graph = folded(plain(shape).evolve(inputs=("x", "flag")))
    assert [n.op for n in graph.nodes] == ["If"]
    assert graph.constants["a"].tolist() == [2, 3]


def test_large_results_are_not_stored():
    nodes = [Node("Expand", ("one", "to"), ("t",), {}, "e"), Node("Add", ("t", "x"), ("y",), {}, "a")]
    constants = {"one": Tensor.of([1.0]), "to": Tensor.of([1000], "int64")}
    graph = folded(plain(nodes, (1000,), constants=constants), limit=3999)
    assert [n.op for n in graph.nodes] == ["Expand", "Add"]
    graph = folded(plain(nodes, (1000,), constants=constants), limit=4000)
    assert [n.op for n in graph.nodes] == ["Add"]


def test_a_result_smaller_than_its_inputs_is_stored():
    nodes = [Node("Neg", ("c",), ("t",), {}, "n"), Node("Add", ("t", "x"), ("y",), {}, "a")]
    graph = folded(plain(nodes, (1000,), constants={"c": Tensor([1000], "float32")}), limit=1)
    assert [n.op for n in graph.nodes] == ["Add"]


def test_kept_nodes():
    nodes = [Node("Neg", ("c",), ("t",), {}, "n"), Node("Add", ("t", "x"), ("y",), {}, "a")]
    graph = folded(plain(nodes, constants={"c": Tensor.of([1.0])}), keep=lambda n: n.op == "Neg")
    assert [n.op for n in graph.nodes] == ["Neg", "Add"]


def test_cast_like_needs_only_a_type():
    nodes = [Node("CastLike", ("c", "x"), ("t",), {}, "n"), Node("Add", ("t", "x"), ("y",), {}, "a")]
    graph = folded(plain(nodes, constants={"c": Tensor.of([1], "int64")}))
    assert [n.op for n in graph.nodes] == ["Add"]
    assert graph.constants["t"].dtype == "float32"


def test_a_node_that_cannot_be_computed_is_left_to_the_run():
    def fails(node, inputs):
        raise BackendError("no")

    nodes = [Node("Neg", ("c",), ("t",), {}, "n"), Node("Add", ("t", "x"), ("y",), {}, "a")]
    graph = plain(nodes, constants={"c": Tensor.of([1.0])})
    for evaluator in (fails, lambda *_: None):
        assert [n.op for n in fold(infer(graph), evaluator).nodes] == ["Neg", "Add"]


def test_operands_that_do_not_fit_are_reported():
    with pytest.raises(ShapeError, match="'a'"):
        folded(plain([Node("Add", ("x", "c"), ("y",), {}, "a")], constants={"c": Tensor.of([1.0] * 7)}))


def test_unused_nodes_and_constants_go():
    nodes = [Node("Neg", ("x",), ("y",), {}, "n"), Node("Exp", ("x",), ("z",), {}, "e")]
    graph = folded(plain(nodes, constants={"w": Tensor.of([1.0])}))
    assert [n.op for n in graph.nodes] == ["Neg"]
    assert not graph.constants
