"""Sorting, searching and sets against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matrix_arrays import examples

from walle_core import matrix as xp
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError

REAL = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
]
ALL = [*REAL, "complex64", "complex128"]


def of(x):
    return xp.Array.of(np.ascontiguousarray(x)) if x.ndim else xp.asarray(x.item())


@st.composite
def arrays(draw, dtypes=ALL, min_dims=1, shape=None):
    """Few different values, so that many are equal; NaN, infinities and both zeros among the floats."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = (
        draw(hnp.array_shapes(min_dims=min_dims, max_dims=3, min_side=0, max_side=9))
        if shape is None
        else shape
    )
    if dtype.kind in "fc":
        part = st.sampled_from(
            [0.0, -0.0, 1.0, -1.0, 2.5, float("inf"), -float("inf"), float("nan"), 3e38, 1e-42]
        )
        some = part if dtype.kind == "f" else st.builds(complex, part, part)
    elif dtype.kind == "b":
        some = st.booleans()
    else:
        info = np.iinfo(dtype)
        some = st.sampled_from([info.min, info.max, 0, 1, 2, info.max // 2])
    count = int(np.prod(shape))
    values = draw(st.lists(some, min_size=count, max_size=count))
    return np.array(values, dtype=dtype).reshape(shape)


@given(arrays(), st.data())
@examples(100, 1500)
def test_sort_and_argsort(x, data) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    plain = x.dtype.kind != "c" or not np.isnan(x).any()  # NumPy puts complex NaN into four classes
    order = np.asarray(xp.argsort(of(x), axis=axis))
    got = np.asarray(xp.sort(of(x), axis=axis))
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, np.take_along_axis(x, order, axis))
    if plain:
        np.testing.assert_array_equal(order, np.argsort(x, axis=axis, kind="stable"))
    down = np.asarray(xp.argsort(of(x), axis=axis, descending=True))
    if plain and not (x.dtype.kind == "f" and np.isnan(x).any()):
        back = np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
        np.testing.assert_array_equal(down, x.shape[axis] - 1 - back)
    np.testing.assert_array_equal(
        np.asarray(xp.sort(of(x), axis=axis, descending=True)), np.take_along_axis(x, down, axis)
    )


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("n", [255, 256, 257, 5000])
def test_long_sorts(dtype, n) -> None:
    rng = np.random.default_rng(n)
    x = (rng.standard_normal((n, 3)) * 100).astype(dtype)
    if dtype.startswith("float"):
        x[::7] = np.nan
        x[1::9] = -0.0
    order = np.argsort(x, axis=0, kind="stable")
    np.testing.assert_array_equal(np.asarray(xp.argsort(of(x), axis=0)), order)
    np.testing.assert_array_equal(np.asarray(xp.sort(of(x), axis=0)), np.take_along_axis(x, order, 0))


@given(arrays(dtypes=REAL), st.data())
@examples(66, 1000)
def test_extremes_and_counts(x, data) -> None:
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    keep = data.draw(st.booleans())
    for name in ("argmax", "argmin"):
        if x.size:
            wanted = getattr(np, name)(x, axis=axis, keepdims=keep)
            np.testing.assert_array_equal(
                np.asarray(getattr(xp, name)(of(x), axis=axis, keepdims=keep)), wanted
            )
    wanted = np.count_nonzero(x, axis=axis, keepdims=keep)
    np.testing.assert_array_equal(np.asarray(xp.count_nonzero(of(x), axis=axis, keepdims=keep)), wanted)


@given(arrays())
@examples(50, 750)
def test_places_of_what_is_not_zero(x) -> None:
    for a, b in zip(xp.nonzero(of(x)), np.nonzero(x), strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)
    np.testing.assert_array_equal(np.asarray(xp.argwhere(of(x))), np.argwhere(x))
    np.testing.assert_array_equal(np.asarray(xp.flatnonzero(of(x))), np.flatnonzero(x))


@given(st.data(), st.sampled_from(REAL), st.sampled_from(["left", "right"]), st.booleans())
@examples(66, 1000)
def test_searchsorted(data, dtype, side, through) -> None:
    x, v = data.draw(arrays(dtypes=[dtype])).ravel(), data.draw(arrays(dtypes=[dtype]))
    if through:
        order = np.argsort(x, kind="stable")
        got = xp.searchsorted(of(x), of(v), side=side, sorter=of(order))
        wanted = np.searchsorted(x, v, side=side, sorter=order)
    else:
        got, wanted = (
            xp.searchsorted(of(np.sort(x)), of(v), side=side),
            np.searchsorted(np.sort(x), v, side=side),
        )
    np.testing.assert_array_equal(np.asarray(got), wanted)


@given(arrays(min_dims=1))
@examples(100, 1500)
def test_unique(x) -> None:
    if x.dtype.kind == "c" and np.isnan(x).any():
        x = np.nan_to_num(x)
    values, indices, inverse, counts = (np.asarray(p) for p in xp.unique_all(of(x)))
    wanted = np.unique_all(x)
    np.testing.assert_array_equal(values, wanted.values)
    np.testing.assert_array_equal(counts, wanted.counts)
    np.testing.assert_array_equal(inverse, wanted.inverse_indices.reshape(x.shape))
    np.testing.assert_array_equal(indices, wanted.indices)
    np.testing.assert_array_equal(np.asarray(xp.unique_values(of(x))), values)
    np.testing.assert_array_equal(np.asarray(xp.unique_counts(of(x)).counts), counts)
    np.testing.assert_array_equal(np.asarray(xp.unique_inverse(of(x)).inverse_indices), inverse)
    assert inverse.shape == x.shape
    made = xp.unique(of(x), return_index=True, return_counts=True)
    assert len(made) == 3


@given(st.data(), st.sampled_from(ALL), st.booleans())
@examples(66, 1000)
def test_sets(data, dtype, invert) -> None:
    x, y = data.draw(arrays(dtypes=[dtype])), data.draw(arrays(dtypes=[dtype]))
    np.testing.assert_array_equal(
        np.asarray(xp.isin(of(x), of(y), invert=invert)), np.isin(x, y, invert=invert)
    )
    if x.dtype.kind not in "fc":
        for name in ("intersect1d", "setdiff1d", "union1d"):
            np.testing.assert_array_equal(
                np.asarray(getattr(xp, name)(of(x), of(y))), getattr(np, name)(x, y)
            )


@given(st.data(), st.sampled_from(ALL), st.sampled_from(ALL))
@examples(50, 750)
def test_where(data, first, second) -> None:
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4, min_side=0)
    ).input_shapes
    mask = data.draw(arrays(dtypes=["bool"], shape=shapes[0]))
    x, y = (
        data.draw(arrays(dtypes=[first], shape=shapes[1])),
        data.draw(arrays(dtypes=[second], shape=shapes[2])),
    )
    like = lambda v, d: xp.asarray(v.item(), dtype=getattr(xp, d)) if v.ndim == 0 else of(v)
    got, wanted = (
        np.asarray(xp.where(like(mask, "bool"), like(x, first), like(y, second))),
        np.where(mask, x, y),
    )
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


def test_where_with_numbers() -> None:
    x = xp.asarray([1.0, 2.0], dtype=xp.float32)
    assert xp.where(x > 1, x, 0).dtype == xp.float32
    assert xp.where(x > 1, 0, x).tolist() == [1.0, 0.0]
    assert [a.tolist() for a in xp.where(x > 1)] == [[1]]


def test_lexsort() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 3, (3, 50))
    np.testing.assert_array_equal(np.asarray(xp.lexsort([of(k) for k in keys])), np.lexsort(keys))


def test_refusals() -> None:
    for call in (lambda: xp.sort(xp.ones(3), axis=1), lambda: xp.argmax(xp.ones((0,))), lambda: xp.nonzero(xp.asarray(1)),
                 lambda: xp.argmin(xp.ones((2, 0)), axis=1), lambda: xp.searchsorted(xp.ones((2, 2)), xp.ones(1)),
                 lambda: xp.searchsorted(xp.ones(2), xp.ones(1), side="middle"), lambda: xp.lexsort([]),
                 lambda: xp.searchsorted(xp.ones(2), xp.ones(1), sorter=xp.asarray([0, 2]))):  # fmt: skip
        with pytest.raises(ArrayValueError):
            call()
    for call in (lambda: xp.argmax(xp.ones(2, dtype=xp.complex64)), lambda: xp.where(xp.ones(2) > 0, xp.ones(2)),
                 lambda: xp.searchsorted(xp.ones(2, dtype=xp.complex64), xp.ones(1))):  # fmt: skip
        with pytest.raises(ArrayTypeError):
            call()
