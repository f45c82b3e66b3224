"""Pooling against plain loops, and decompositions against references."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from walle_core.errors import ShapeError
from walle_core.ops.rules import Window

LIMIT = settings(max_examples=50, deadline=None)


def cells(window, place):
    """(positions of a window's elements in the input, number of elements in input and stated padding)."""
    found, counted = [], 0
    n = len(window.kernel)
    for tap in product(*map(range, window.kernel)):
        at = [
            o * s - p + t * d
            for o, s, p, t, d in zip(place, window.strides, window.pads, tap, window.dilations, strict=False)
        ]
        counted += all(-window.pads[i] <= at[i] < window.spatial[i] + window.pads[n + i] for i in range(n))
        if all(0 <= a < size for a, size in zip(at, window.spatial, strict=False)):
            found.append(tuple(at))
    return found, counted


@st.composite
def pools(draw):
    n = draw(st.sampled_from([1, 2, 3]))

    def per_axis(low, high):
        return tuple(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)))

    kernel, strides, dilations, spatial = (
        per_axis(1, 3),
        per_axis(1, 3),
        per_axis(1, 2),
        per_axis(1, 7 if n < 3 else 4),
    )
    attributes = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "ceil_mode": draw(st.integers(0, 1)),
    }
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    attributes["auto_pad"] = mode
    if mode == "NOTSET":
        extent = [d * (k - 1) for k, d in zip(kernel, dilations, strict=False)]
        attributes["pads"] = tuple(draw(st.integers(0, min(2, e))) for e in [*extent, *extent])
    x = np.random.RandomState(draw(st.integers(0, 99))).uniform(-1, 1, (draw(st.integers(0, 2)), 2, *spatial))
    return x, attributes


def window_of(x, attributes):
    try:
        window = Window.of(
            x.shape[2:], attributes["kernel_shape"], attributes["strides"], attributes.get("pads"), attributes["dilations"],
            attributes["auto_pad"], attributes["ceil_mode"],
        )  # fmt: skip
    except ValueError:
        assume(False)
    assume(all(cells(window, place)[0] for place in product(*map(range, window.out))))
    return window


@LIMIT
@given(pools(), st.integers(0, 1))
def test_max_pool(ops, case, order):
    x, attributes = case
    window = window_of(x, attributes)
    y, where = ops.agree("MaxPool", x, outputs=2, storage_order=order, **attributes)
    for n, c, *place in product(*map(range, y.shape)):
        best = max(cells(window, place)[0], key=lambda at: x[(n, c, *at)])
        assert y[(n, c, *place)] == x[(n, c, *best)]
        plane = np.ravel_multi_index(best, window.spatial, order="F" if order else "C")
        assert where[(n, c, *place)] == (n * x.shape[1] + c) * int(np.prod(window.spatial)) + plane


@LIMIT
@given(pools(), st.integers(0, 1))
def test_average_pool(ops, near, case, include):
    x, attributes = case
    window = window_of(x, attributes)
    (y,) = ops.agree("AveragePool", x, count_include_pad=include, **attributes)
    wanted = np.zeros_like(y)
    for place in product(*map(range, window.out)):
        at, counted = cells(window, place)
        total = sum(x[(slice(None), slice(None), *a)] for a in at)
        wanted[(slice(None), slice(None), *place)] = total / (counted if include else len(at))
    near(y, wanted)


@LIMIT
@given(pools(), st.integers(1, 3))
def test_lp_pool(ops, near, case, p):
    x, attributes = case
    window = window_of(x, attributes)
    (y,) = ops.agree("LpPool", x, p=p, **attributes)
    wanted = np.zeros_like(y)
    for place in product(*map(range, window.out)):
        total = sum(np.abs(x[(slice(None), slice(None), *a)]) ** p for a in cells(window, place)[0])
        wanted[(slice(None), slice(None), *place)] = total ** (1 / p)
    near(y, wanted)


@LIMIT
@given(pools(), st.sampled_from(["MaxPool", "AveragePool"]))
def test_channels_last_is_a_transposition(ops, near, case, name):
    x, attributes = case
    window_of(x, attributes)
    (y,) = ops.reference(name, x, **attributes)
    (last,) = ops.agree(name, np.moveaxis(x, 1, -1).copy(), layout="NHWC", **attributes)
    near(last, np.moveaxis(y, 1, -1))


@pytest.mark.parametrize("name", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 7), (2, 2, 2, 3, 4), (2, 3)])
def test_global_pools(ops, near, name, shape):
    x = np.random.RandomState(0).uniform(-1, 1, shape)
    (y,) = ops.agree(name, x)
    axes = tuple(range(2, x.ndim))
    near(y, (np.mean if "Average" in name else np.max)(x, axes, keepdims=True) if axes else x)
    (last,) = ops.agree(name, np.moveaxis(x, 1, -1).copy(), layout="NHWC")
    near(last, np.moveaxis(y, 1, -1))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_padding_never_wins_an_integer_maximum(ops, dtype):
    x = np.full((1, 1, 3, 3), np.iinfo(dtype).min, dtype)
    (y,) = ops.agree("MaxPool", x, kernel_shape=(2, 2), pads=(1, 1, 1, 1))
    assert (y == np.iinfo(dtype).min).all()


def test_nan_wins_a_maximum(ops):
    x = np.array([[[1.0, np.nan, 2.0, 3.0]]])
    y = ops.reference("MaxPool", x, kernel_shape=(2,))[0]
    assert np.isnan(y).tolist() == [[[True, True, False]]]


@pytest.mark.parametrize(
    ("shape", "attributes", "message"),
    [
        ((1, 3, 8, 8), {"kernel_shape": (9, 9)}, "does not fit"),
        ((1, 3, 8, 8), {"kernel_shape": (2,)}, "kernel_shape"),
        ((1, 3, 8, 8), {"kernel_shape": (2, 2), "pads": (2, 2, 2, 2)}, "smaller"),
        ((1, 3, 8, 8), {"kernel_shape": (2, 2), "strides": (-1, 1)}, "strides"),
        ((1, 3, 8, 8), {"kernel_shape": (2, 2), "layout": "NCWH"}, "layout"),
        ((3,), {"kernel_shape": (2,)}, "axes"),
        ((3, 4), {"kernel_shape": ()}, "axis"),
        ((1, 3, 8, 8), {}, "kernel_shape"),
    ],
)
def test_misfits_are_named(ops, shape, attributes, message):
    for name in ("MaxPool", "AveragePool"):
        with pytest.raises(ShapeError, match=message):
            ops.infer(name, np.zeros(shape, np.float32), **attributes)
