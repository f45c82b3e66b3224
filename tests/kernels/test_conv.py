"""Direct convolution through its emit rule, against NumPy in float64, on every table."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import Tensor
from walle_core.backends.table import conv
from walle_core.backends.table import cut as cutting
from walle_core.backends.table.emitter import Emitter
from walle_core.graph.builder import Builder

CASES = settings(max_examples=60, deadline=None)
(RULE,) = conv.rules()


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def oracle(x, w, strides, dilations, pads, group, out):
    """Convolution of [n, h, w, c] with [k, c/group, kh, kw] in float64."""
    n, h, width, c = x.shape
    grown = np.zeros((n, h + pads[0] + pads[2], width + pads[1] + pads[3], c))
    grown[:, pads[0] : pads[0] + h, pads[1] : pads[1] + width] = x
    y = np.zeros((n, *out, w.shape[0]))
    each, made = w.shape[1], w.shape[0] // group
    for i, j in product(range(w.shape[2]), range(w.shape[3])):
        top, left = i * dilations[0], j * dilations[1]
        part = grown[:, top : top + (out[0] - 1) * strides[0] + 1 : strides[0]]
        part = part[:, :, left : left + (out[1] - 1) * strides[1] + 1 : strides[1]]
        for g in range(group):
            tap = w[g * made : (g + 1) * made, :, i, j].astype(np.float64)
            y[..., g * made : (g + 1) * made] += part[..., g * each : (g + 1) * each] @ tap.T
    return y


def check(kernels, x, w, bias=False, residual=False, threads=1, constant=True, activation="", **attributes):
    """Runs one FusedConv and compares; returns the candidate."""
    g = Builder()
    names = [g.input("x", "float32", x.shape)]
    names.append(g.const(Tensor.wrap(w)) if constant else g.input("w", "float32", w.shape))
    shape = g.shape(g.FusedConv(*names, layout="NHWC", **attributes))
    g.nodes.clear()
    b, r = numbers(5, w.shape[0]), numbers(6, *shape)
    names.append(g.const(Tensor.wrap(b)) if bias else None)
    names.append(g.input("r", "float32", shape) if residual else None)
    y = g.FusedConv(*names, layout="NHWC", activation=activation, **attributes)
    graph = g.graph([y])
    (offer,) = RULE.candidates(kernels, graph.nodes[0], graph.specs, graph.constants)
    em = Emitter(graph, kernels, threads)
    RULE.emit(em, graph.nodes[0], offer)
    program = em.finish()[0].program()
    inputs = [x, *([] if constant else [w]), *([r] if residual else [])]
    got = np.asarray(program.run([Tensor.wrap(np.ascontiguousarray(a)) for a in inputs])[0])
    flat = x.ndim == 3
    x4, w4 = (x[:, None], w[:, :, None]) if flat else (x, w)

    def plane(name, default):
        values = tuple(attributes.get(name, (default,) * (1 if flat else 2)))
        return (1, *values) if flat else values

    pads = tuple(attributes.get("pads", (0,) * (2 if flat else 4)))
    pads = (0, pads[0], 0, pads[1]) if flat else pads
    out = (1, shape[1]) if flat else shape[1:3]
    total = oracle(x4, w4, plane("strides", 1), plane("dilations", 1), pads, attributes.get("group", 1), out)
    total = total.reshape(shape) + (b if bias else 0) + (r if residual else 0)
    expected = np.maximum(total, 0) if activation else total
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-6 * max(1.0, np.abs(total).max()))
    return offer


@CASES
@given(data=st.data())
def test_direct(kernels, data):
    draw = data.draw
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (2, 3), (5, 5), (1, 7), (7, 7), (4, 1)]))
    strides, dilations = (draw(st.tuples(st.integers(1, 3), st.integers(1, 2))) for _ in range(2))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    extent = [(kernel[i] - 1) * dilations[i] + 1 for i in range(2)]
    h, w = (draw(st.integers(max(1, extent[i] - pads[i] - pads[i + 2]), 20)) for i in range(2))
    group = draw(st.sampled_from([1, 1, 1, 2, 3]))
    c, k = draw(st.integers(1, 24)), draw(st.integers(1, 50))
    x = numbers(draw(st.integers(0, 99)), draw(st.integers(1, 2)), h, w, c * group)
    weight = numbers(1, k * group, c, *kernel) / np.float32(math.sqrt(c * math.prod(kernel)))
    check(
        kernels, x, weight, draw(st.booleans()), draw(st.booleans()), draw(st.integers(1, 2)), draw(st.booleans()),
        draw(st.sampled_from(["", "Relu"])), kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads,
        group=group,
    )  # fmt: skip


@CASES
@given(data=st.data())
def test_one_dimension(kernels, data):
    draw = data.draw
    kernel, stride, dilation = draw(st.integers(1, 9)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pads = tuple(draw(st.integers(0, 4)) for _ in range(2))
    length = draw(st.integers(max(1, (kernel - 1) * dilation + 1 - sum(pads)), 60))
    c, k = draw(st.integers(1, 20)), draw(st.integers(1, 40))
    weight = numbers(1, k, c, kernel) / np.float32(math.sqrt(c * kernel))
    check(
        kernels, numbers(0, 2, length, c), weight, threads=draw(st.integers(1, 2)), kernel_shape=(kernel,),
        strides=(stride,), dilations=(dilation,), pads=pads,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("x", "w", "attributes", "mode"),
    [
        ((1, 30, 31, 3), (33, 3, 7, 7), {"pads": (3, 3, 3, 3), "strides": (2, 2)}, conv.KERNEL_ROWS),
        ((2, 500, 1), (40, 1, 256), {"strides": (128,), "pads": (64, 64)}, conv.KERNEL_ROWS),
        ((1, 9, 8, 512), (70, 512, 3, 3), {"pads": (1, 1, 1, 1)}, conv.TAPS_STAGED),
        ((1, 9, 8, 256), (70, 256, 1, 1), {"strides": (2, 2)}, conv.TAPS_STAGED),
        ((1, 13, 12, 40), (70, 40, 3, 3), {"pads": (1, 1, 1, 1)}, conv.TAPS_IN_PLACE),
        ((1, 20, 20, 2), (5, 2, 13, 11), {"dilations": (1, 2), "pads": (6, 6, 6, 6)}, conv.TAPS_IN_PLACE),
    ],
)
@pytest.mark.parametrize("panel_bytes", [1 << 12, cutting.PANEL_BYTES])
@pytest.mark.parametrize("threads", [1, 2])
def test_modes_and_pieces(kernels, x, w, attributes, mode, panel_bytes, threads, piece_bytes):
    piece_bytes(panel_bytes)
    weight = numbers(1, *w) / np.float32(math.sqrt(math.prod(w[1:])))
    attributes = {"kernel_shape": w[2:], **attributes}
    assert (
        check(kernels, numbers(0, *x), weight, True, True, threads, activation="Relu", **attributes).params[
            "mode"
        ]
        == mode
    )


@pytest.mark.parametrize("c", [512, 600])
def test_pointwise_is_a_matrix_product(kernels, c):
    weight = numbers(1, 100, c, 1, 1) / np.float32(math.sqrt(c))
    assert check(kernels, numbers(0, 2, 5, 5, c), weight, True, True, 2).algorithm == "gemm"


def test_other_layouts_and_ranks_are_refused(kernels):
    for shape, layout in (((1, 4, 5, 6), "NCHW"), ((1, 4, 5, 6, 7), "NHWC")):
        g = Builder()
        c = shape[1] if layout == "NCHW" else shape[-1]
        y = g.FusedConv(
            g.input("x", "float32", shape), g.const(Tensor((2, c, *[1] * (len(shape) - 2)))), layout=layout
        )
        graph = g.graph([y])
        assert not RULE.candidates(kernels, graph.nodes[0], graph.specs, graph.constants)
