"""Every function of the standard beside array-api-strict, which takes what the standard defines and refuses all else.

What it takes, we take, with the same dtype, shape and values; arrays come from hypothesis' strategies for the standard, which
use the namespace's own creation functions, indexing and limits.
"""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_arrays import ALL, NUMERIC, examples
from matrix_judge import both, compare, drawn, shapes, strict, xps
from standard_calls import REDUCTIONS, SORTED

from walle_core import matrix as xp
from walle_core.matrix.operators import BINARY_NAMES, UNARY_NAMES


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", UNARY_NAMES)
@examples(2)
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
@examples(2)
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
@examples(2)
@given(data=st.data())
def test_reductions(name, dtype, data):
    x = data.draw(drawn(dtype, shapes(low=1, side=1)))
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
@examples(2)
@given(data=st.data())
def test_along_an_axis(name, dtype, data):
    x = data.draw(drawn(dtype, shapes(1, 1, 0, 6)))
    if name == "unique_values":
        compare(both(name, x)) if x.dtype.kind in "iub" else None
        return
    compare(both(name, x, **({"axis": 0} if name != "diff" else {})), 300)


@pytest.mark.parametrize("dtype", ALL)
@examples(20)
@given(data=st.data())
def test_indices(dtype, data):
    x = data.draw(drawn(dtype, shapes(high=4)))
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
