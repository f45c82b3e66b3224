"""Elementwise functions where the standard gives results of their own: zeros, infinities, NaN, limits, domains' ends.

NumPy is the oracle, as it follows IEEE 754 and C99 (annex G for complex numbers), which the standard's tables repeat; `OPEN`
lists what the standard leaves to the implementation.
"""

import numpy as np
import pytest
from matrix_arrays import FLOATS, INTEGERS, ours
from matrix_oracle import ONE, TWO, oracle

from walle_core import matrix as xp
from walle_core.matrix.operators import BINARY_NAMES, UNARY_NAMES

POINTS = [0.0, 1.0, 0.5, 2.0, 3.0, 7.5, 1e-3, 1e30, 1.5e-38, np.inf]
REAL = np.array([*POINTS, *(-p for p in POINTS), np.nan, np.pi, 1 - 2.0**-24, 1 + 2.0**-23])
PARTS = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan]
GRID = np.array([complex(a, b) for a in PARTS for b in PARTS])
ENGINE = 5000  # elements: beyond the threshold of the engine's kernels

# The sign of a zero is not defined for these.
OPEN_ZEROS = {"maximum", "minimum"}


def same(got, wanted, ulp, zeros=True):
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    if wanted.dtype.kind == "c":
        same(got.real, wanted.real, ulp, zeros)
        same(got.imag, wanted.imag, ulp, zeros)
        return
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(got, wanted)
        return
    if zeros:
        at = (wanted == 0) & (got == 0)
        np.testing.assert_array_equal(np.signbit(got[at]), np.signbit(wanted[at]))
    info = np.finfo(wanted.dtype)
    np.testing.assert_allclose(got, wanted, rtol=ulp * info.eps, atol=4 * info.smallest_normal)


def large(x):
    return np.resize(x, ENGINE)


@pytest.mark.parametrize("many", [False, True], ids=["rows", "engine"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in ONE if FLOATS[0] in ONE[n]])
def test_of_one(name, dtype, many):
    x = REAL.astype(dtype)
    x = large(x) if many else x
    with np.errstate(all="ignore"):
        same(getattr(xp, name)(ours(x)), oracle(name)(x), 16)


@pytest.mark.parametrize("many", [False, True], ids=["rows", "engine"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in TWO if FLOATS[0] in TWO[n]])
def test_of_two(name, dtype, many):
    x, y = (p.reshape(-1).astype(dtype) for p in np.meshgrid(REAL, REAL))
    if many:
        x, y = large(x), large(y)
    with np.errstate(all="ignore"):
        same(getattr(xp, name)(ours(x), ours(y)), oracle(name)(x, y), 16, name not in OPEN_ZEROS)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(
    "name", [n for n in UNARY_NAMES if n not in ("round", "reciprocal", "square", "sign", "logical_not")]
)
def test_of_one_complex(name, dtype):
    x = GRID.astype(dtype)
    with np.errstate(all="ignore"):
        try:
            wanted = oracle(name)(x)
        except TypeError:
            return
        got = np.asarray(getattr(xp, name)(ours(x)))
    bad = []
    for i, (g, w) in enumerate(zip(got, wanted, strict=True)):
        try:
            same(g, w, 64)
        except AssertionError:
            bad.append((x[i], g, w))
    assert not bad


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", [n for n in BINARY_NAMES if n in TWO and "int8" in TWO[n]])
def test_ends_of_integers(name, dtype):
    info = np.iinfo(dtype)
    x, y = (
        p.reshape(-1)
        for p in np.meshgrid(
            *[np.array([info.min, info.min + 1, 0, 1, 2, 3, info.max - 1, info.max], dtype)] * 2
        )
    )
    with np.errstate(all="ignore"):
        same(getattr(xp, name)(ours(x), ours(y)), oracle(name)(x, y), 0)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ["abs", "negative", "square", "sign", "bitwise_invert", "positive"])
def test_ends_of_integers_of_one(name, dtype):
    info = np.iinfo(dtype)
    x = np.array([info.min, info.min + 1, 0, 1, info.max - 1, info.max], dtype)
    with np.errstate(all="ignore"):
        same(getattr(xp, name)(ours(x)), oracle(name)(x), 0)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1, 1)])
@pytest.mark.parametrize("name", [*UNARY_NAMES, *BINARY_NAMES])
def test_shapes_without_or_with_one_element(name, shape):
    dtype = (
        "bool"
        if name[:7] == "logical"
        else "int8"
        if name[:7] == "bitwise"
        else "complex64"
        if name == "imag"
        else "float32"
    )
    x = xp.ones(shape, dtype=getattr(xp, dtype))
    made = getattr(xp, name)(*[x] * (1 if name in UNARY_NAMES else 2))
    assert made.shape == shape
    with np.errstate(all="ignore"):
        wanted = oracle(name)(*[np.asarray(x)] * (1 if name in UNARY_NAMES else 2))
    assert made.dtype.name == np.asarray(wanted).dtype.name
