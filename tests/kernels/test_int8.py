"""Kernels of 8-bit integers through their emit rules, against the NumPy references, on every table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import Tensor
from walle_core.backends.reference import run_node
from walle_core.backends.table import dot, int8, int8_vector
from walle_core.backends.table.emitter import Emitter
from walle_core.graph.builder import Builder

CASES = settings(max_examples=60, deadline=None)
PRODUCT = (*int8.rules(), dot.rules()[0])  # by pairs, and by words of four where the table has rows for them
VECTOR = tuple(int8_vector.rules())
RANGES = {"uint8": (0, 255), "int8": (-128, 127)}
NUMBER = {"uint8": 2, "int8": 3}


def integers(rng, dtype, *shape):
    """Integers of which many are the extreme ones."""
    low, high = RANGES[dtype]
    values = rng.integers(low, high + 1, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([low, high], shape), values).astype(dtype)


def check(kernels, rules, op, operands, threads=1, constants=0, **attributes):
    """Runs one node of which the last `constants` operands are constant, and compares bit for bit."""
    g = Builder()
    split = len(operands) - constants
    names = [g.input(f"x{i}", v.dtype.name, v.shape) for i, v in enumerate(operands[:split])]
    names += [g.const(Tensor.wrap(v)) for v in operands[split:]]
    graph = g.graph([g.op(op, *names, **attributes)])
    (node,) = graph.nodes
    offers = [(r, c) for r in rules for c in r.candidates(kernels, node, graph.specs, graph.constants)]
    assert offers
    for rule, offer in offers:
        em = Emitter(graph, kernels, threads)
        rule.emit(em, node, offer)
        program = em.finish()[0].program()
        (made,) = program.run([Tensor.wrap(v) for v in operands[:split]])
        (want,) = run_node(node, [Tensor.wrap(np.ascontiguousarray(v)) for v in operands])
        np.testing.assert_array_equal(np.asarray(made), np.asarray(want), err_msg=offer.algorithm)
    return {offer.algorithm for _, offer in offers}


def result(draw, dtype):
    """Attributes of a result: clamp and zero point anywhere in the type."""
    low, high = RANGES[dtype]
    bounds = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    full = draw(st.booleans())
    return {
        "y_scale": float(np.float32(draw(st.floats(1e-3, 10)))), "y_zero": draw(st.integers(low, high)),
        "low": low if full else bounds[0], "high": high if full else bounds[1], "to": NUMBER[dtype],
    }  # fmt: skip


TYPES = st.sampled_from(["uint8", "int8"])


@CASES
@given(data=st.data())
def test_convolution(kernels, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    kind, stored, made = draw(TYPES), draw(TYPES), draw(TYPES)
    group = draw(st.sampled_from([1, 1, 2, 3]))
    c, k = draw(st.integers(1, 20)) * group, draw(st.integers(1, 36)) * group
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dilations = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    least = [max(1, (kernel[i] - 1) * dilations[i] + 1 - pads[i] - pads[i + 2]) for i in range(2)]
    size = [n + draw(st.integers(0, 9)) for n in least]
    operands = [
        integers(rng, kind, draw(st.integers(1, 2)), *size, c), integers(rng, stored, k, c // group, *kernel),
        rng.uniform(1e-4, 1e-2, k).astype("float32"),
    ]  # fmt: skip
    if draw(st.booleans()):
        operands.append(rng.integers(-9000, 9000, k).astype("int32"))
    check(
        kernels, PRODUCT, "QuantizedConv", operands, draw(st.sampled_from([1, 3])), len(operands) - 1, layout="NHWC",
        x_zero=draw(st.integers(*RANGES[kind])), w_zero=draw(st.sampled_from([0, RANGES[stored][0], 128 if stored == "uint8" else 0, 3])), group=group,
        strides=(draw(st.integers(1, 3)), draw(st.integers(1, 3))), dilations=dilations, pads=pads,
        **result(draw, made),
    )  # fmt: skip


@CASES
@given(data=st.data())
def test_depthwise(kernels, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    kind, stored, made = draw(TYPES), draw(TYPES), draw(TYPES)
    c = draw(st.sampled_from([1, 3, 8, 16, 17, 24, 32, 33, 40, 65]))
    kernel = draw(st.sampled_from([(3, 3), (3, 3), (5, 5), (1, 3), (2, 4), (7, 7)]))
    operands = [
        integers(rng, kind, 1, draw(st.integers(7, 15)), draw(st.integers(7, 15)), c),
        integers(rng, stored, c, 1, *kernel), rng.uniform(1e-3, 1e-2, c).astype("float32"),
        rng.integers(-900, 900, c).astype("int32"),
    ]  # fmt: skip
    check(
        kernels, PRODUCT, "QuantizedConv", operands, draw(st.sampled_from([1, 3])), 3, layout="NHWC", group=c,
        x_zero=draw(st.integers(*RANGES[kind])), w_zero=draw(st.sampled_from([0, RANGES[stored][0]])),
        strides=draw(st.sampled_from([(1, 1), (2, 2), (1, 3)])), pads=tuple(draw(st.integers(0, 3)) for _ in range(4)),
        dilations=(1, 1), **result(draw, made),
    )  # fmt: skip


@CASES
@given(data=st.data())
def test_matmul(kernels, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    kind, made = draw(TYPES), draw(TYPES)
    m, k, n, trans = (
        draw(st.integers(1, 30)),
        draw(st.integers(1, 99)),
        draw(st.integers(1, 70)),
        draw(st.booleans()),
    )
    operands = [
        integers(rng, kind, 2, m, k), integers(rng, "int8", *((n, k) if trans else (k, n))),
        rng.uniform(1e-4, 1e-2, n).astype("float32"),
    ]  # fmt: skip
    check(
        kernels, PRODUCT, "QuantizedMatMul", operands, draw(st.sampled_from([1, 3])), 2, transB=int(trans),
        x_zero=draw(st.integers(*RANGES[kind])), **result(draw, made),
    )  # fmt: skip


def test_deep_sums_of_extreme_values_are_exact(kernels):
    x, w = np.full((3, 9001), 255, "uint8"), np.full((9001, 5), -128, "int8")
    w[:, 1] = 127
    scale = np.full(5, 1e-7, "float32")
    found = check(
        kernels, PRODUCT, "QuantizedMatMul", [x, w, scale], constants=2, y_scale=0.25, y_zero=200, x_zero=0
    )
    assert found == {"gemm_int8"} | {"gemm_int8_dot" for row in kernels.rows() if row.family == "int8_dot"}


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("stored", RANGES)
def test_words_of_four_take_every_activation_and_symmetric_weights(kernels, kind, stored):
    """Padding, zero points at the ends of the range, depths of every remainder; other weight zero points go by pairs."""
    rng = np.random.default_rng(3)
    for c, zero in ((1, RANGES[kind][0]), (3, RANGES[kind][1]), (5, 7), (6, 0)):
        x, w = integers(rng, kind, 1, 6, 5, c), integers(rng, stored, 9, c, 3, 2)
        operands = [x, w, np.full(9, 1e-3, "float32"), rng.integers(-99, 99, 9).astype("int32")]
        options = {
            "layout": "NHWC",
            "pads": (1, 1, 2, 1),
            "x_zero": zero,
            "y_scale": 0.02,
            "y_zero": 9,
            "to": 2,
        }
        symmetric = {"int8": 0, "uint8": 128}[stored]
        found = check(kernels, PRODUCT, "QuantizedConv", operands, 1, 3, **options, w_zero=symmetric)
        assert ("direct_int8_dot" in found) == (kernels.kernel("int8_dot", "conv", kind) is not None)
        assert "direct_int8_dot" not in check(
            kernels, PRODUCT, "QuantizedConv", operands, 1, 3, **options, w_zero=1
        )


@CASES
@given(data=st.data())
def test_add(kernels, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    kind, made = draw(TYPES), draw(TYPES)
    a, b = (integers(rng, kind, 3, draw(st.integers(1, 40))) for _ in range(2))
    b = b if a.shape == b.shape else a[:, ::-1].copy()
    check(
        kernels, VECTOR, "QuantizedAdd", [a, b], a_scale=float(np.float32(draw(st.floats(1e-2, 2)))),
        b_scale=float(np.float32(draw(st.floats(1e-2, 2)))), a_zero=draw(st.integers(*RANGES[kind])),
        b_zero=draw(st.integers(*RANGES[kind])), **result(draw, made),
    )  # fmt: skip


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("size", [1, 7, 16, 100])
def test_conversions(kernels, kind, size):
    rng = np.random.default_rng(size)
    zero = np.array(rng.integers(*RANGES[kind]), kind)
    x = np.concatenate([rng.normal(0, 40, size), np.arange(-5, 6) + 0.5, [np.inf, -np.inf, np.nan]]).astype(
        "float32"
    )
    for scale in (1.0, 0.37):
        check(kernels, VECTOR, "QuantizeLinear", [x, np.array(scale, "float32"), zero], constants=2)
    check(
        kernels,
        VECTOR,
        "DequantizeLinear",
        [integers(rng, kind, size), np.array(0.37, "float32"), zero],
        constants=2,
    )


@pytest.mark.parametrize("kind", RANGES)
def test_lookup(kernels, kind):
    rng = np.random.default_rng(1)
    x = np.arange(*RANGES[kind]).astype(kind)
    check(kernels, VECTOR, "Lookup", [x, integers(rng, "int8", 256)], constants=1)


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("c", [1, 8, 19, 64])
def test_pools(kernels, kind, c):
    rng = np.random.default_rng(c)
    x = integers(rng, kind, 2, 9, 8, c)
    check(
        kernels,
        VECTOR,
        "MaxPool",
        [x],
        3,
        kernel_shape=(3, 2),
        strides=(2, 1),
        pads=(1, 0, 1, 1),
        layout="NHWC",
    )
    check(
        kernels,
        VECTOR,
        "QuantizedGlobalAveragePool",
        [x],
        layout="NHWC",
        x_scale=0.3,
        x_zero=5,
        y_scale=0.29,
        y_zero=4,
    )
