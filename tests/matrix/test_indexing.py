"""Indexing against NumPy: reading, and writing in place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matrix_arrays import ALL, SHAPES, agree, arrays, examples, ours

from walle_core import matrix as xp


@examples(100, 1500)
@given(data=st.data())
def test_basic(data):
    x = data.draw(arrays(ALL))
    key = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True))
    agree(ours(x)[key], x[key])
    a, value = ours(x), np.asarray(data.draw(arrays(x.dtype.name, st.just(np.shape(x[key])))))
    a[key] = ours(value)
    x[key] = value
    agree(a, x)


def as_key(key):
    return tuple(ours(k) if isinstance(k, np.ndarray) else k for k in key)


@examples(66, 1000)
@given(data=st.data())
def test_arrays_of_integers(data):
    x = data.draw(arrays(ALL, hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)))
    key = data.draw(
        hnp.integer_array_indices(x.shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    )
    agree(ours(x)[as_key(key)], x[key])
    agree(ours(x)[as_key(key)[0]], x[key[0]])


@examples(66, 1000)
@given(data=st.data())
def test_arrays_beside_slices(data):
    x = data.draw(arrays(["int32"], hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4)))
    key = []
    for size in x.shape:
        kind = data.draw(st.sampled_from(["slice", "integer", "array", "all"]))
        if kind == "slice":
            key.append(data.draw(st.slices(size)))
        elif kind == "integer":
            key.append(data.draw(st.integers(-size, size - 1)))
        elif kind == "array":
            key.append(np.array(data.draw(st.lists(st.integers(-size, size - 1), min_size=2, max_size=2))))
        else:
            key.append(slice(None))
    agree(ours(x)[as_key(key)], x[tuple(key)])
    a = ours(x)
    a[as_key(key)] = 7
    x[tuple(key)] = 7
    agree(a, x)


@examples(66, 1000)
@given(data=st.data())
def test_masks(data):
    x = data.draw(arrays(ALL, SHAPES))
    rank = data.draw(st.integers(0, x.ndim))
    mask = data.draw(hnp.arrays("bool", x.shape[:rank]))
    agree(ours(x)[ours(mask)], x[mask])
    a = ours(x)
    a[ours(mask)] = ours(np.asarray(x.dtype.type(1)))
    x[mask] = x.dtype.type(1)
    agree(a, x)


def test_writing_many_values_by_arrays():
    x = np.arange(12.0).reshape(3, 4)
    a = ours(x)
    a[xp.asarray([0, 2])] = xp.asarray([[9.0], [8.0]])
    x[[0, 2]] = [[9.0], [8.0]]
    agree(a, x)
    a[a > 5] = xp.zeros(xp.sum(xp.astype(a > 5, xp.int64)).item())
    x[x > 5] = 0
    agree(a, x)


@pytest.mark.parametrize("key", [3, (0, 0, 0), (slice(None), -5), "x", 1.5, (Ellipsis, Ellipsis)])
def test_bad_keys(key):
    with pytest.raises(IndexError):
        xp.ones((3, 4))[key]


def test_bad_arrays_and_values():
    a = xp.ones((3, 4))
    for key in (xp.asarray([3]), xp.asarray([True, False]), xp.asarray([0.5])):
        with pytest.raises(IndexError):
            a[key]
    with pytest.raises(ValueError, match="broadcast"):
        a[0] = xp.ones(3)
    with pytest.raises(TypeError):
        xp.ones(2, dtype=xp.int32)[0] = 1.5
    with pytest.raises(OverflowError):
        xp.ones(2, dtype=xp.int8)[0] = 200


def test_writing_to_itself():
    a = xp.arange(6)
    a[1:] = a[:-1]
    agree(a, np.array([0, 0, 1, 2, 3, 4]))
    a[::-1] = a
    agree(a, np.array([4, 3, 2, 1, 0, 0]))
