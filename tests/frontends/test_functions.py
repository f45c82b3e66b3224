"""Model-local functions are inlined with attributes bound, names kept apart, and bombs defused."""

import numpy as np
import pytest
from onnx import AttributeProto, TensorProto, helper
from onnx_oracle import run_graph

from walle_core.errors import ModelError
from walle_core.frontends.onnx import Limits, load_bytes

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]


def reference(node, attribute, to, kind):
    node.attribute.append(AttributeProto(name=attribute, ref_attr_name=to, type=kind))
    return node


def model(functions, nodes, inputs=(X,)):
    graph = helper.make_graph(nodes, "g", list(inputs), [Y])
    return helper.make_model(graph, functions=functions, opset_imports=OPSETS).SerializeToString()


def load(*args, **kwargs):
    return load_bytes(model(*args), check_operators=False, **kwargs)


def leaky(name="act", defaults=()):
    node = reference(helper.make_node("LeakyRelu", ["a"], ["t"]), "alpha", "slope", AttributeProto.FLOAT)
    body = [node, helper.make_node("Neg", ["t"], ["b"])]
    return helper.make_function(
        "my", name, ["a"], ["b"], body, OPSETS, [] if defaults else ["slope"], defaults
    )


def expected(x, slope):
    return -np.where(x < 0, x * slope, x)


FEED = np.array([-2, -1, 1, 2], np.float32)


def test_attributes_are_bound():
    graph = load([leaky()], [helper.make_node("act", ["x"], ["y"], domain="my", slope=0.5)])
    assert [n.op for n in graph.nodes] == ["LeakyRelu", "Neg"]
    np.testing.assert_allclose(run_graph(graph, {"x": FEED})[0], expected(FEED, 0.5))


def test_attribute_defaults_and_absent_attributes():
    with_default = leaky(defaults=[helper.make_attribute("slope", 0.25)])
    call = helper.make_node("act", ["x"], ["y"], domain="my")
    np.testing.assert_allclose(run_graph(load([with_default], [call]), {"x": FEED})[0], expected(FEED, 0.25))
    np.testing.assert_allclose(
        run_graph(load([leaky()], [call]), {"x": FEED})[0], expected(FEED, 0.01), rtol=1e-6
    )


def test_calls_do_not_mix_names():
    calls = [helper.make_node("act", ["x"], ["t"], domain="my", slope=0.5),
             helper.make_node("act", ["t"], ["y"], domain="my", slope=0.1)]  # fmt: skip
    graph = load([leaky()], calls)
    np.testing.assert_allclose(
        run_graph(graph, {"x": FEED})[0], expected(expected(FEED, 0.5), 0.1), rtol=1e-6
    )
    assert len({n.name for n in graph.nodes}) == 4


def test_functions_call_functions_and_use_their_own_operator_set():
    inner = helper.make_function("my", "inner", ["a"], ["b"], [helper.make_node("Unsqueeze", ["a"], ["b"], axes=[0])],
                                 [helper.make_opsetid("", 11)])  # fmt: skip
    outer = helper.make_function(
        "my", "outer", ["a"], ["b"], [helper.make_node("inner", ["a"], ["b"], domain="my")], OPSETS
    )
    graph = load([outer, inner], [helper.make_node("outer", ["x"], ["y"], domain="my")])
    assert run_graph(graph, {"x": FEED})[0].shape == (1, 4)


def test_absent_inputs_and_passed_through_outputs():
    body = [helper.make_node("Clip", ["a", "lo", "hi"], ["b"])]
    clip = helper.make_function("my", "clip", ["a", "lo", "hi"], ["b", "a"], body, OPSETS)
    nodes = [helper.make_node("Constant", [], ["zero"], value_float=0.0),
             helper.make_node("clip", ["x", "zero"], ["c", "same"], domain="my"),
             helper.make_node("Add", ["c", "same"], ["y"])]  # fmt: skip
    np.testing.assert_allclose(run_graph(load([clip], nodes), {"x": FEED})[0], np.maximum(FEED, 0) + FEED)


def test_subgraphs_in_functions_read_the_function():
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["t", "a"], ["r"])], op, [], [helper.make_tensor_value_info("r", 1, None)]
        )
        for op in ("Add", "Mul")
    ]
    body = [helper.make_node("Neg", ["a"], ["t"]),
            helper.make_node("If", ["c"], ["b"], then_branch=branches[0], else_branch=branches[1])]  # fmt: skip
    choose = helper.make_function("my", "choose", ["c", "a"], ["b"], body, OPSETS)
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    graph = load([choose], [helper.make_node("choose", ["flag", "x"], ["y"], domain="my")], [flag, X])
    for value, result in ((True, FEED * 0), (False, -FEED * FEED)):
        np.testing.assert_allclose(run_graph(graph, {"flag": np.array(value), "x": FEED})[0], result)


def test_a_function_replaces_an_operator_of_the_same_name():
    twice = helper.make_function(
        "", "Relu", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], OPSETS
    )
    assert [n.op for n in load([twice], [helper.make_node("Relu", ["x"], ["y"])]).nodes] == ["Add"]


def test_recursion_is_refused():
    loop = helper.make_function(
        "my", "f", ["a"], ["b"], [helper.make_node("f", ["a"], ["b"], domain="my")], OPSETS
    )
    with pytest.raises(ModelError, match="call each other deeper than 32"):
        load([loop], [helper.make_node("f", ["x"], ["y"], domain="my")])


def test_exponential_growth_is_refused():
    functions = [
        helper.make_function("my", f"f{i}", ["a"], ["b"],
                             [helper.make_node(f"f{i + 1}", ["a"], ["t"], domain="my"),
                              helper.make_node(f"f{i + 1}", ["t"], ["b"], domain="my")], OPSETS)
        for i in range(30)
    ]  # fmt: skip
    functions.append(
        helper.make_function("my", "f30", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], OPSETS)
    )
    with pytest.raises(ModelError, match="more than 1000 nodes"):
        load(functions, [helper.make_node("f0", ["x"], ["y"], domain="my")], limits=Limits(max_nodes=1000))
    with pytest.raises(ModelError, match="take more than 10000 bytes"):
        load(
            functions,
            [helper.make_node("f0", ["x"], ["y"], domain="my")],
            limits=Limits(max_inlined_bytes=10000),
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (helper.make_node("act", ["x", "x"], ["y"], domain="my"), "more inputs or outputs"),
        (reference(helper.make_node("LeakyRelu", ["x"], ["y"]), "alpha", "slope", 1), "outside a function"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(ModelError, match=message):
        load([leaky()], [call])


def test_duplicate_functions():
    with pytest.raises(ModelError, match="'act' is defined twice"):
        load([leaky(), leaky()], [helper.make_node("act", ["x"], ["y"], domain="my")])
