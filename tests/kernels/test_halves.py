"""Products of float32 in low precision, against float64, on every table that has products of bfloat16 or of half floats.

The kernels must give the product of the rounded operands to the accuracy of their sums (float32; of half floats, partial sums are
half floats too); and, as a user sees it, stay within 2^-7 of the sum of the terms' magnitudes: of bfloat16, each operand is rounded
to eight significant bits, by 2^-8 of itself at most.
"""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import Tensor
from walle_core.backends.reference import run_node
from walle_core.backends.table import halves
from walle_core.backends.table.emitter import Emitter
from walle_core.graph.builder import Builder

CASES = settings(max_examples=40, deadline=None)
RULES = {rule.name: rule for rule in halves.rules()}
STORED = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}
CLOSE = {"bf16": 4e-6, "fp16": 2**-9}
ACTIVATIONS = st.sampled_from([{}, {"activation": "Relu"}, {"activation": "Clip", "act_alpha": -0.5, "act_beta": 0.75},
                               {"activation": "Gelu"}])  # fmt: skip


class Table:
    """Kernels with the rule of one kind."""

    def __init__(self, kernels, kind):
        self.kernels, self.kind, self.rule = kernels, kind, RULES[kind]

    def rounded(self, x):
        return x.astype(STORED[self.kind]).astype(np.float64)


@pytest.fixture(scope="session", params=sorted(RULES))
def table(kernels, request):
    """A table with the rows of a kind; of another it must be true that it offers nothing."""
    made = Table(kernels, request.param)
    if kernels.kernel(f"{request.param}_dot", "conv") is None:
        g = Builder()
        graph = g.graph([g.MatMul(g.input("a", "float32", (4, 8)), g.const(Tensor((8, 4))))])
        assert not made.rule.candidates(kernels, graph.nodes[0], graph.specs, graph.constants)
        return None
    return made


def numbers(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def reference(node, operands):
    (made,) = run_node(node, operands[: len(node.inputs)])
    return np.asarray(made)


def check(table, op, operands, threads=1, **attributes):
    """Runs one node with constant weights [1] and bias [2]; operands may be None."""
    g = Builder()
    names = [
        None
        if v is None
        else g.const(Tensor.wrap(v))
        if i in (1, 2)
        else g.input(f"x{i}", "float32", v.shape)
        for i, v in enumerate(operands)
    ]
    graph = g.graph([g.op(op, *names, **attributes)])
    (node,) = graph.nodes
    (offer,) = table.rule.candidates(table.kernels, node, graph.specs, graph.constants)
    assert (offer.precision, offer.approximate) == ("low", True)
    em = Emitter(graph, table.kernels, threads)
    table.rule.emit(em, node, offer)
    given = [v for i, v in enumerate(operands) if i not in (1, 2) and v is not None]
    (made,) = em.finish()[0].program().run([Tensor.wrap(v) for v in given])
    made = np.asarray(made)
    wide = [None if v is None else v.astype(np.float64) for v in operands]
    linear = node.evolve(
        inputs=node.inputs[:2], attrs={k: v for k, v in node.attrs.items() if not k.startswith("act")}
    )
    terms = reference(linear, [np.abs(wide[0]), np.abs(wide[1])])
    close = reference(node, [table.rounded(operands[0]), table.rounded(operands[1]), *wide[2:]])
    exact = reference(node, wide)
    scale = terms + sum(np.abs(v).max() for v in wide[2:] if v is not None) + 1e-3
    assert made.shape == exact.shape
    assert (np.abs(made - close) / scale).max() < CLOSE[table.kind]
    assert (np.abs(made - exact) / scale).max() < 1.13 * 2**-7  # 1.13: the greatest slope of GELU


@CASES
@given(data=st.data())
def test_matrices(table, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    m, k, n = draw(st.integers(1, 40)), draw(st.integers(1, 130)), draw(st.integers(1, 70))
    trans, lead = draw(st.booleans()), draw(st.sampled_from([(), (2,), (2, 3)]))
    operands = [numbers(rng, *lead, m, k), numbers(rng, *((n, k) if trans else (k, n)))]
    operands.append(numbers(rng, n) if draw(st.booleans()) else None)
    if draw(st.booleans()):
        operands.append(numbers(rng, *lead, m, n))
    if table:
        alpha = draw(st.sampled_from([1.0, 1.0, 0.125]))
        check(
            table,
            "FusedMatMul",
            operands,
            draw(st.sampled_from([1, 3])),
            transB=int(trans),
            alpha=alpha,
            **draw(ACTIVATIONS),
        )


@CASES
@given(data=st.data())
def test_convolution(table, data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    group = draw(st.sampled_from([1, 1, 2]))
    c, k = draw(st.integers(1, 40)) * group + group, draw(st.integers(1, 40)) * group
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilations = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    least = [max(1, (kernel[i] - 1) * dilations[i] + 1 - pads[i] - pads[i + 2]) for i in range(2)]
    size = [n + draw(st.integers(0, 8)) for n in least]
    operands = [numbers(rng, draw(st.integers(1, 2)), *size, c), numbers(rng, k, c // group, *kernel)]
    operands.append(numbers(rng, k) if draw(st.booleans()) else None)
    strides = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    if draw(st.booleans()):
        out = [
            (size[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
            for i in range(2)
        ]
        operands.append(numbers(rng, operands[0].shape[0], *out, k))
    if table:
        check(
            table, "FusedConv", operands, draw(st.sampled_from([1, 3])), layout="NHWC", group=group, strides=strides,
            dilations=dilations, pads=pads, **draw(ACTIVATIONS),
        )  # fmt: skip


def test_what_is_not_finite_reaches_the_result_and_nothing_else(table):
    """An odd depth leaves half a word free, which must not bring NaN into a sum; nor may one row's NaN reach another."""
    a, b = np.ones((5, 3), np.float32), np.ones((3, 40), np.float32)
    a[1, 2], a[2, 0], a[3, 1] = np.nan, np.inf, 3.4e38  # the last rounds to infinity
    g = Builder()
    graph = g.graph([g.MatMul(g.input("a", "float32", a.shape), g.const(Tensor.wrap(b)))])
    if table:
        em = Emitter(graph, table.kernels, 1)
        table.rule.emit(em, graph.nodes[0], None)
        program = em.finish()[0].program()
        program.run([Tensor.wrap(np.full_like(a, np.nan))])  # the scratch is full of NaN from here on
        made = np.asarray(program.run([Tensor.wrap(a)])[0])
        assert (made[[0, 4]] == 3).all() and np.isnan(made[1]).all() and np.isposinf(made[[2, 3]]).all()


def test_what_is_declined(table):
    """Weights that are no constant, batches of them, other dtypes, exact sums of integers, one filter per channel."""
    g = Builder()
    x, w = g.input("x", "float32", (2, 4, 8)), g.const(Tensor((8, 4)))
    image, filters = g.input("i", "float32", (1, 5, 5, 8)), g.const(Tensor((8, 1, 3, 3)))
    values = [
        g.MatMul(x, g.input("b", "float32", (8, 4))), g.MatMul(x, g.const(Tensor((2, 8, 4)))),
        g.MatMul(g.input("d", "float64", (4, 8)), g.const(Tensor((8, 4), "float64"))),
        g.FusedConv(image, filters, layout="NHWC", group=8, pads=(1, 1, 1, 1)),
        g.FusedConv(image, g.const(Tensor((4, 8, 1, 1))), layout="NHWC", exact=1),
        g.Gemm(g.input("m", "float32", (8, 3)), w, transA=1), g.MatMul(x, w),
    ]  # fmt: skip
    graph = g.graph(values)
    if table:
        taken = [
            bool(table.rule.candidates(table.kernels, n, graph.specs, graph.constants)) for n in graph.nodes
        ]
        assert taken == [False] * 6 + [True]
