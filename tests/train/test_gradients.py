"""Gradients of every differentiable operator against central differences in float64."""

from __future__ import annotations

import zlib

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numeric import check, scalar

from walle_core.errors import GradientError, WalleError
from walle_core.graph.builder import Builder
from walle_core.graph.differentiate import differentiate
from walle_core.ops import catalogue

# Not differentiable by their nature: results are no numbers of the input's, jump, or come from a search or a draw.
NONE = {
    "Sign", "Floor", "Ceil", "Round", "Hardmax", "EyeLike", "MaxUnpool", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
    "Multinomial", "Dropout", "Optional", "OptionalGetElement",
}  # fmt: skip
# Atomic operators that have no rule yet: a path through them is an error that names them.
WITHOUT = {"CumProd", "Det", "GridSample", "MaxRoiPool", "RoiAlign", "Compress", "Unique"}
POSITIVE = {"ReduceLogSum"}  # whose domain is given by its result, not by its input
SMALL = 400  # elements of a sample's result; larger samples repeat what smaller ones show


def cases():
    for name, op in sorted(catalogue().items()):
        if (
            op.kind == "control"
            or name in NONE | WITHOUT
            or "float32" not in op.dtypes
            or name.startswith("ai.onnx")
        ):
            continue
        found = [s for s in op.samples if any(isinstance(i, tuple) for i in s.inputs)]
        if found:
            yield pytest.param(op, found, id=name)


def drawn(op, sample, rng):
    """(builder, float inputs by name, operands) of a sample in float64."""
    g, inputs, operands = Builder(), {}, []
    if op.name in POSITIVE:
        op = attrs.evolve(op, domain=(0.5, 2.0))
    low, high = (max(op.domain[0], -3.0), min(op.domain[1], 3.0)) if op.domain[0] < 3 else op.domain
    for i, given_ in enumerate(sample.inputs):
        dtype = sample.dtypes[i] if i < len(sample.dtypes) else None
        if isinstance(given_, tuple) and dtype in (None, "float32"):
            name = g.input(f"x{i}", "float64", given_)
            size = int(np.prod(given_))
            spread = np.linspace(low, high, size + 2)[1:-1]  # distinct: no ties at which a maximum jumps
            inputs[name] = rng.permutation(spread).reshape(given_) + 1e-3 * rng.uniform(size=given_)
            inputs[name] = np.asarray(inputs[name])
            operands.append(name)
        elif given_ is None:
            operands.append(None)
        else:
            if isinstance(given_, tuple):
                given_ = rng.integers(0, 2, given_).tolist()
            whole = dtype or ("int64" if np.array(given_).dtype.kind != "f" else "float64")
            operands.append(g.const(given_, "float64" if whole == "float32" else whole))
    return g, inputs, operands


@pytest.mark.parametrize(("op", "samples"), list(cases()))
def test_operator(op, samples):
    checked = 0
    for sample in samples:
        rng = np.random.default_rng(zlib.crc32(op.name.encode()))
        attributes = dict(sample.attrs)
        if "stash_type" in op.params:
            attributes["stash_type"] = 11
        try:
            g, inputs, operands = drawn(op, sample, rng)
            y = g.op(op.name, *operands, **attributes)
            spec = g.specs.get(y)
        except WalleError:
            continue  # an operator of float32 only
        if spec is None or spec.dtype.name != "float64" or spec.size > SMALL or not inputs or not spec.size:
            continue
        if attributes.get("reduction") in ("mul", "max", "min"):
            continue  # refused, see test_errors
        result = scalar(g, y, rng)
        graph = g.graph([result])
        check(graph, result, inputs, rng)
        checked += 1
        if checked == 3:
            return


SHAPES = st.lists(st.integers(1, 4), min_size=0, max_size=4)
UNARY = sorted(n for n, op in catalogue().items() if op.family == "unary" and op.gradient and n not in NONE)
BINARY = ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mod"]
REDUCTIONS = ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceLogSumExp"]


def build(op, shapes, rng, **attributes):
    g = Builder()
    low, high = catalogue()[op].domain
    low, high = max(low, -2.5), min(high, 2.5)
    sizes = [int(np.prod(s)) for s in shapes]
    spread = rng.permutation(np.linspace(low, high, sum(sizes) + 2)[1:-1] + 0.013)
    parts = np.split(spread, np.cumsum(sizes)[:-1])
    inputs = {
        g.input(f"x{i}", "float64", s): p.reshape(s)
        for i, (s, p) in enumerate(zip(shapes, parts, strict=True))
    }
    return g, inputs


@given(shape=SHAPES, seed=st.integers(0, 1000))
@settings(max_examples=6, deadline=None)
def test_unary_of_any_shape(shape, seed):
    rng = np.random.default_rng(seed)
    for op in UNARY:
        g, inputs = build(op, [shape], rng)
        result = scalar(g, g.op(op, *inputs), rng)
        check(g.graph([result]), result, inputs, rng)


@given(data=st.data(), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_binary_operators_that_broadcast(data, seed):
    rng = np.random.default_rng(seed)
    full = data.draw(SHAPES)
    shapes = [[n if data.draw(st.booleans()) else 1 for n in full] for _ in range(2)]
    cut = data.draw(st.integers(0, len(full)))
    shapes[1] = shapes[1][cut:]
    for op in BINARY:
        g, inputs = build(op, shapes, rng)
        result = scalar(g, g.op(op, *inputs), rng)
        check(g.graph([result]), result, inputs, rng)


@given(data=st.data(), shape=st.lists(st.integers(1, 4), min_size=1, max_size=4), keepdims=st.integers(0, 1))
@settings(max_examples=10, deadline=None)
def test_reductions_over_any_axes(data, shape, keepdims):
    rng = np.random.default_rng(0)
    axes = sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    for op in REDUCTIONS:
        g, inputs = build(op, [shape], rng)
        result = scalar(g, g.op(op, *inputs, g.const(axes, "int64"), keepdims=keepdims), rng)
        check(g.graph([result]), result, inputs, rng)


@given(
    n=st.integers(1, 2), group=st.integers(1, 2), channels=st.integers(1, 2), filters=st.integers(1, 3),
    kernel=st.integers(1, 3), stride=st.integers(1, 3), dilation=st.integers(1, 2), pad=st.integers(0, 2),
    height=st.integers(5, 8), width=st.integers(5, 7),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_convolutions(n, group, channels, filters, kernel, stride, dilation, pad, height, width):
    rng = np.random.default_rng(0)
    shapes = [
        (n, group * channels, height, width),
        (group * filters, channels, kernel, kernel),
        (group * filters,),
    ]
    g, inputs = build("Conv", shapes, rng)
    y = g.Conv(
        *inputs, strides=(stride, 1), dilations=(1, dilation), pads=(pad, 0, 0, pad), group=group
    )  # fmt: skip
    result = scalar(g, y, rng)
    check(g.graph([result]), result, inputs, rng)


@given(data=st.data(), m=st.integers(1, 3), k=st.integers(1, 3), n=st.integers(1, 3))
@settings(max_examples=15, deadline=None)
def test_products_that_broadcast(data, m, k, n):
    rng = np.random.default_rng(0)
    lead = data.draw(st.lists(st.integers(1, 3), max_size=2))
    ones = [[v if data.draw(st.booleans()) else 1 for v in lead] for _ in range(2)]
    left = [k] if data.draw(st.booleans()) else [*ones[0], m, k]
    right = [k] if data.draw(st.booleans()) else [*ones[1], k, n]
    g, inputs = build("MatMul", [left, right], rng)
    result = scalar(g, g.MatMul(*inputs), rng)
    check(g.graph([result]), result, inputs, rng)


@pytest.mark.parametrize("name", sorted(WITHOUT - {"Compress", "Unique"}))
def test_an_operator_without_a_gradient_is_named(name):
    op = catalogue()[name]
    rng = np.random.default_rng(0)
    g, inputs, operands = drawn(op, op.samples[0], rng)
    y = g.op(name, *operands, name="the_one", **op.samples[0].attrs)
    result = g.ReduceSum(y, keepdims=0)
    with pytest.raises(GradientError, match=f"{name} 'the_one'"):
        differentiate(g.graph([result]), result, list(inputs)[:1])


def test_a_dependence_only_through_a_step_or_an_index_is_named():
    for op, name in (("Floor", "Floor 'cut'"), ("ArgMax", "ArgMax 'cut'")):
        g = Builder()
        x = g.input("x", "float64", (3, 4))
        result = g.ReduceSum(g.Cast(g.op(op, x, name="cut"), to=11), keepdims=0)
        with pytest.raises(GradientError, match=name):
            differentiate(g.graph([result]), result, ["x"])


def test_a_value_that_does_not_matter_and_a_result_that_is_no_number_are_refused():
    g = Builder()
    x, y = g.input("x", "float64", (3,)), g.input("y", "float64", (3,))
    result = g.ReduceSum(x, keepdims=0)
    graph = g.graph([result])
    with pytest.raises(GradientError, match="does not depend on 'y'"):
        differentiate(graph, result, [y])
    with pytest.raises(GradientError, match="gradients are those of one number"):
        differentiate(graph, x, [x])


def test_a_reduction_that_is_no_sum_is_refused():
    g = Builder()
    x = g.input("x", "float64", (3,))
    y = g.ScatterElements(x, g.const([0], "int64"), g.const([1.0], "float64"), reduction="mul")
    result = g.ReduceSum(y, keepdims=0)
    with pytest.raises(GradientError, match="'mul' has no gradient"):
        differentiate(g.graph([result]), result, [x])
