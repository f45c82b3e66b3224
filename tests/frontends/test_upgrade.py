"""Nodes of old operator sets, upgraded, against ONNX Runtime running the file as it is."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_oracle import OPSET, TYPES, run_graph, run_proto

from walle_core.errors import UnsupportedError
from walle_core.frontends.onnx import NEWEST, load, load_bytes
from walle_core.frontends.onnx.attributes import _BY_KIND, ATTRIBUTE_KINDS
from walle_core.frontends.onnx.upgrade import ALWAYS, RULES

RNG = np.random.default_rng(0)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def make(op, opset, inputs, attrs, outputs=1, constants=(), shapes=True):
    """A model of one node; inputs at the indices in `constants` are initializers."""
    names = [f"i{k}" if v is not None else "" for k, v in enumerate(inputs)]
    outs = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(op, names, outs, name="n", **attrs)
    infos = [
        helper.make_tensor_value_info(n, TYPES[v.dtype.name], v.shape if shapes else [None] * v.ndim)
        for k, (n, v) in enumerate(zip(names, inputs, strict=True)) if n and k not in constants
    ]  # fmt: skip
    initializers = [numpy_helper.from_array(inputs[k], names[k]) for k in constants]
    results = [helper.make_tensor_value_info(o, TensorProto.UNDEFINED, None) for o in outs]
    for r in results:
        r.ClearField("type")
    graph = helper.make_graph([node], "g", infos, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 4 if opset < 13 else 8
    feeds = {n: v for k, (n, v) in enumerate(zip(names, inputs, strict=True)) if n and k not in constants}
    return model, feeds


I64 = np.int64
CASES = [
    ("Squeeze", 11, [f(1, 3, 1)], {"axes": [0]}, {}),
    ("Squeeze", 11, [f(1, 3, 1)], {}, {}),
    ("Squeeze", 7, [f(1, 3, 1)], {"axes": [0, 2]}, {}),
    ("Unsqueeze", 11, [f(3, 4)], {"axes": [0, -1]}, {}),
    ("Unsqueeze", 7, [f(3, 4)], {"axes": [1]}, {}),
    ("ReduceSum", 11, [f(2, 3, 4)], {"axes": [1], "keepdims": 0}, {}),
    ("ReduceSum", 7, [f(2, 3, 4)], {}, {}),
    ("ReduceMean", 13, [f(2, 3, 4)], {"axes": [0, 2]}, {}),
    ("ReduceMax", 11, [f(2, 3, 4)], {"axes": [-1]}, {}),
    ("ReduceMin", 13, [f(2, 3, 4)], {"axes": [1]}, {}),
    ("ReduceProd", 11, [f(2, 3, 4)], {"axes": [1]}, {}),
    ("ReduceL1", 13, [f(2, 3, 4)], {"axes": [1]}, {}),
    ("ReduceL2", 11, [f(2, 3, 4)], {"axes": [2]}, {}),
    ("ReduceLogSumExp", 13, [f(2, 3, 4)], {"axes": [2]}, {}),
    ("ReduceLogSum", 13, [np.abs(f(2, 3, 4))], {"axes": [2]}, {}),
    ("ReduceSumSquare", 13, [f(2, 3, 4)], {"axes": [2]}, {}),
    ("Slice", 9, [f(5, 6, 7)], {"starts": [1, -3], "ends": [3, 1000], "axes": [0, 2]}, {}),
    ("Slice", 7, [f(5, 6)], {"starts": [1, 0], "ends": [-1, 4]}, {}),
    ("Pad", 10, [f(2, 3)], {"pads": [1, 0, 2, 1]}, {}),
    ("Pad", 7, [f(2, 3)], {"pads": [1, 0, 2, 1], "value": 1.5}, {}),
    ("Pad", 10, [f(4, 4)], {"pads": [1, 1, 1, 1], "mode": "reflect"}, {}),
    ("Clip", 7, [f(3, 4)], {"min": -0.5, "max": 0.5}, {}),
    ("Clip", 10, [f(3, 4)], {"max": 0.25}, {}),
    ("Clip", 6, [f(3, 4)], {"min": 0.0}, {}),
    ("Clip", 12, [f(3, 4), None, np.float32(0.25)], {}, {}),
    ("Dropout", 7, [f(3, 4)], {"ratio": 0.3}, {}),
    ("Dropout", 10, [f(3, 4)], {"ratio": 0.3}, {}),
    ("Dropout", 12, [f(3, 4)], {}, {}),
    ("TopK", 9, [f(3, 8)], {"k": 3}, {"outputs": 2}),
    ("TopK", 10, [f(3, 8), np.array([2], I64)], {"axis": 0}, {"outputs": 2}),
    ("Split", 11, [f(6, 4)], {"split": [1, 2, 3]}, {"outputs": 3}),
    ("Split", 7, [f(6, 4)], {"axis": 1}, {"outputs": 2}),
    ("Split", 13, [f(6, 4)], {"axis": 0}, {"outputs": 3}),
    ("Split", 13, [f(6, 4), np.array([2, 4], I64)], {"axis": 0}, {"outputs": 2}),
    ("Softmax", 11, [f(2, 3, 4)], {}, {}),
    ("Softmax", 7, [f(2, 3, 4)], {"axis": 0}, {}),
    ("Softmax", 12, [f(2, 3, 4)], {"axis": -1}, {}),
    ("Softmax", 12, [f(2, 3, 4)], {"axis": -2}, {}),
    ("Softmax", 11, [f(2, 5)], {}, {}),
    ("LogSoftmax", 11, [f(2, 3, 4)], {"axis": 1}, {}),
    ("Hardmax", 11, [f(2, 3, 4)], {"axis": 1}, {}),
    ("Hardmax", 12, [f(2, 3, 4)], {"axis": 2}, {}),
    ("BatchNormalization", 7, [f(2, 3, 4, 4), f(3), f(3), f(3), np.abs(f(3))], {"epsilon": 1e-3}, {}),
    ("BatchNormalization", 9, [f(2, 3, 4), f(3), f(3), f(3), np.abs(f(3))], {}, {}),
    ("BatchNormalization", 13, [f(2, 3), f(3), f(3), f(3), np.abs(f(3))], {}, {}),
    ("Gemm", 7, [f(3, 4), f(4, 5), f(5)], {"alpha": 0.5, "beta": 2.0}, {}),
    ("Gemm", 9, [f(3, 4), f(5, 4), f(3, 1)], {"transB": 1}, {}),
    ("Upsample", 7, [f(1, 2, 3, 4)], {"scales": [1.0, 1.0, 2.0, 3.0]}, {}),
    ("Upsample", 7, [f(1, 2, 3, 4)], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}, {}),
    ("Upsample", 9, [f(1, 2, 3, 4), np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}, {}),
    ("Resize", 10, [f(1, 2, 3, 4), np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}, {}),
    ("Resize", 10, [f(1, 2, 6, 5), np.array([1, 1, 0.6, 0.6], np.float32)], {"mode": "nearest"}, {"constants": (1,)}),
    ("Resize", 10, [f(1, 2, 3, 4), np.array([1, 1, 2, 1.5], np.float32)], {"mode": "linear"}, {}),
    ("Resize", 11, [f(1, 2, 3, 4), np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32)],
     {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, {"constants": (1,)}),
    ("Resize", 11, [f(1, 2, 3, 4), np.zeros(0, np.float32), np.zeros(0, np.float32), np.array([1, 2, 5, 6], I64)],
     {"mode": "cubic"}, {"constants": (1, 2, 3)}),
    ("Scatter", 9, [f(3, 3), np.array([[0, 1, 2]], I64), f(1, 3)], {"axis": 0}, {}),
    ("GridSample", 16, [f(1, 1, 4, 4), f(1, 3, 3, 2) * 0.3], {"mode": "bilinear"}, {}),
    ("RoiAlign", 10, [f(1, 2, 8, 8), np.array([[0, 0, 6, 6]], np.float32), np.array([0], I64)],
     {"output_height": 3, "output_width": 3, "sampling_ratio": 2}, {}),
    ("DFT", 17, [f(1, 8, 4, 1)], {"axis": 1}, {}),
    ("DFT", 17, [f(1, 8, 4, 1)], {"axis": 2, "onesided": 1}, {}),
    ("LSTM", 7, [f(3, 1, 2), f(1, 8, 2), f(1, 8, 2)], {"hidden_size": 2}, {"outputs": 3}),
    ("GRU", 7, [f(3, 1, 2), f(1, 6, 2), f(1, 6, 2)], {"hidden_size": 2, "linear_before_reset": 1}, {"outputs": 2}),
    ("ArgMax", 7, [f(3, 4)], {"axis": 1}, {}),
    ("MaxPool", 7, [f(1, 2, 6, 6)], {"kernel_shape": [2, 2], "strides": [2, 2]}, {}),
    ("AveragePool", 7, [f(1, 2, 6, 6)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {}),
    ("Conv", 7, [f(1, 2, 6, 6), f(3, 2, 3, 3)], {"kernel_shape": [3, 3]}, {}),
    ("Flatten", 7, [f(2, 3, 4)], {"axis": 2}, {}),
    ("Gather", 7, [f(3, 4), np.array([2, 0], I64)], {"axis": 1}, {}),
    ("Sum", 8, [f(3, 4), f(4), f(3, 1)], {}, {}),
    ("Max", 8, [f(3, 4), f(4)], {}, {}),
    ("Mean", 8, [f(3, 4), f(4)], {}, {}),
    ("PRelu", 7, [f(2, 3, 4), f(3, 1)], {}, {}),
    ("Cast", 9, [f(3) * 5], {"to": TensorProto.INT32}, {}),
    ("Selu", 7, [f(9)], {}, {}),
    ("DepthToSpace", 10, [f(1, 8, 2, 2)], {"blocksize": 2}, {}),
    ("ConstantOfShape", 9, [np.array([2, 3], I64)],
     {"value": numpy_helper.from_array(np.array([7], np.float32))}, {}),
    ("QuantizeLinear", 10, [f(3, 4), np.float32(0.1), np.uint8(128)], {}, {}),
    ("DequantizeLinear", 10, [np.arange(12, dtype=np.uint8), np.float32(0.1), np.uint8(128)], {}, {}),
]  # fmt: skip


def arrays(case):
    op, opset, inputs, attrs, more = case
    return op, opset, [None if v is None else np.asarray(v) for v in inputs], attrs, more


@pytest.mark.parametrize("shapes", [True, False], ids=["shapes", "no-shapes"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def test_upgraded_node_means_the_same(case, shapes):
    op, opset, inputs, attrs, more = arrays(case)
    model, feeds = make(op, max(opset, 7), inputs, attrs, shapes=shapes, **more)
    expected = run_proto(model, feeds)
    model.opset_import[0].version = opset
    graph = load_bytes(model.SerializeToString(), check_operators=False)
    got = run_graph(graph, feeds, 16 if op == "RoiAlign" else OPSET)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_mixed_operator_sets_of_every_version():
    """The newest version of a plain operator passes unchanged from every operator set."""
    for opset in range(7, NEWEST + 1):
        model, _ = make("Relu", opset, [f(3)], {})
        graph = load_bytes(model.SerializeToString(), check_operators=False)
        assert [n.op for n in graph.nodes] == ["Relu"]


def old(op, opset, inputs, attrs, **more):
    """Result of a node of an operator set that ONNX Runtime does not take any more."""
    model, feeds = make(op, opset, [np.asarray(v) for v in inputs], attrs, **more)
    return run_graph(load_bytes(model.SerializeToString(), check_operators=False), feeds)[0]


def test_broadcast_along_an_axis_before_7():
    a, b = f(2, 3, 4), f(3)
    np.testing.assert_allclose(old("Add", 6, [a, b], {"broadcast": 1, "axis": 1}), a + b[:, None])
    np.testing.assert_allclose(old("Mul", 6, [a, f(4) * 0 + 2], {"broadcast": 1}), a * 2)
    np.testing.assert_allclose(old("PRelu", 6, [a, b], {}), np.where(a < 0, a * b[:, None], a))


def test_statistics_per_element():
    x, scale, bias, mean, var = f(2, 3, 4), f(3, 4), f(3, 4), f(3, 4), np.abs(f(3, 4))
    expected = (x - mean) / np.sqrt(var + 1e-5) * scale + bias
    got = old("BatchNormalization", 7, [x, scale, bias, mean, var], {"spatial": 0})
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_oldest_forms():
    x = f(2, 3)
    np.testing.assert_allclose(old("Reshape", 1, [x], {"shape": [3, 2]}), x.reshape(3, 2))
    np.testing.assert_allclose(old("Concat", 1, [x, x], {}), np.concatenate([x, x], 1))
    np.testing.assert_allclose(old("Pad", 1, [x], {"paddings": [0, 1, 0, 1]}), np.pad(x, ((0, 0), (1, 1))))
    np.testing.assert_array_equal(old("Cast", 1, [x * 9], {"to": "INT32"}), (x * 9).astype(np.int32))
    tiled = old("Tile", 1, [x, np.array(2, np.float32), np.array(1, np.float32)], {}, constants=(1, 2))
    np.testing.assert_allclose(tiled, np.tile(x, (1, 2)))
    np.testing.assert_allclose(old("Clip", 10, [x.astype(np.float64)], {"min": 0.0}), np.maximum(x, 0))
    np.testing.assert_allclose(old("Relu", 1, [x], {"consumed_inputs": [0]}), np.maximum(x, 0))


def test_group_normalization_per_group():
    x, scale, bias = f(2, 6, 5), f(3), f(3)
    grouped = x.reshape(2, 3, -1)
    normal = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    expected = (normal * scale[:, None] + bias[:, None]).reshape(x.shape)
    got = old("GroupNormalization", 18, [x, scale, bias], {"num_groups": 3})
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_scan_with_a_batch_dimension():
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x"], ["t"]), helper.make_node("Identity", ["t"], ["y"])], "body",
        [helper.make_tensor_value_info(n, 1, [2]) for n in "sx"], [helper.make_tensor_value_info(n, 1, [2]) for n in "ty"],
    )  # fmt: skip
    start, sequence = f(3, 2), f(3, 5, 2)
    model, feeds = make("Scan", 8, [None, start, sequence], {"body": body, "num_scan_inputs": 1}, outputs=2)
    final, scanned = run_graph(load_bytes(model.SerializeToString(), check_operators=False), feeds)
    np.testing.assert_allclose(final, start + sequence.sum(1), rtol=1e-5)
    np.testing.assert_allclose(scanned, start[:, None] + sequence.cumsum(1), rtol=1e-5)


@pytest.mark.parametrize(
    ("op", "opset", "inputs", "attrs"),
    [
        ("Add", 6, [f(2, 3), f(2)], {"axis": 0, "broadcast": 1}),
        ("Tile", 5, [f(2, 3), f(1), f(1)], {}),
        ("Cast", 5, [f(2)], {"to": "COLOUR"}),
    ],
)
def test_what_cannot_be_upgraded_says_why(op, opset, inputs, attrs):
    model, _ = make(op, opset, inputs, attrs)
    for value in model.graph.input:
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedError, match=f"'n'.*operator set {opset}"):
        load_bytes(model.SerializeToString(), check_operators=False)


def test_newest_operator_set_is_that_of_onnx():
    assert onnx.defs.onnx_opset_version() == NEWEST


def test_rules_name_versions_that_exist():
    versions = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            versions.setdefault(schema.name, set()).add(schema.since_version)
    for op, rows in RULES.items():
        assert all(until == ALWAYS or until in versions[op] or until == 10 for until, _ in rows), op
        assert [u for u, _ in rows] == sorted(u for u, _ in rows)


def test_attribute_types_are_those_of_onnx():
    letters = {
        "FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "GRAPH": "g", "SPARSE_TENSOR": "x", "TYPE_PROTO": "y", "FLOATS": "F", "INTS": "I",
        "STRINGS": "S", "TENSORS": "T", "GRAPHS": "G",
    }  # fmt: skip
    kinds = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain in ("", "ai.onnx.ml"):
            for name, attribute in schema.attributes.items():
                kinds.setdefault(name, set()).add(letters[attribute.type.name])
    missing = {n: "".join(sorted(k)) for n, k in kinds.items() if n not in ATTRIBUTE_KINDS}
    wrong = {n for n, k in kinds.items() if n in ATTRIBUTE_KINDS and not k <= set(ATTRIBUTE_KINDS[n])}
    assert not missing, missing
    assert not wrong, wrong
    assert sum(len(names.split()) for names in _BY_KIND.values()) == len(ATTRIBUTE_KINDS)


def packaged_models():
    """Models of operator sets 6 to 12 with their results, from the onnx package."""
    from onnx.backend.test.loader import load_model_tests

    cases = [
        c for kind in ("simple", "pytorch-operator", "pytorch-converted") for c in load_model_tests(kind=kind)
    ]
    # ONNX Runtime has no Gradient, and a locale that the machine may lack decides what StringNormalizer does
    return [c for c in cases if not c.name.startswith(("test_gradient", "test_strnorm"))]


@pytest.mark.parametrize("case", packaged_models(), ids=lambda c: c.name)
def test_old_models_of_the_onnx_package(case):
    folder = Path(case.model_dir)
    graph = load(folder / "model.onnx", check_operators=False)
    data = folder / "test_data_set_0"

    def tensor(name):
        return numpy_helper.to_array(onnx.load_tensor(data / f"{name}.pb"))

    made = run_graph(graph, {name: tensor(f"input_{i}") for i, name in enumerate(graph.inputs)})
    for i, value in enumerate(made):
        np.testing.assert_allclose(value, tensor(f"output_{i}"), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings(
    "ignore::RuntimeWarning"
)  # the package computes its examples while it is asked for them
def test_all_node_tests_of_the_onnx_package_load():
    from onnx.backend.test.loader import load_model_tests

    cases = load_model_tests(kind="node")
    assert len(cases) > 1500
    for case in cases:
        graph = load_bytes(case.model.SerializeToString(), check_operators=False)
        assert graph.outputs == tuple(o.name for o in case.model.graph.output)
