"""A small ONNX model that takes every way through load, fold, search and run, with its input and expected output."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SHAPE = (1, 8, 12, 12)


def _weights(rng):
    shapes = {
        "w0": (16, 8, 3, 3),
        "b0": (16,),
        "w1": (16, 1, 3, 3),
        "w2": (16, 16, 1, 1),
        "w3": (576, 24),
        "b3": (24,),
    }
    made = {
        n: (rng.standard_normal(s) / np.sqrt(np.prod(s[1:]) or 1)).astype(np.float32)
        for n, s in shapes.items()
    }
    made |= {n: rng.random(16).astype(np.float32) + 0.5 for n in ("scale", "shift", "mean", "var")}
    return made | {"shape": np.array([1, -1], np.int64), "order": np.array([0, 2], np.int64)}


def make_model():
    """Convolution, normalisation, depthwise, pooling, shape arithmetic, matrix product, erf and softmax."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c0", "scale", "shift", "mean", "var"], ["n0"]),
        node("Relu", ["n0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["c1"], pads=[1, 1, 1, 1], group=16),
        node("Conv", ["c1", "w2"], ["c2"]),
        node("Add", ["c2", "r0"], ["a0"]),
        node("MaxPool", ["a0"], ["p0"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", ["p0"], ["t0"], perm=[0, 2, 3, 1]),
        node("Reshape", ["t0", "shape"], ["f0"]),
        node("Gemm", ["f0", "w3", "b3"], ["g0"]),
        node("Erf", ["g0"], ["e0"]),
        node("ReduceSum", ["e0"], ["s0"], keepdims=1),
        node("Sub", ["e0", "s0"], ["d0"]),
        node("Softmax", ["d0"], ["y"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(v, n) for n, v in _weights(np.random.default_rng(7)).items() if n != "order"
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 24])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(folder):
    """Writes model.onnx, input.bin and expected.bin (float32, by the onnx package); returns their paths."""
    model = make_model()
    x = np.random.default_rng(8).standard_normal(SHAPE).astype(np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    paths = {
        "model": folder / "model.onnx",
        "input": folder / "input.bin",
        "expected": folder / "expected.bin",
    }
    paths["model"].write_bytes(model.SerializeToString())
    x.tofile(paths["input"])
    np.asarray(expected, np.float32).tofile(paths["expected"])
    return paths
