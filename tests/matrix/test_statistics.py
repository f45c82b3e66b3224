"""Reductions against NumPy."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_arrays import ALL, COMPLEX, FLOATS, INTEGERS, agree, arrays, examples, ours

from walle_core import matrix as xp


def axes(draw, rank):
    if draw(st.booleans()):
        return None
    return tuple(draw(st.lists(st.integers(0, rank - 1), unique=True, max_size=rank))) if rank else ()


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
@examples(20, 300)
@given(data=st.data())
def test_reductions(name, data):
    x = data.draw(
        arrays(
            {"max": INTEGERS + FLOATS, "min": INTEGERS + FLOATS, "any": ALL, "all": ALL}.get(name, INTEGERS)
        )
    )
    axis, keepdims = axes(data.draw, x.ndim), data.draw(st.booleans())
    try:
        wanted = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    except ValueError:
        with pytest.raises(ValueError, match="no elements"):
            getattr(xp, name)(ours(x), axis=axis, keepdims=keepdims)
        return
    agree(getattr(xp, name)(ours(x), axis=axis, keepdims=keepdims), wanted)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std"])
@pytest.mark.parametrize("dtype", FLOATS + COMPLEX)
@pytest.mark.parametrize("shape", [(), (7,), (3, 0), (5, 4, 3), (9001,), (70, 80), (2, 3, 4, 5)])
def test_float_reductions(name, dtype, shape):
    rng = np.random.default_rng(3)
    x = np.asarray(rng.standard_normal(shape) + 0.5).astype(dtype)
    if name == "prod":
        x = (x * 0 + 1.001).astype(dtype)
    for axis in (None, *range(len(shape)), (0, -1) if len(shape) > 1 else ()):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing
            wanted = getattr(np, name)(x, axis=axis)
        got = getattr(xp, name)(ours(x), axis=axis)
        assert got.dtype.name == np.asarray(wanted).dtype.name
        assert got.shape == np.asarray(wanted).shape
        tolerance = 100 * np.finfo(x.dtype).eps * (10 if name == "prod" else 1)
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("op", ["max", "min"])
@pytest.mark.parametrize("shape", [(5000,), (50, 100), (100, 50, 2)])
def test_nan_wins(op, shape):
    x = np.random.default_rng(4).standard_normal(shape).astype("float32")
    x.reshape(-1)[77] = np.nan
    for axis in (None, *range(len(shape))):
        agree(getattr(xp, op)(ours(x), axis=axis), getattr(np, op)(x, axis=axis))


@examples(20, 300)
@given(data=st.data())
def test_cumulative(data):
    x = data.draw(arrays(INTEGERS))
    if x.ndim == 0:
        return
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    initial = data.draw(st.booleans())
    agree(
        xp.cumulative_sum(ours(x), axis=axis, include_initial=initial),
        np.cumulative_sum(x, axis=axis, include_initial=initial),
    )
    agree(xp.cumulative_prod(ours(x), axis=axis), np.cumulative_prod(x, axis=axis))
    agree(xp.diff(ours(x), axis=axis, n=2), np.diff(x, axis=axis, n=2))


def test_sum_dtype_and_precision():
    x = np.full(1_000_003, 0.1, "float32")
    assert abs(float(xp.sum(ours(x))) - 100000.3) < 0.05
    agree(xp.sum(xp.ones(5, dtype=xp.int8), dtype=xp.int8), np.int8(5))
    agree(xp.var(xp.asarray([1.0, 2.0, 4.0]), correction=1), np.var([1.0, 2.0, 4.0], ddof=1))


def test_errors():
    with pytest.raises(IndexError):
        xp.sum(xp.ones(3), axis=1)
    with pytest.raises(ValueError, match="twice"):
        xp.sum(xp.ones((3, 3)), axis=(0, -2))
    with pytest.raises(TypeError):
        xp.max(xp.ones(3, dtype=xp.complex64))
