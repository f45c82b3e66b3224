"""Every TFLite operator that can be loaded, against LiteRT on the same bytes: float, and quantised where TFLite has it."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tflite_files import T, both, const

from walle_core.frontends.tflite import operators

R = np.random.default_rng(7)
DRAWN = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def some(*shape, low=-2.0, high=2.0):
    """Numbers in a range."""
    return R.uniform(low, high, shape).astype(np.float32)


def case(name, inputs, outs, dtype="float32", **options):
    """A model of one operator. Arrays are inputs of the model, T constants; `outs` are its outputs' shapes."""
    tensors = [v if isinstance(v, T) else T(v.shape, v.dtype.name) for v in inputs]
    dtypes = dtype if isinstance(dtype, tuple) else (dtype,) * len(outs)
    made = [T(shape, d) for shape, d in zip(outs, dtypes, strict=True)]
    fed = [i for i, v in enumerate(inputs) if not isinstance(v, T)]
    n = len(tensors)
    ends = list(range(n, n + len(outs)))
    return name, [*tensors, *made], [(name, range(n), ends, options)], fed, ends, [inputs[i] for i in fed]


X, Y, P = some(2, 3, 4), some(2, 3, 4), some(2, 3, 4, low=0.1)
S = (2, 3, 4)
I, J = R.integers(-9, 9, S).astype(np.int32), R.integers(1, 5, S).astype(np.int32)
B, C = R.integers(0, 2, S).astype(bool), R.integers(0, 2, S).astype(bool)
M = some(1, 6, 8, 4)
i32 = lambda *v: const(v, "int32")

CASES = [
    *(case(n, [X], [S]) for n in "ABS NEG EXP SIN COS FLOOR CEIL ROUND LOGISTIC TANH RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ELU "
      "HARD_SWISH SIGN SQUARE LOG_SOFTMAX".split()),
    *(case(n, [P], [S]) for n in ("LOG", "SQRT", "RSQRT")),
    *(case(n, [X, Y], [S], **o) for n in ("ADD", "SUB", "MUL") for o in ({}, {"fusedActivationFunction": 1}, {"fusedActivationFunction": 3})),
    case("ADD", [X, some(4)], [S]), case("MUL", [X, some(3, 1)], [S]), case("ADD", [X, const(some(1))], [S]),
    case("ADD", [I, J], [S], "int32"), case("DIV", [X, P], [S]), case("DIV", [X, P], [S], fusedActivationFunction=2),
    *(case(n, [X, Y], [S]) for n in ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")), case("POW", [P, Y], [S]),
    case("FLOOR_DIV", [X, P], [S]), case("FLOOR_DIV", [I, J], [S], "int32"), case("FLOOR_MOD", [X, P], [S]), case("FLOOR_MOD", [I, J], [S], "int32"),
    *(case(n, [I, J], [S], "bool") for n in ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")),
    *(case(n, [B, C], [S], "bool") for n in ("LOGICAL_AND", "LOGICAL_OR")), case("LOGICAL_NOT", [B], [S], "bool"),
    case("ADD_N", [X, Y, P], [S]), case("SELECT", [B, X, Y], [S]), case("SELECT_V2", [B, X, some(4)], [S]),
    case("LEAKY_RELU", [X], [S], alpha=0.3), case("PRELU", [M, const(some(1, 1, 4))], [M.shape]),
    case("GELU", [X], [S], approximate=False), case("GELU", [X], [S], approximate=True),
    *(case(n, [X, i32(1)], [(2, 4)]) for n in ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN")),
    case("MEAN", [M, i32(1, 2)], [(1, 1, 1, 4)], keepDims=True), case("SUM", [I, i32(-1)], [(2, 3)], "int32"),
    *(case(n, [B, i32(1)], [(2, 4)], "bool") for n in ("REDUCE_ANY", "REDUCE_ALL")),
    *(case(n, [X, const(-1, "int32")], [(2, 3)], "int32", outputType=2) for n in ("ARG_MAX", "ARG_MIN")),
    case("SOFTMAX", [X], [S], beta=1.0), case("SOFTMAX", [X], [S], beta=0.5), case("L2_NORMALIZATION", [X], [S]),
    case("LOCAL_RESPONSE_NORMALIZATION", [M], [M.shape], radius=1, bias=1.0, alpha=0.1, beta=0.75),
    case("CUMSUM", [X, const(1, "int32")], [S], exclusive=True, reverse=False), case("CUMSUM", [X, const(2, "int32")], [S], reverse=True),
    case("CAST", [X], [S], "int32", inDataType=0, outDataType=2), case("CAST", [I], [S], inDataType=2, outDataType=0),
    case("DEQUANTIZE", [some(2, 3).astype("float16")], [(2, 3)]), case("TOPK_V2", [X, const(2, "int32")], [(2, 3, 2), (2, 3, 2)], ("float32", "int32")),
    # movement
    case("RESHAPE", [X, i32(4, -1)], [(4, 6)]), case("RESHAPE", [X], [(6, 4)], newShape=[6, 4]), case("SQUEEZE", [M], [(6, 8, 4)], squeezeDims=[0]),
    case("EXPAND_DIMS", [X, const(1, "int32")], [(2, 1, 3, 4)]), case("TRANSPOSE", [X, i32(2, 0, 1)], [(4, 2, 3)]),
    case("CONCATENATION", [X, Y], [(2, 6, 4)], axis=1), case("CONCATENATION", [X, Y], [(2, 3, 8)], axis=-1), case("PACK", [X, Y], [(2, 2, 3, 4)], axis=1, valuesCount=2),
    case("UNPACK", [X], [(2, 4)] * 3, axis=1, num=3), case("SPLIT", [const(2, "int32"), X], [(2, 3, 2)] * 2, numSplits=2),
    case("SPLIT_V", [X, i32(1, -1), const(1, "int32")], [(2, 1, 4), (2, 2, 4)], numSplits=2),
    case("SLICE", [X, i32(0, 1, 1), i32(1, 2, -1)], [(1, 2, 3)]),
    case("STRIDED_SLICE", [X, i32(0, 0, 1), i32(2, 3, 4), i32(1, 2, 2)], [(2, 2, 2)]),
    case("STRIDED_SLICE", [X, i32(1, -1, 0), i32(2, 0, 0), i32(1, -1, 1)], [(2, 4)], beginMask=4, endMask=4, shrinkAxisMask=1),
    case("STRIDED_SLICE", [X, i32(0, 0, 1), i32(0, 0, 3), i32(1, 1, 1)], [(2, 3, 1, 2)], ellipsisMask=1, newAxisMask=2),
    case("STRIDED_SLICE", [X, i32(-1, 0, 3), i32(0, 0, 0), i32(1, 1, -2)], [(3, 2)], endMask=6, beginMask=2, shrinkAxisMask=1),
    case("GATHER", [X, i32(2, 0)], [(2, 2, 4)], axis=1), case("GATHER", [X, np.int32([[1], [0]])], [(2, 1, 3, 4)], axis=0),
    case("EMBEDDING_LOOKUP", [i32(1, 0, 1), some(4, 5)], [(3, 5)]), case("GATHER_ND", [X, const([[1, 2], [0, 0]], "int32")], [(2, 4)]),
    case("TILE", [X, i32(1, 2, 1)], [(2, 6, 4)]), case("BROADCAST_TO", [some(3, 1), i32(2, 3, 4)], [S]),
    case("PAD", [M, const([[0, 0], [1, 2], [0, 1], [0, 0]], "int32")], [(1, 9, 9, 4)]), case("PADV2", [X, const([[0, 1], [2, 0], [0, 0]], "int32"), const(1.5)], [(3, 5, 4)]),
    *(case("MIRROR_PAD", [X, const([[0, 0], [1, 2], [2, 1]], "int32")], [(2, 6, 7)], mode=m) for m in (0, 1)),
    case("REVERSE_V2", [X, i32(1)], [S]), case("SPACE_TO_DEPTH", [M], [(1, 3, 4, 16)], blockSize=2), case("DEPTH_TO_SPACE", [M], [(1, 12, 16, 1)], blockSize=2),
    case("SPACE_TO_BATCH_ND", [M, i32(2, 3), const([[0, 0], [0, 1]], "int32")], [(6, 3, 3, 4)]),
    case("BATCH_TO_SPACE_ND", [some(6, 3, 3, 4), i32(2, 3), const([[1, 0], [0, 1]], "int32")], [(1, 5, 8, 4)]),
    case("SHAPE", [X], [(3,)], "int32", outType=2), case("FILL", [i32(2, 3), const(1.5)], [(2, 3)]), case("ZEROS_LIKE", [X], [S]),
    case("RANGE", [const(1, "int32"), const(9, "int32"), const(3, "int32")], [(3,)], "int32"),
    case("ONE_HOT", [np.int32([0, 3, 7, -1]), const(4, "int32"), const(2.0), const(-1.0)], [(4, 4)], axis=-1),
    # products and resampling
    case("BATCH_MATMUL", [some(2, 3, 5), some(2, 5, 4)], [S]), case("BATCH_MATMUL", [some(2, 5, 3), some(2, 4, 5)], [S], adjX=True, adjY=True),
    *(case(n, [M, i32(9, 12)], [(1, 9, 12, 4)], alignCorners=a, halfPixelCenters=h)
      for n in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR") for a, h in ((False, False), (True, False), (False, True))),
]  # fmt: skip
ELSEWHERE = {
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "TRANSPOSE_CONV",
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "FULLY_CONNECTED",
    "QUANTIZE",
}


def test_every_rule_has_a_case():
    assert {c[0] for c in CASES} | ELSEWHERE == set(operators())


@pytest.mark.parametrize("backend", ["reference", None])
@pytest.mark.parametrize("c", CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_float(c, backend):
    name, tensors, ops, fed, ends, feeds = c
    mine, judge = both(tensors, ops, fed, ends, feeds, backend)
    for a, b in zip(mine, judge, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


QUANTISED = [c for c in CASES if c[0] in {
    "ADD", "SUB", "MUL", "MEAN", "LOGISTIC", "TANH", "SOFTMAX", "HARD_SWISH", "RELU", "RELU6", "LEAKY_RELU", "RESHAPE", "TRANSPOSE",
    "CONCATENATION", "PAD", "SPLIT", "STRIDED_SLICE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "MAXIMUM", "MINIMUM", "PACK", "GATHER",
    "TILE", "MIRROR_PAD", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SLICE", "SQUEEZE", "EXPAND_DIMS", "REDUCE_MAX", "BATCH_MATMUL",
} and not {"int32", "bool", "float16"} & {t.dtype for t in c[1] if t.data is None}]  # fmt: skip
FIXED = {
    "LOGISTIC": (1 / 256, -128),
    "SOFTMAX": (1 / 256, -128),
    "TANH": (1 / 128, 0),
}  # what TFLite demands of results
MOVES = ("RESHAPE", "TRANSPOSE", "PAD", "SPLIT", "SLICE", "PACK", "GATHER", "TILE", "MIRROR", "SPACE", "DEPTH", "SQUEEZE", "EXPAND",
         "RESIZE", "MAXIMUM", "MINIMUM", "CONCATENATION", "STRIDED", "REDUCE_MAX")  # fmt: skip


def test_quantised_operators():
    exact = moved = 0
    for name, tensors, ops, fed, ends, feeds in QUANTISED:
        scale, zero = 4 / 255, 3
        kept = name.startswith(MOVES)
        out = FIXED.get(name, (scale, zero) if kept else (0.05, -5))
        made = []
        for i, t in enumerate(tensors):
            if t.dtype == "float32" and t.data is None:
                made.append(
                    t._replace(
                        dtype="int8", scale=scale if i in fed else out[0], zero=zero if i in fed else out[1]
                    )
                )
            elif t.dtype == "float32":
                stored = np.clip(np.rint(t.data / scale) + zero, -128, 127)
                made.append(T(t.shape, "int8", stored.astype(np.int8), scale, zero))
            else:
                made.append(t)
        given = [
            np.clip(np.rint(v / scale) + zero, -128, 127).astype(np.int8) if v.dtype == np.float32 else v for v in feeds
        ]  # fmt: skip
        mine, judge = both(made, ops, fed, ends, given, plain=True)
        for a, b in zip(mine, judge, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape, name
            off = np.abs(a.astype(int) - b.astype(int))
            limit = 0 if kept and "RESIZE_BILINEAR" not in name else 1
            assert off.max() <= limit, (name, off.max())
            moved, exact = moved + off.size, exact + (off == 0).sum()
    assert exact / moved > 0.95


WINDOW = st.tuples(
    st.integers(3, 9), st.integers(3, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1),
    st.sampled_from([0, 1, 3]), st.integers(1, 2), st.integers(0, 2**31),
)  # fmt: skip


def _out(size, kernel, stride, padding, dilation=1):
    return -(-size // stride) if padding == 0 else -(-(size - (kernel - 1) * dilation) // stride)


def _quantised_conv(rng, kind, channels, out, axis, shape):
    """Weights and bias with one scale per channel (int8) or one (uint8), as TFLite wants them."""
    in_scale = 0.02
    if kind == "int8":
        scales = rng.uniform(0.002, 0.01, out).astype(np.float32)
        w = const(rng.integers(-127, 128, shape), "int8", scales, 0, axis)
    else:
        scales = np.float32([0.006])
        w = const(rng.integers(0, 256, shape), "uint8", scales, 119, 0)
    bias_scale = (np.float32(in_scale) * scales).astype(np.float32)
    return in_scale, w, const(rng.integers(-2000, 2000, out), "int32", bias_scale, 0, 0)


@pytest.mark.parametrize("kind", ["float32", "int8", "uint8"])
@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@DRAWN
@given(WINDOW)
def test_convolutions(name, kind, drawn):
    height, width, kernel, stride, channels, padding, activation, dilation, seed = drawn
    dilation = dilation if stride == 1 else 1
    if padding == 1 and (kernel - 1) * dilation + 1 > min(height, width):
        return
    rng = np.random.default_rng(seed)
    depthwise = name == "DEPTHWISE_CONV_2D"
    out = channels * 2 if depthwise else 5
    shape, axis = ((1, kernel, kernel, out), 3) if depthwise else ((out, kernel, kernel, channels), 0)
    options = {
        "padding": padding, "strideH": stride, "strideW": stride, "fusedActivationFunction": activation, "dilationHFactor": dilation,
        "dilationWFactor": dilation, **({"depthMultiplier": 2} if depthwise else {}),
    }  # fmt: skip
    made = (
        1,
        _out(height, kernel, stride, padding, dilation),
        _out(width, kernel, stride, padding, dilation),
        out,
    )
    if kind == "float32":
        x = rng.uniform(-2, 2, (1, height, width, channels)).astype(np.float32)
        parts = [T(x.shape), const(rng.uniform(-1, 1, shape)), const(rng.uniform(-1, 1, out)), T(made)]
    else:
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        x = rng.integers(low, high + 1, (1, height, width, channels)).astype(kind)
        in_scale, w, bias = _quantised_conv(rng, kind, channels, out, axis, shape)
        parts = [T(x.shape, kind, None, in_scale, low + 100), w, bias, T(made, kind, None, 0.05, low + 90)]
    for backend in ("reference", None):
        (mine,), (judge,) = both(parts, [(name, [0, 1, 2], [3], options)], [0], [3], [x], backend)
        assert mine.dtype == judge.dtype and mine.shape == judge.shape
        if kind == "float32":
            np.testing.assert_allclose(mine, judge, rtol=1e-5, atol=1e-5)
        else:
            assert np.abs(mine.astype(int) - judge.astype(int)).max() <= 1


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("kind", ["float32", "int8"])
@DRAWN
@given(WINDOW)
def test_pools(name, kind, drawn):
    height, width, kernel, stride, channels, padding, activation, _, seed = drawn
    rng = np.random.default_rng(seed)
    made = (1, _out(height, kernel, stride, padding), _out(width, kernel, stride, padding), channels)
    if kind == "float32":
        x = rng.uniform(-2, 2, (1, height, width, channels)).astype(np.float32)
        parts = [T(x.shape), T(made)]
    else:
        x = rng.integers(-128, 128, (1, height, width, channels)).astype(kind)
        parts = [T(x.shape, kind, None, 0.05, 3), T(made, kind, None, 0.05, 3)]
    options = {
        "padding": padding, "strideH": stride, "strideW": stride, "filterHeight": kernel, "filterWidth": kernel,
        "fusedActivationFunction": activation,
    }  # fmt: skip
    (mine,), (judge,) = both(parts, [(name, [0], [1], options)], [0], [1], [x])
    assert mine.shape == judge.shape
    if kind == "float32":
        np.testing.assert_allclose(mine, judge, rtol=1e-5, atol=1e-6)
    else:
        assert np.abs(mine.astype(int) - judge.astype(int)).max() <= (name == "AVERAGE_POOL_2D")


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("keep", [False, True])
def test_fully_connected(kind, keep):
    out_shape = (2, 3, 5) if keep else (6, 5)
    options = {"keepNumDims": keep, "fusedActivationFunction": 1}
    if kind == "float32":
        x = some(2, 3, 7)
        parts = [T(x.shape), const(some(5, 7)), const(some(5)), T(out_shape)]
    else:
        x = R.integers(-128, 128, (2, 3, 7)).astype(np.int8)
        bias = const(R.integers(-900, 900, 5), "int32", 0.02 * 0.01)
        w = const(R.integers(-127, 128, (5, 7)), "int8", 0.01)
        parts = [T(x.shape, kind, None, 0.02, 4), w, bias, T(out_shape, kind, None, 0.04, -100)]
    for backend in ("reference", None):
        (mine,), (judge,) = both(
            parts, [("FULLY_CONNECTED", [0, 1, 2], [3], options)], [0], [3], [x], backend
        )
        assert mine.shape == judge.shape
        np.testing.assert_allclose(
            mine.astype(float), judge, rtol=1e-5, atol=1e-6 if kind == "float32" else 1
        )


@pytest.mark.parametrize(("padding", "size"), [(0, 8), (0, 7), (1, 9)])
def test_transposed_convolution(padding, size):
    x = some(1, 4, 4, 3)
    shape = (1, size, size, 2)
    parts = [i32(*shape), const(some(2, 3, 3, 3)), T(x.shape), const(some(2)), T(shape)]
    options = {"padding": padding, "strideH": 2, "strideW": 2}
    (mine,), (judge,) = both(parts, [("TRANSPOSE_CONV", [0, 1, 2, 3], [4], options)], [2], [4], [x])
    np.testing.assert_allclose(mine, judge, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "to"),
    [("float32", "int8"), ("float32", "uint8"), ("float32", "int16"), ("int8", "uint8"), ("int8", "int8")],
)
def test_quantize(kind, to):
    x = some(4, 9) if kind == "float32" else R.integers(-128, 128, (4, 9)).astype(np.int8)
    zero = {"int8": -7, "uint8": 120, "int16": 0}[to]
    source = T(x.shape) if kind == "float32" else T(x.shape, kind, None, 0.03, 5)
    (mine,), (judge,) = both(
        [source, T(x.shape, to, None, 0.017, zero)], [("QUANTIZE", [0], [1], {})], [0], [1], [x]
    )
    assert mine.dtype == judge.dtype
    assert np.abs(mine.astype(int) - judge.astype(int)).max() <= (kind != "float32")
