"""The functions that MNN documents for its numpy module: each is there, and gives what NumPy gives.

The list is that of MNN's docs/pymnn/numpy.md, with its `random` and `linalg` modules.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matrix_arrays import examples, ours
from matrix_numpy import like, same

from walle_core import matrix as xp
from walle_core.matrix.errors import ArrayIndexError, ArrayTypeError, ArrayValueError

ONE = """sign sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh exp exp2 expm1 log log2 log10 log1p
    sqrt cbrt square reciprocal negative positive abs absolute fabs ceil floor trunc fix rint round around round_ sinc
    signbit ravel flatnonzero argwhere zeros_like ones_like copy atleast_1d atleast_2d atleast_3d nonzero modf
    count_nonzero shape asarray array asfarray mat matrix asmatrix transpose msort sort argsort""".split()
TWO = """add subtract multiply divide true_divide floor_divide mod fmod remainder divmod power float_power hypot arctan2
    logaddexp copysign maximum minimum fmax fmin equal not_equal less less_equal greater greater_equal array_equal
    array_equiv""".split()
BITS = "bitwise_and bitwise_or bitwise_xor".split()
FOLDS = """sum prod mean var std max min amax amin ptp average all any argmax nansum nanprod nanmean nanvar nanstd nanmax
    nanmin nanargmax count_nonzero""".split()
# Arguments for those that need others.
F = np.array([[1.5, -2.25, 0.0, 3.5], [-0.0, 7.0, -1.0, 2.5], [4.0, 4.0, -9.5, 0.25]])
V = np.array([3.0, 1.0, 2.0, 5.0])
I = np.array([4, -2, 0, 3])
GIVEN = {
    "concatenate": [([F, F],), ([F, F], 1)], "pad": [(V, (2, 3)), (V, (2, 3), "reflect"), (V, (2, 3), "symmetric")],
    "asscalar": [(np.array([24.0]),)], "zeros": [((2, 3),)], "ones": [((2, 3),)], "expand_dims": [(F, 1)],
    "rollaxis": [(np.ones((2, 3, 4)), 2), (np.ones((2, 3, 4)), 2, 1)], "repeat": [(V, 2), (F, 2, {"axis": 1})],
    "clip": [(F, -2.0, 2.0)], "unravel_index": [([22, 41, 37], (7, 6)), (5, (2, 3))], "vdot": [(V, V), (F, F)],
    "dot": [(F, V), (3, 4), (F, F.T)], "inner": [(V, V), (F, F)], "matmul": [(F, F.T), (F, V)],
    "where": [(F > 1, F, F * 10), (F > 1,)], "moveaxis": [(np.ones((3, 4, 5)), 0, -1)],
    "swapaxes": [(np.ones((3, 4, 5)), 0, 2)], "array_split": [(V, 3), (F, 2, 1)], "split": [(V, 2)],
    "hsplit": [(F, 2)], "vsplit": [(F, 3)], "dsplit": [(np.ones((2, 2, 4)), 2)], "tile": [(V, 2), (F, (2, 1))],
    "linspace": [(0.0, 10.0, 5), (0.0, 10.0, 5, {"endpoint": False})], "geomspace": [(1.0, 10.0, 4), (1.0, 10.0, 4, False)],
    "logspace": [(0.0, 10.0, 5), (0.0, 10.0, 5, False)], "arange": [(5,), (0, 5, 2), (0.0, 1.0, 0.25)],
    "lexsort": [((I, I[::-1]),)], "broadcast_to": [(V, (3, 4))], "broadcast_arrays": [(F, V)], "full": [((2, 2), 10.0)],
    "full_like": [(F, 10.0)], "squeeze": [(np.ones((1, 3, 1)), 0), (np.ones((1, 3, 1)), (0, 2))], "column_stack": [([V, V],)],
    "vstack": [([V, V],)], "hstack": [([V, V],), ([F, F],)], "dstack": [([F, F],)], "row_stack": [([V, V],)],
    "stack": [([V, V],), ([V, V], {"axis": 1})], "identity": [(3,)], "eye": [(3,), (3, 4, {"k": 1})], "repmat": [(V, 2, 3)],
    "meshgrid": [(V, V)], "ldexp": [(V, I), (np.array([1e-300, -3.0, np.inf, 5e-324]), np.array([1900, -2000, 3, 1074]))],
    "empty": [((2, 3),)], "empty_like": [(F,)],
}  # fmt: skip
NAMES = {*ONE, *TWO, *BITS, *FOLDS, *GIVEN}

# NumPy 2 has no longer all of them.
GONE = {
    "asscalar": lambda a: a.item(), "round_": np.round, "msort": lambda a: np.sort(a, axis=0), "row_stack": np.vstack,
    "asfarray": lambda a: np.asarray(a, "float64"), "repmat": lambda a, m, n: np.tile(np.atleast_2d(a), (m, n)),
    "mat": np.atleast_2d, "matrix": np.atleast_2d, "asmatrix": np.atleast_2d, "fix": np.trunc,
}  # fmt: skip


def oracle(name):
    return GONE.get(name) or getattr(np, name)


def check(name, *arguments, **options):
    with np.errstate(all="ignore"):
        same(getattr(xp, name)(*like(arguments), **options), oracle(name)(*arguments, **options))


SHAPES = hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=4)
FLOATS = hnp.arrays("float64", SHAPES, elements=st.floats(-20, 20))


def test_the_list_is_whole():
    assert len(NAMES) >= 160
    assert all(callable(getattr(xp, name)) for name in NAMES)
    assert all(callable(getattr(xp.random, name)) for name in ("rand", "randn", "randint", "random"))
    assert all(callable(getattr(xp.linalg, name)) for name in ("norm", "svd"))


@pytest.mark.parametrize("name", ONE)
@examples(5, 200)
@given(x=FLOATS)
def test_of_one(name, x):
    if name == "mat" or name == "matrix" or name == "asmatrix":
        x = x[0]
    check(name, x)


@pytest.mark.parametrize("name", TWO)
@examples(5, 200)
@given(data=st.data())
def test_of_two(name, data):
    x = data.draw(FLOATS)
    check(
        name,
        x,
        data.draw(hnp.arrays("float64", x.shape, elements=st.floats(-20, 20).filter(lambda v: abs(v) > 0.1))),
    )


@pytest.mark.parametrize("name", BITS)
@examples(5, 200)
@given(data=st.data())
def test_of_bits(name, data):
    x = data.draw(hnp.arrays("int32", SHAPES))
    check(name, x, data.draw(hnp.arrays("int32", x.shape)))


@pytest.mark.parametrize("name", FOLDS)
@examples(5, 200)
@given(x=FLOATS, data=st.data())
def test_along_an_axis(name, x, data):
    check(name, x)
    check(name, x, axis=data.draw(st.integers(-x.ndim, x.ndim - 1)))


@pytest.mark.parametrize("name", GIVEN)
def test_given_cases(name):
    for arguments in GIVEN[name]:
        if name[:5] == "empty":
            made = getattr(xp, name)(*like(arguments))
            assert made.shape == oracle(name)(*arguments).shape
            continue
        options = arguments[-1] if isinstance(arguments[-1], dict) else {}
        check(name, *arguments[: -1 if options else None], **options)


def test_what_is_refused():
    with pytest.raises(ArrayIndexError):
        xp.unravel_index([6], (2, 3))
    with pytest.raises(ArrayTypeError):
        xp.ldexp(ours(V), 1.5)
    with pytest.raises(ArrayValueError):
        xp.asmatrix(xp.ones((1, 1, 1)))
