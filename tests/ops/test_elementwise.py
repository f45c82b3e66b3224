"""Elementwise operators: dtypes, broadcasting, integer semantics, special values."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walle_core.ops import catalogue, find

UNARY = sorted(n for n, op in catalogue().items() if op.family == "unary")
BINARY = sorted(n for n, op in catalogue().items() if op.family == "binary")
FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def filled(shape, dtype, low=0.6, high=0.9):
    return np.random.RandomState(1).uniform(low, high, shape).astype(dtype)


@pytest.mark.parametrize("name", UNARY)
def test_unary_keeps_shape_and_dtype(ops, name):
    op = find(name)
    low, high = op.domain
    for dtype in op.dtypes if "float32" not in op.dtypes else FLOATS:
        for shape in [(), (0,), (3, 5)]:
            x = filled(shape, dtype, max(low, -3), min(high, 3))
            (y,) = ops.reference(name, x)
            assert y.shape == shape
            assert y.dtype == (np.bool_ if name in ("IsNaN", "IsInf") else x.dtype)


@pytest.mark.parametrize(
    "name", [n for n in UNARY if "float32" in find(n).dtypes and n not in ("IsNaN", "IsInf")]
)
def test_narrow_floats_are_computed_in_float32(ops, name):
    x = filled((64,), np.float16)
    x = x + np.float16(1) if name == "Acosh" else x
    (narrow,) = ops.reference(name, x)
    (wide,) = ops.reference(name, x.astype(np.float32))
    np.testing.assert_array_equal(narrow, wide.astype(np.float16))


@pytest.mark.parametrize(
    ("name", "function", "points"),
    [
        ("Erf", math.erf, [-3.0, -0.5, 0.0, 0.1, 2.0]),
        ("Sigmoid", lambda v: 1 / (1 + math.exp(-v)), [-80.0, -1.0, 0.0, 3.0, 80.0]),
        ("Softplus", lambda v: math.log1p(math.exp(v)), [-80.0, -1.0, 0.0, 3.0, 80.0]),
        ("Round", round, [0.5, 1.5, 2.5, -0.5, -2.5, 2.3]),
        ("Relu", lambda v: max(v, 0.0), [-1.0, 0.0, 2.0]),
    ],
)
def test_unary_values(ops, name, function, points):
    (y,) = ops.reference(name, np.array(points))
    np.testing.assert_allclose(y, [function(p) for p in points], rtol=1e-14)


def test_signs_of_infinity(ops):
    x = np.array([np.inf, -np.inf, 1, np.nan], np.float32)
    assert ops.reference("IsInf", x)[0].tolist() == [True, True, False, False]
    assert ops.reference("IsInf", x, detect_negative=0)[0].tolist() == [True, False, False, False]
    assert ops.reference("IsInf", x, detect_positive=0)[0].tolist() == [False, True, False, False]
    assert ops.reference("IsNaN", x)[0].tolist() == [False, False, False, True]


@pytest.mark.parametrize("name", BINARY)
def test_binary_broadcasts(ops, name):
    op = find(name)
    attributes = {"direction": "LEFT"} if name == "BitShift" else {}
    a, b = (filled(s, op.dtypes[0], 1, 4) for s in [(2, 3, 4), (3, 1)])
    (y,) = ops.reference(name, a, b, **attributes)
    assert y.shape == (2, 3, 4)


INTS = st.sampled_from([np.int8, np.int16, np.int32, np.int64])


@given(a=st.integers(-100, 100), b=st.integers(-100, 100).filter(bool), dtype=INTS)
def test_integer_division_and_remainder(ops, a, b, dtype):
    x, y = np.array([a], dtype), np.array([b], dtype)
    assert ops.reference("Div", x, y)[0][0] == int(math.copysign(abs(a) // abs(b), a * b)) if a else True
    assert ops.reference("Mod", x, y)[0][0] == a % b
    assert ops.reference("Mod", x, y, fmod=1)[0][0] == int(math.fmod(a, b))


@given(a=st.integers(-128, 127), by=st.integers(-10, 10))
def test_signed_shifts(ops, a, by):
    x, y = np.array([a], np.int8), np.array([by], np.int8)
    outside = by < 0 or by >= 8
    left = 0 if outside else ((a << by) + 128) % 256 - 128
    right = (-1 if a < 0 else 0) if outside else a >> by
    assert ops.reference("BitShift", x, y, direction="LEFT")[0][0] == left
    assert ops.reference("BitShift", x, y, direction="RIGHT")[0][0] == right


def test_integer_division_by_zero_gives_zero(ops):
    x = np.array([5, -128], np.int8)
    assert ops.reference("Div", x, np.array([0, -1], np.int8))[0].tolist()[0] == 0
    assert ops.reference("Mod", x, np.array([0, 0], np.int8))[0].tolist() == [0, 0]


def test_pow_has_the_dtype_of_the_base(ops):
    base = np.array([2, 3], np.int32)
    assert ops.reference("Pow", base, np.array([3.0, 0.5], np.float32))[0].tolist() == [8, 1]
    assert ops.reference("Pow", base.astype(np.float32), np.array([3, 2], np.int64))[0].tolist() == [8.0, 9.0]


@pytest.mark.parametrize("name", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_any_number_of_operands(ops, name, count):
    shapes = [(3, 4), (4,), (3, 1), (), (1, 4)]
    ops.agree(name, *[filled(s, np.float32, -3, 3) for s in shapes[:count]])


def test_nan_wins_extrema(ops):
    a, b = np.array([np.nan, 1], np.float32), np.array([1, np.nan], np.float32)
    assert np.isnan(ops.reference("Max", a, b)[0]).all()
    assert np.isnan(ops.reference("Min", a, b)[0]).all()


@given(st.sampled_from([np.float32, np.int64, np.bool_]), st.integers(0, 3))
def test_where_selects(ops, dtype, rank):
    shape = (2, 3, 4)[3 - rank :]
    x, y = np.ones((), dtype), np.zeros((3, 4), dtype)
    condition = np.arange(int(np.prod(shape))).reshape(shape) % 2 == 0
    np.testing.assert_array_equal(ops.reference("Where", condition, x, y)[0], np.where(condition, x, y))


def test_where_takes_strings(ops):
    words = np.array(["a", "b"], object)
    made = catalogue()["Where"].reference(np.array([True, False]), words, np.array("z", object))
    assert made.tolist() == ["a", "z"]


ACTIVATIONS = {
    "Elu": lambda v, alpha=1.0: v if v > 0 else alpha * math.expm1(v),
    "Celu": lambda v, alpha=1.0: max(v, 0) + min(0, alpha * math.expm1(v / alpha)),
    "LeakyRelu": lambda v, alpha=0.01: v if v >= 0 else alpha * v,
    "ThresholdedRelu": lambda v, alpha=1.0: v if v > alpha else 0.0,
    "Swish": lambda v, alpha=1.0: v / (1 + math.exp(-alpha * v)),
    "HardSwish": lambda v: v * min(1, max(0, v / 6 + 0.5)),
    "Mish": lambda v: v * math.tanh(math.log1p(math.exp(v))),
    "Softsign": lambda v: v / (1 + abs(v)),
    "Gelu": lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))),
}


@given(
    name=st.sampled_from(sorted(ACTIVATIONS)), values=st.lists(st.floats(-20, 20), min_size=1, max_size=9),
    alpha=st.sampled_from([None, 0.3, 2.0]),
)  # fmt: skip
def test_activations_follow_their_formula(ops, name, values, alpha):
    extra = {"alpha": alpha} if alpha and "alpha" in find(name).params else {}
    (y,) = ops.parts(name, np.array(values), **extra)
    np.testing.assert_allclose(y, [ACTIVATIONS[name](v, **extra) for v in values], rtol=1e-12, atol=1e-14)


def test_clip_bounds(ops):
    x = np.array([-5, 0, 5], np.int32)
    low, high = np.array(-1, np.int32), np.array(2, np.int32)
    assert ops.parts("Clip", x, low, high)[0].tolist() == [-1, 0, 2]
    assert ops.parts("Clip", x, None, high)[0].tolist() == [-5, 0, 2]
    assert ops.parts("Clip", x, low)[0].tolist() == [-1, 0, 5]
    assert ops.parts("Clip", x)[0].tolist() == [-5, 0, 5]
    assert ops.parts("Clip", x, high, low)[0].tolist() == [-1, -1, -1]  # min above max: max everywhere
