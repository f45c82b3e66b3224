"""The models that are damaged: ONNX's own node tests, and graphs in which operators meet as they do in real models."""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from walle_core.testing.node_tests import cases

sys.path.append(str(Path(__file__).parents[1] / "frontends"))
MAX_BYTES = 1 << 15  # of a model and of its inputs: small ones are quick and say as much
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def model(nodes, inputs, outputs, opset=17, **constants):
    """Bytes of a model; `inputs` maps names to arrays, `outputs` are names or (name, type)."""
    kinds = {
        "float32": FLOAT,
        "int64": INT64,
        "bool": BOOL,
        "uint8": TensorProto.UINT8,
        "int8": TensorProto.INT8,
    }
    infos = [helper.make_tensor_value_info(n, kinds[v.dtype.name], v.shape) for n, v in inputs.items()]
    made = [
        helper.make_tensor_value_info(n, k, None)
        for n, k in ((o, FLOAT) if isinstance(o, str) else o for o in outputs)
    ]
    held = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", infos, made, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString()


N = helper.make_node
R = np.random.default_rng(0)


def some(*shape):
    """Normal numbers."""
    return R.standard_normal(shape).astype(np.float32)


def ints(*values):
    """An int64 vector."""
    return np.array(values, np.int64)


def image():
    """Convolutions with normalisation, activation, residual, pools of both kinds, and a classifier."""
    x = {"x": some(1, 3, 12, 12)}
    nodes = [
        N("Conv", ["x", "w0", "b0"], ["a"], name="c0", pads=[1, 1, 1, 1], strides=[1, 1], kernel_shape=[3, 3]),
        N("BatchNormalization", ["a", "s", "s", "s", "v"], ["b"], name="bn", epsilon=1e-5),
        N("Relu", ["b"], ["c"], name="r0"),
        N("Conv", ["c", "w1"], ["d"], name="dw", group=8, pads=[1, 1, 1, 1], dilations=[1, 1], kernel_shape=[3, 3]),
        N("Clip", ["d", "lo", "hi"], ["e"], name="relu6"),
        N("Add", ["e", "c"], ["f"], name="res"),
        N("MaxPool", ["f"], ["m"], name="mp", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        N("AveragePool", ["m"], ["n"], name="ap", kernel_shape=[2, 2], pads=[0, 1, 0, 1], count_include_pad=1),
        N("ConvTranspose", ["n", "w2"], ["o"], name="ct", strides=[2, 2], output_padding=[1, 1]),
        N("GlobalAveragePool", ["o"], ["p"], name="gp"), N("Flatten", ["p"], ["q"], name="fl", axis=1),
        N("Gemm", ["q", "w3", "b3"], ["r"], name="fc", transB=1, alpha=1.0, beta=1.0),
        N("Softmax", ["r"], ["y"], name="sm", axis=1),
    ]  # fmt: skip
    held = {"w0": some(8, 3, 3, 3), "b0": some(8), "s": some(8), "v": np.abs(some(8)), "w1": some(8, 1, 3, 3), "w2": some(8, 4, 2, 2),
            "w3": some(5, 4), "b3": some(5), "lo": np.float32(0), "hi": np.float32(6)}  # fmt: skip
    return model(nodes, x, ["y"], **held), x


def attention():
    """Embedding, layer normalisation by hand, multi-head attention by hand, GELU."""
    x = {"ids": ints(1, 5, 3, 0, 2, 7).reshape(1, 6), "mask": some(1, 1, 6, 6)}
    nodes = [
        N("Gather", ["table", "ids"], ["e"], name="embed", axis=0),
        N("ReduceMean", ["e"], ["mean"], name="mean", axes=[-1]), N("Sub", ["e", "mean"], ["c"], name="centre"),
        N("Mul", ["c", "c"], ["cc"], name="sq"), N("ReduceMean", ["cc"], ["var"], name="var", axes=[-1]),
        N("Add", ["var", "eps"], ["ve"], name="ve"), N("Sqrt", ["ve"], ["sd"], name="sd"),
        N("Div", ["c", "sd"], ["n"], name="norm"), N("MatMul", ["n", "wq"], ["q"], name="q"),
        N("Reshape", ["q", "heads"], ["qh"], name="qh"), N("Transpose", ["qh"], ["qt"], name="qt", perm=[0, 2, 1, 3]),
        N("Transpose", ["qh"], ["kt"], name="kt", perm=[0, 2, 3, 1]), N("MatMul", ["qt", "kt"], ["s"], name="score"),
        N("Add", ["s", "mask"], ["sm"], name="masked"), N("Softmax", ["sm"], ["p"], name="p", axis=-1),
        N("MatMul", ["p", "qt"], ["o"], name="o"), N("Transpose", ["o"], ["ot"], name="ot", perm=[0, 2, 1, 3]),
        N("Reshape", ["ot", "flat"], ["of"], name="of"), N("Div", ["of", "root"], ["g0"], name="g0"),
        N("Erf", ["g0"], ["g1"], name="g1"), N("Add", ["g1", "one"], ["g2"], name="g2"), N("Mul", ["of", "g2"], ["g3"], name="g3"),
        N("Mul", ["g3", "half"], ["y"], name="g4"),
    ]  # fmt: skip
    held = {"table": some(9, 8), "eps": np.float32(1e-5), "wq": some(8, 8), "heads": ints(0, -1, 2, 4), "flat": ints(0, 0, -1),
            "root": np.float32(1.41421356), "one": np.float32(1), "half": np.float32(0.5)}  # fmt: skip
    return model(nodes, x, ["y"], **held), x


def detection():
    """Top-k, gathers by index, slices, non-maximum suppression: what data decides."""
    x = {
        "boxes": np.abs(some(1, 10, 4)),
        "scores": np.abs(some(1, 2, 10)),
        "k": ints(3),
        "at": ints(0, -1, 2),
        "p": ints(0, 1),
    }
    nodes = [
        N("TopK", ["scores", "k"], ["v", "i"], name="topk", axis=-1),
        N("NonMaxSuppression", ["boxes", "scores", "max", "iou"], ["sel"], name="nms"),
        N("Gather", ["sel", "two"], ["col"], name="col", axis=1), N("Squeeze", ["col", "axis1"], ["c1"], name="sq"),
        N("Gather", ["boxes", "c1"], ["picked"], name="pick", axis=1), N("Gather", ["boxes", "at"], ["more"], name="more", axis=1),
        N("GatherElements", ["scores", "i"], ["ge"], name="ge", axis=-1), N("GatherND", ["boxes", "p2"], ["gnd"], name="gnd"),
        N("Slice", ["boxes", "p", "far", "p"], ["sl"], name="slice"),
        N("ScatterElements", ["scores", "i", "v"], ["se"], name="se", axis=-1),
        N("Unsqueeze", ["p", "axis0"], ["p2"], name="un"), N("ScatterND", ["boxes", "p2", "row"], ["snd"], name="snd"),
        N("OneHot", ["at", "k", "onoff"], ["oh"], name="oh"), N("Tile", ["more", "rep"], ["tile"], name="tile"),
    ]  # fmt: skip
    held = {"max": ints(2), "iou": np.array([0.5], np.float32), "two": ints(2), "axis1": ints(1), "axis0": ints(0), "far": ints(9, 2**62),
            "row": some(1, 4), "onoff": np.array([0, 1], np.float32), "rep": ints(1, 2, 1)}  # fmt: skip
    order = [*nodes[:7], nodes[10], *nodes[7:10], *nodes[11:]]
    return model(
        order, x, ["v", ("i", INT64), "picked", "more", "ge", "gnd", "sl", "se", "snd", "oh", "tile"], **held
    ), x


def shapes():
    """Shape arithmetic, resize, pad, concat, split, expand, range."""
    x = {"x": some(2, 3, 4, 4), "n": np.array(3, np.int64)}
    nodes = [
        N("Shape", ["x"], ["s"], name="shape"), N("Slice", ["s", "i2", "i4"], ["hw"], name="hw"), N("Mul", ["hw", "i2"], ["hw2"], name="dbl"),
        N("Concat", ["i23", "hw2"], ["sizes"], name="cat", axis=0),
        N("Resize", ["x", "", "", "sizes"], ["r"], name="resize", mode="linear", coordinate_transformation_mode="half_pixel"),
        N("Pad", ["r", "pads", "fill"], ["p"], name="pad", mode="reflect"), N("Split", ["p", "parts"], ["a", "b"], name="split", axis=1),
        N("Concat", ["b", "a"], ["ba"], name="swap", axis=1), N("Reshape", ["ba", "to"], ["re"], name="re", allowzero=0),
        N("Expand", ["row", "ex"], ["big"], name="ex"), N("DepthToSpace", ["d4"], ["ds"], name="ds", blocksize=2, mode="CRD"),
        N("Range", ["zero", "n", "one"], ["ra"], name="range"), N("ConstantOfShape", ["ex"], ["cs"], name="cs"),
        N("CumSum", ["re", "zero0"], ["cum"], name="cum"), N("Trilu", ["re"], ["tri"], name="tri", upper=0),
        N("ReduceSum", ["cum", "axes"], ["sum"], name="sum", keepdims=0), N("ArgMax", ["re"], ["am"], name="am", axis=1),
    ]  # fmt: skip
    held = {"i2": ints(2), "i4": ints(4), "i23": ints(2, 3), "pads": ints(0, 0, 1, 1, 0, 0, 1, 1), "fill": np.float32(1), "parts": ints(1, 2),
            "to": ints(6, -1), "row": some(1, 3), "ex": ints(2, 4, 3), "d4": some(1, 4, 2, 2), "zero": np.array(0, np.int64),
            "one": np.array(1, np.int64), "zero0": np.array(0, np.int32), "axes": ints(-1)}  # fmt: skip
    return model(nodes, x, ["big", "ds", ("ra", INT64), "cs", "tri", "sum", ("am", INT64)], **held), x


def quantised():
    """Convolution and matrix product between quantisation and dequantisation."""
    x = {"x": some(1, 2, 5, 5)}
    nodes = [
        N("QuantizeLinear", ["x", "s", "z"], ["xq"], name="q"), N("DequantizeLinear", ["xq", "s", "z"], ["xd"], name="dq"),
        N("DequantizeLinear", ["w", "sw", "zw"], ["wd"], name="dw", axis=0), N("Conv", ["xd", "wd"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        N("QuantizeLinear", ["c", "s", "z"], ["cq"], name="q2"), N("DequantizeLinear", ["cq", "s", "z"], ["cd"], name="dq2"),
        N("Flatten", ["cd"], ["f"], name="flat"), N("DynamicQuantizeLinear", ["f"], ["fq", "fs", "fz"], name="dyn"),
        N("MatMulInteger", ["fq", "m", "fz", "mz"], ["mi"], name="mi"), N("Cast", ["mi"], ["y"], name="cast", to=1),
    ]  # fmt: skip
    held = {"s": np.float32(0.05), "z": np.uint8(128), "w": R.integers(-9, 9, (3, 2, 3, 3)).astype(np.int8), "sw": np.abs(some(3)),
            "zw": np.zeros(3, np.int8), "m": R.integers(0, 9, (75, 4)).astype(np.uint8), "mz": np.uint8(3)}  # fmt: skip
    return model(nodes, x, ["y"], **held), x


def recurrent():
    """LSTM and GRU with a projection."""
    x = {"x": some(4, 2, 3), "len": np.array([4, 2], np.int32)}
    kinds = {"float32": FLOAT, "int32": TensorProto.INT32}
    nodes = [
        N("LSTM", ["x", "w", "r", "b", "len"], ["h", "hn"], name="lstm", hidden_size=4, direction="bidirectional", clip=3.0),
        N("Squeeze", ["h0", "ax"], ["hs"], name="sq"), N("Split", ["h"], ["h0", "h1"], name="sp", axis=1),
        N("GRU", ["hs", "gw", "gr"], ["g", "gn"], name="gru", hidden_size=2, linear_before_reset=1),
        N("Transpose", ["g"], ["y"], name="t", perm=[2, 0, 1, 3]),
    ]  # fmt: skip
    nodes[1], nodes[2] = nodes[2], nodes[1]
    held = {
        "w": some(2, 16, 3),
        "r": some(2, 16, 4),
        "b": some(2, 32),
        "ax": ints(1),
        "gw": some(1, 6, 4),
        "gr": some(1, 6, 2),
    }
    infos = [helper.make_tensor_value_info(n, kinds[v.dtype.name], v.shape) for n, v in x.items()]
    graph = helper.make_graph(nodes, "g", infos, [helper.make_tensor_value_info("y", FLOAT, None)],
                              [numpy_helper.from_array(v, n) for n, v in held.items()])  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString(), x


def control():
    """If on data inside a Loop with a scan output, whose trip count is data."""
    info = helper.make_tensor_value_info
    yes = helper.make_graph([N("Mul", ["acc", "w"], ["t"], name="mul")], "yes", [], [info("t", FLOAT, [3])])
    no = helper.make_graph(
        [N("Slice", ["acc", "i0", "i3"], ["e"], name="cut")], "no", [], [info("e", FLOAT, [3])]
    )
    body = helper.make_graph(
        [N("ReduceSum", ["acc"], ["total"], name="total", keepdims=0), N("Less", ["total", "bound"], ["small"], name="less"),
         N("If", ["small"], ["next"], name="if", then_branch=yes, else_branch=no), N("Gather", ["x", "i"], ["row"], name="row"),
         N("Identity", ["cond"], ["going"], name="id"), N("Add", ["next", "row"], ["more"], name="add")],
        "body", [info("i", INT64, []), info("cond", BOOL, []), info("acc", FLOAT, [3])],
        [info("going", BOOL, []), info("more", FLOAT, [3]), info("total", FLOAT, [])],
    )  # fmt: skip
    x = {"x": some(4, 3), "trips": np.array(3, np.int64), "go": np.array(True)}
    nodes = [N("Loop", ["trips", "go", "start"], ["last", "totals"], name="loop", body=body)]
    held = {"start": some(3), "w": some(3), "bound": np.float32(2), "i0": ints(0), "i3": ints(3)}
    return model(nodes, x, ["last", "totals"], **held), x


def seeds():
    """(name, model bytes, inputs by name) of every model."""
    found = [
        (f.__name__, *f()) for f in (image, attention, detection, shapes, quantised, recurrent, control)
    ] * 12
    import onnx
    from samples import ALL

    found += [(name, data, {}) for name, data in ALL.items()]
    for name, case in sorted(cases().items()):
        names = [i.name for i in onnx.load_from_string(case.model).graph.input]
        given = case.data_sets[0][0] if case.data_sets else []
        size = sum(v.nbytes for v in given if isinstance(v, np.ndarray))
        if len(case.model) < MAX_BYTES and size < MAX_BYTES and "training" not in name:
            found.append((name, case.model, dict(zip(names, given, strict=False))))
    return found
