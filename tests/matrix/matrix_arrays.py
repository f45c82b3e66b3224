"""Strategies for arrays in NumPy's form, and comparison with what NumPy makes of the same."""

import os

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from walle_core import matrix as xp

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
NUMERIC = [*INTEGERS, *FLOATS, *COMPLEX]
ALL = ["bool", *NUMERIC]
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.5,
    float("inf"),
    float("-inf"),
    float("nan"),
    1e-30,
    1e30,
]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


FULL = os.environ.get("WALLE_FULL", "") not in {"", "0"}


def examples(few, many=100):
    """Settings for so many drawn cases: few, or many where WALLE_FULL is set."""
    return settings(max_examples=many if FULL else few, deadline=None)


def elements(dtype):
    kind = np.dtype(dtype).kind
    if kind == "f":
        width = 8 * np.dtype(dtype).itemsize
        normal = st.floats(-1e6, 1e6, width=width, allow_subnormal=False)
        return st.one_of(st.sampled_from([float(np.dtype(dtype).type(v)) for v in SPECIAL]), normal)
    if kind == "c":
        part = st.floats(-100, 100, width=32, allow_subnormal=False)
        return st.builds(complex, part, part)
    return None


@st.composite
def arrays(draw, dtypes=ALL, shapes=SHAPES):
    dtype = draw(st.sampled_from(dtypes)) if isinstance(dtypes, list) else dtypes
    return draw(hnp.arrays(dtype, shapes, elements=elements(dtype)))


@st.composite
def pairs(draw, dtypes=NUMERIC, same=True):
    """Two arrays whose shapes broadcast, of one dtype or of two of one kind."""
    shapes = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4, min_side=0)
    ).input_shapes
    first = draw(st.sampled_from(dtypes))
    second = first if same else draw(st.sampled_from(dtypes))
    return draw(arrays(first, shapes[0])), draw(arrays(second, shapes[1]))


def ours(array):
    """A copy of a NumPy array as an Array."""
    return xp.asarray(np.ascontiguousarray(array).reshape(array.shape), copy=True)


def agree(got, wanted, ulp=4):
    """The same dtype and shape, and values within some units in the last place (NaN equals NaN)."""
    wanted = np.asarray(wanted)
    assert got.dtype.name == wanted.dtype.name, (got.dtype.name, wanted.dtype.name)
    assert got.shape == wanted.shape
    got = np.asarray(got)
    if wanted.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, wanted)
        return
    eps = np.finfo(wanted.dtype).eps
    tiny = np.finfo(wanted.dtype).smallest_normal
    with np.errstate(all="ignore"):
        if wanted.dtype.kind == "c":
            np.testing.assert_allclose(got, wanted, rtol=16 * ulp * eps, atol=16 * ulp * eps)
        else:
            np.testing.assert_allclose(got, wanted, rtol=ulp * eps, atol=4 * tiny)
