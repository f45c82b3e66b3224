"""Small models that between them use every part of the file format; the seeds of the fuzzer."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def arithmetic():
    """Initializers in raw and typed fields, value infos, an input with a default."""
    w = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "w")
    b = helper.make_tensor("b", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    h = helper.make_tensor("h", TensorProto.FLOAT16, [1], np.array([1], np.float16))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"], name="mm"), helper.make_node("Add", ["t", "b"], ["u"]),
             helper.make_node("Relu", ["u"], ["y"])]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [info("x", ["n", 3]), info("b", [4])], [info("y", ["n", 4])], [w, b, h],
                              value_info=[info("t", ["n", 4])])  # fmt: skip
    model = helper.make_model(graph, opset_imports=OPSETS[:1])
    helper.set_model_props(model, {"key": "value"})
    return model


def attributes():
    """Attributes of every kind, constants of every kind, old forms that are upgraded."""
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([2.0], np.float32), "s"),
        numpy_helper.from_array(np.array([1], np.int64)),
        [3],
    )
    nodes = [
        helper.make_node("Constant", [], ["c0"], value_floats=[1.0, 2.0]),
        helper.make_node("Constant", [], ["c1"], value_ints=[1, -2]),
        helper.make_node("Constant", [], ["c2"], value_string="text"),
        helper.make_node("Constant", [], ["c3"], value_strings=["a", "b"]),
        helper.make_node("Constant", [], ["c4"], sparse_value=sparse),
        helper.make_node("Constant", [], ["c5"], value=numpy_helper.from_array(np.array([3], np.int64))),
        helper.make_node("Softmax", ["x"], ["t"], axis=1),
        helper.make_node("Unsqueeze", ["t"], ["u"], axes=[0]),
        helper.make_node("Clip", ["u", "", "hi"], ["v"]),
        helper.make_node("Split", ["v"], ["p", "q"], axis=1, split=[1, 1]),
        helper.make_node("LeakyRelu", ["p"], ["y"], alpha=0.1),
    ]
    hi = numpy_helper.from_array(np.array(0.5, np.float32), "hi")
    graph = helper.make_graph(nodes, "g", [info("x", [2, 3])], [info("y", None)], [hi])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])


def control():
    """If and Loop with subgraphs that read the outer scope."""
    branches = [
        helper.make_graph([helper.make_node(op, ["x", "w"], [f"r{op}"])], op, [], [info(f"r{op}", [3])])
        for op in ("Add", "Mul")
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", ["cond"], ["going"]), helper.make_node("Add", ["acc", "x"], ["more"])], "body",
        [info("i", [], TensorProto.INT64), info("cond", [], TensorProto.BOOL), info("acc", [3])],
        [info("going", [], TensorProto.BOOL), info("more", [3])],
    )  # fmt: skip
    nodes = [helper.make_node("If", ["flag"], ["s"], then_branch=branches[0], else_branch=branches[1]),
             helper.make_node("Loop", ["trips", "", "s"], ["y"], body=body)]  # fmt: skip
    w = numpy_helper.from_array(np.ones(3, np.float32), "w")
    trips = numpy_helper.from_array(np.array(2, np.int64), "trips")
    graph = helper.make_graph(
        nodes, "g", [info("flag", [], TensorProto.BOOL), info("x", [3])], [info("y", [3])], [w, trips]
    )
    return helper.make_model(graph, opset_imports=OPSETS[:1])


def functions():
    """A function with an attribute, called twice, in a function."""
    inner = helper.make_function("my", "inner", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], OPSETS)
    outer = helper.make_function(
        "my", "outer", ["a"], ["b"],
        [helper.make_node("inner", ["a"], ["t"], domain="my"), helper.make_node("inner", ["t"], ["b"], domain="my")], OPSETS,
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("outer", ["x"], ["y"], domain="my")], "g", [info("x", [2])], [info("y", [2])]
    )
    return helper.make_model(graph, opset_imports=OPSETS, functions=[inner, outer])


def sequences():
    """Types that are no tensors, string tensors, packed small integers."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    words = helper.make_tensor("words", TensorProto.STRING, [2], ["a", "b"])
    small = helper.make_tensor("small", TensorProto.INT4, [3], [1, -2, 3])
    nodes = [helper.make_node("SequenceAt", ["s", "at"], ["y"])]
    at = numpy_helper.from_array(np.array(0, np.int64), "at")
    graph = helper.make_graph(
        nodes, "g", [helper.make_value_info("s", kind)], [info("y", [2])], [words, small, at]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


ALL = {f.__name__: f().SerializeToString() for f in (arithmetic, attributes, control, functions, sequences)}
