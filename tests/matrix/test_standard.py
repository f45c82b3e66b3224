"""Every function of the standard beside array-api-strict, which takes what the standard defines and refuses all else.

What it takes, we take, with the same dtype, shape and values; arrays come from hypothesis' strategies for the standard, which
use the namespace's own creation functions, indexing and limits.
"""

import inspect
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import array_api
from matrix_arrays import ALL, NUMERIC

from walle_core import matrix as xp

strict = pytest.importorskip("array_api_strict")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    xps = array_api.make_strategies_namespace(xp, api_version="2023.12")

from walle_core.matrix.operators import BINARY_NAMES, UNARY_NAMES  # noqa: E402

REDUCTIONS = [
    "all",
    "any",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
    "argmax",
    "argmin",
    "count_nonzero",
]
SORTED = ["sort", "argsort", "cumulative_sum", "cumulative_prod", "diff", "flip", "unique_values"]


def both(name, *arrays, **options):
    """(ours, strict's) result of a function on the same values; None for strict's refusal."""
    given = [strict.asarray(np.asarray(a).copy()) if isinstance(a, xp.Array) else a for a in arrays]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = getattr(strict, name)(*given, **options)
        except (TypeError, ValueError):
            return None
        return getattr(xp, name)(*arrays, **options), wanted


def compare(result, ulp=32):
    if result is None:
        return
    got, wanted = result
    if isinstance(got, tuple):
        for g, w in zip(got, wanted, strict=True):
            compare((g, w), ulp)
        return
    wanted = np.asarray(wanted._array)
    assert got.dtype.name == wanted.dtype.name
    assert got.shape == wanted.shape
    if wanted.dtype.kind in "fc":
        eps = np.finfo(wanted.dtype).eps
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(
                np.asarray(got), wanted, rtol=ulp * eps, atol=np.finfo(wanted.dtype).smallest_normal * 8
            )
    else:
        np.testing.assert_array_equal(np.asarray(got), wanted)


def values(dtype):
    """Elements for which real and complex formulas are well conditioned."""
    limited = {"min_value": -50, "max_value": 50} if dtype[:5] == "float" else {}
    if dtype[:7] == "complex":
        return st.complex_numbers(min_magnitude=0.125, max_magnitude=5, width=64)
    return xps.from_dtype(getattr(xp, dtype), **limited)


def drawn(dtype, shape=None):
    shapes = xps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4) if shape is None else shape
    return xps.arrays(getattr(xp, dtype), shapes, elements=values(dtype))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", UNARY_NAMES)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_of_one(name, dtype, data):
    x = data.draw(drawn(dtype))
    if dtype[:7] == "complex" and name in (
        "acosh",
        "acos",
        "atan",
        "atanh",
        "asin",
        "asinh",
        "tan",
        "tanh",
        "expm1",
        "log1p",
    ):
        result = both(name, x)  # beside branch cuts and poles two formulas part by more than rounding
        np.testing.assert_allclose(np.asarray(result[0]), result[1]._array, rtol=1e-4, atol=1e-4)
        return
    compare(both(name, x), 300 if dtype[:7] == "complex" else 32)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", BINARY_NAMES)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_of_two(name, dtype, data):
    x = data.draw(drawn(dtype))
    y = data.draw(drawn(dtype, st.just(x.shape)))
    if name == "pow" and dtype in NUMERIC and xp.isdtype(y.dtype, "integral"):
        y = xp.abs(y) % 4
    if "shift" in name and xp.isdtype(y.dtype, "integral"):
        y = xp.abs(y) % 7
    if dtype[:7] == "complex" and name in ("pow", "divide"):
        result = both(name, x, y)
        if result is None:
            return
        np.testing.assert_allclose(np.asarray(result[0]), result[1]._array, rtol=1e-3, atol=1e-3)
        return
    compare(both(name, x, y), 300 if dtype[:7] == "complex" else 32)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", REDUCTIONS)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_reductions(name, dtype, data):
    x = data.draw(drawn(dtype, xps.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    result = both(name, x, axis=axis, keepdims=data.draw(st.booleans()))
    if result is not None and result[0].dtype.kind in "fc":  # sums cancel
        eps = np.finfo(result[0].dtype.name).eps
        with np.errstate(all="ignore"):
            scale = float(np.nanmax(np.abs(np.asarray(x)))) ** (2 if name == "var" else 1)
            np.testing.assert_allclose(
                np.asarray(result[0]), result[1]._array, rtol=300 * eps, atol=64 * eps * scale + 1e-30
            )
        return
    compare(result, 300)


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", SORTED)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_along_an_axis(name, dtype, data):
    x = data.draw(drawn(dtype, xps.array_shapes(min_dims=1, max_dims=1, min_side=0, max_side=6)))
    if name == "unique_values":
        compare(both(name, x)) if x.dtype.kind in "iub" else None
        return
    compare(both(name, x, **({"axis": 0} if name != "diff" else {})), 300)


@pytest.mark.parametrize("dtype", ALL)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_indices(dtype, data):
    x = data.draw(drawn(dtype, xps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
    key = data.draw(xps.indices(x.shape, allow_newaxis=True))
    theirs = strict.asarray(np.asarray(x).copy())
    compare((x[key], theirs[key]))


def test_methods_take_what_the_standards_take():
    theirs = type(strict.ones(1))
    for name, method in vars(theirs).items():
        ours = getattr(xp.Array, name, None)
        if (
            inspect.isfunction(method)
            and name.startswith("__")
            and name not in ("__init__", "__new__", "__buffer__")
        ):
            assert callable(ours) or name == "__hash__", name
