"""NumPy's names beyond the standard against NumPy itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_arrays import examples
from matrix_numpy import like, same

from walle_core import matrix as xp
from walle_core.matrix import numpy_names
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError

NAN, INF = float("nan"), float("inf")
F = np.array([[1.5, -2.25, 0.0, 3.5], [-0.0, 7.0, -1.0, 2.5], [4.0, 4.0, -9.5, 0.25]])
N = np.array([[1.5, NAN, 0.0, 3.5], [NAN, 7.0, -1.0, NAN], [4.0, NAN, -9.5, 0.25]])
SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, 2.5, INF, -INF, NAN])
I = np.array([[12, -18, 7], [0, 30, 45]])
C = np.array([1 + 2j, -3 + 0j, 0 - 1j])
V = np.array([3.0, 1.0, 2.0, 5.0, 4.0])


CASES = [
    ("array", ([[1, 2], [3, 4]],)), ("asanyarray", ([1.5, 2.5],)), ("copy", (F,)), ("identity", (3,)),
    ("logspace", (0, 3, 7)), ("geomspace", (1, 1000, 4)), ("geomspace", (-2, -8, 5)), ("diag", (V,)), ("diag", (V, -2)),
    ("diag", (V, 1)), ("diag", (F,)), ("diag", (F, 1)), ("diagflat", (I,)), ("tri", (3, 4, 1)), ("vander", (V, 3)),
    ("vander", (V, 4, True)), ("ravel", (F,)), ("shape", (F,)), ("ndim", (F,)), ("size", (F,)), ("size", (F, 1)),
    ("transpose", (F,)), ("swapaxes", (F, 0, 1)), ("rollaxis", (np.ones((2, 3, 4)), 2)),
    ("rollaxis", (np.ones((2, 3, 4)), 0, 3)), ("atleast_1d", (np.array(3.0),)), ("atleast_2d", (V,)),
    ("atleast_3d", (V,)), ("atleast_3d", (F,)), ("concatenate", ([F, F],)), ("concatenate", ([F, F], 1)),
    ("concatenate", ([F, V], None)), ("vstack", ([V, V],)), ("hstack", ([V, V],)), ("hstack", ([F, F],)),
    ("dstack", ([F, F],)), ("dstack", ([V, V],)), ("column_stack", ([V, V],)), ("append", (F, V)), ("append", (F, F, 1)),
    ("array_split", (V, 3)), ("array_split", (F, [1, 2], 1)), ("array_split", (V, 7)), ("split", (F, 2, 1)),
    ("vsplit", (F, 3)), ("hsplit", (F, 2)), ("hsplit", (V, [2])), ("dsplit", (np.ones((1, 2, 4)), 2)), ("fliplr", (F,)),
    ("flipud", (F,)), *[("rot90", (F, k)) for k in range(-1, 5)], ("resize", (V, (2, 4))), ("resize", (V, 3)),
    ("delete", (V, 1)), ("delete", (F, [0, 2], 0)), ("delete", (F, -1, 1)), ("trim_zeros", (np.array([0, 0, 1, 0, 2, 0]),)),
    ("trim_zeros", (np.array([0, 0, 1, 0, 2, 0]), "b")), ("trim_zeros", (np.array([0, 0]),)),
    ("pad", (F, 2)), ("pad", (F, ((1, 2), (0, 3)))), ("pad", (V, (1, 2), "edge")), ("pad", (V, (7, 9), "reflect")),
    ("pad", (V, (7, 9), "symmetric")), ("pad", (V, (7, 9), "wrap")), ("pad", (F, ((1, 0), (2, 2)), "reflect")),
    ("pad", (np.ones((1, 3)), 2, "reflect")), ("pad", (np.ones((0, 2)), 1)),
    ("absolute", (C,)), ("fabs", (F,)), ("conjugate", (C,)), ("degrees", (V,)), ("radians", (V,)), ("rad2deg", (I,)),
    ("exp2", (SPECIAL,)), ("cbrt", (SPECIAL,)), ("cbrt", (np.array([1e-300, 27.0, 1e300, -8.0]),)), ("rint", (SPECIAL,)),
    ("fix", (SPECIAL,)), ("around", (F, 1)), ("float_power", (I, 2)), ("fmod", (F, 2.25)), ("fmod", (I, 7)),
    ("divmod", (I, 7)), ("modf", (SPECIAL[:-1],)), ("logaddexp2", (V, -V)), ("sinc", (F,)), ("heaviside", (SPECIAL, 0.5)),
    ("fmax", (N, F)), ("fmin", (F, N)), ("fmax", (I, 3)), ("gcd", (I, 12)), ("lcm", (I, 4)), ("angle", (C,)),
    ("angle", (F, True)), ("iscomplex", (C,)), ("iscomplex", (F,)), ("isreal", (C,)), ("iscomplexobj", (C,)),
    ("isrealobj", (F,)), ("isscalar", (3,)), ("isscalar", (F,)), ("isneginf", (SPECIAL,)), ("isposinf", (SPECIAL,)),
    ("nan_to_num", (SPECIAL,)), ("nan_to_num", (SPECIAL, True, 1.0, 2.0, 3.0)), ("real_if_close", (C,)),
    ("real_if_close", (np.array([1 + 1e-15j]),)), ("isclose", (SPECIAL, SPECIAL)), ("allclose", (F, F + 1e-9)),
    ("array_equal", (F, F)), ("array_equal", (F, V)), ("array_equal", (N, N, True)), ("array_equiv", (F, F[:1])),
    ("array_equiv", (np.ones((2, 3)), np.ones(3))), ("cumsum", (F,)), ("cumsum", (F, 1)), ("cumprod", (F, 0)),
    ("ediff1d", (F,)), ("trapezoid", (F,)), ("trapezoid", (V, np.array([0.0, 1, 3, 4, 8]))),
    *[(f, (V, np.array([1.0, -2.0, 0.5]), m)) for f in ("convolve", "correlate") for m in ("full", "same", "valid")],
    *[(f, (V[:2], V, m)) for f in ("convolve", "correlate") for m in ("full", "same", "valid")],
    ("correlate", (C, C[:2], "full")), ("interp", (np.array([-1.0, 0.5, 1.0, 2.75, 9.0]), np.array([0.0, 1, 2, 4]), V[:4])),
    ("unwrap", (np.array([0.0, 3.0, 6.5, -6.0, 20.0]),)), ("gradient", (V,)),
    *[(f, (F, a)) for f in ("amax", "amin", "ptp", "median") for a in (None, 0, 1, (0, 1))],
    *[(f, (N, a)) for f in ("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd") for a in (None, 0, 1)],
    *[(f, (N, a)) for f in ("nanargmax", "nanargmin") for a in (None, 0, 1)],
    ("nancumsum", (N,)), ("nancumprod", (N, 1)), ("nanmedian", (N,)), ("nanmedian", (N, 0)), ("nanpercentile", (N, 30, 1)),
    ("nanquantile", (N, np.array([0.1, 0.8]), 1)), ("average", (F,)), ("average", (F, 1, np.array([1.0, 2, 3, 4]))),
    ("average", (F, None, np.abs(F) + 1)), ("quantile", (F, 0.3)), ("quantile", (F, np.array([0.0, 0.25, 1.0]), 1)),
    ("quantile", (N, 0.3, 0)), ("percentile", (F, 75, 0)), ("median", (I,)), ("cov", (F,)), ("cov", (V,)),
    ("corrcoef", (F,)), ("bincount", (np.array([0, 3, 3, 1]),)), ("bincount", (np.array([0, 3, 3, 1]), V[:4])),
    ("bincount", (np.array([2]), None, 6)), ("digitize", (V, np.array([1.0, 3.0, 4.5]))),
    ("digitize", (V, np.array([4.5, 3.0, 1.0]))), ("digitize", (V, np.array([1.0, 3.0]), True)), ("histogram", (F, 5)),
    ("histogram", (V, np.array([1.0, 2.0, 5.0]))), ("histogram", (V, 4, (0.0, 4.0))), ("histogram", (np.ones(3),)),
    ("sort_complex", (V,)), ("extract", (F > 1, F)), ("lexsort", ((I[0], I[1]),)), ("argwhere", (F > 1,)),
    ("flatnonzero", (F > 1,)), ("unique", (I,)), ("intersect1d", (I, np.array([7, 30, 1]))), ("setdiff1d", (I, np.array([7]))),
    ("union1d", (I, np.array([99]))), ("dot", (F, V[:4])), ("dot", (I, 3)), ("inner", (F, F)), ("vdot", (C, C)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_as_numpy(name, args) -> None:
    same(getattr(xp, name)(*like(list(args))), getattr(np, name)(*args))


# Without a counterpart of the same name and meaning in NumPy 2, or tested by themselves below.
APART = {
    "asscalar", "repmat", "row_stack", "round_", "trapz", "msort", "partition", "argpartition", "copyto", "flatten",
    "mat", "matrix", "asmatrix", "asfarray", "ldexp", "unravel_index",  # in test_numpy_list.py
}  # fmt: skip


def test_every_name_is_tested() -> None:
    tested = {n for n, _ in CASES} | APART
    aliases = {n for n in numpy_names.__all__ if any(getattr(xp, n) is getattr(xp, t, None) for t in tested)}
    standard = {
        "arccos",
        "arccosh",
        "arcsin",
        "arcsinh",
        "arctan",
        "arctan2",
        "arctanh",
        "invert",
        "bitwise_not",
    }
    standard |= {
        "left_shift",
        "right_shift",
        "true_divide",
        "power",
        "mod",
        "bitwise_invert",
        "bitwise_left_shift",
    }
    standard |= {
        "bitwise_right_shift",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "divide",
        "pow",
    }
    assert not set(numpy_names.__all__) - tested - aliases - standard - {"remainder"}


def test_names_without_a_counterpart() -> None:
    assert xp.asscalar(xp.asarray([2.5])) == 2.5
    same(xp.repmat(like(F), 2, 3), np.tile(F, (2, 3)))
    same(xp.msort(like(F)), np.sort(F, axis=0))
    same(xp.partition(like(V), 2)[2], np.partition(V, 2)[2])
    same(xp.take(like(V), xp.argpartition(like(V), 2))[2], np.partition(V, 2)[2])
    flat = xp.flatten(like(V))
    flat[0] = 99.0
    x = like(F.copy())
    xp.copyto(x, like(np.arange(4)), like(F > 0))
    wanted = F.copy()
    np.copyto(wanted, np.arange(4), where=F > 0)
    same(x, wanted)


@pytest.mark.parametrize(
    "call",
    [
        lambda: xp.geomspace(-1, 1), lambda: xp.diag(xp.ones((1, 1, 1))), lambda: xp.split(xp.ones(5), 2),
        lambda: xp.array_split(xp.ones(5), 0), lambda: xp.pad(xp.ones(3), -1), lambda: xp.quantile(xp.ones(3), 1.5),
        lambda: xp.pad(xp.ones((0,)), 1, "edge"), lambda: xp.bincount(xp.asarray([-1])), lambda: xp.convolve(xp.ones(0), xp.ones(2)),
        lambda: xp.average(xp.ones((2, 3)), 0, xp.ones(3)), lambda: xp.gradient(xp.ones(1)), lambda: xp.histogram(xp.ones(3), 0),
    ],
)  # fmt: skip
def test_refusals_of_values(call) -> None:
    with pytest.raises(ArrayValueError):
        call()


def test_refusals_of_dtypes() -> None:
    for call in (
        lambda: xp.gcd(xp.ones(2), 2),
        lambda: xp.pad(xp.ones(2), 1, "linear_ramp"),
        lambda: xp.nan_to_num(like(C)),
    ):
        with pytest.raises(ArrayTypeError):
            call()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(0, 1))
@examples(20, 300)
def test_quantiles(values, q) -> None:
    wanted = np.quantile(values, q)
    np.testing.assert_allclose(np.asarray(xp.quantile(xp.asarray(values), q)), wanted, rtol=1e-9, atol=1e-6)


@given(
    st.integers(1, 9),
    st.integers(0, 25),
    st.integers(0, 25),
    st.sampled_from(["edge", "wrap", "reflect", "symmetric"]),
)
@examples(26, 400)
def test_padding(n, before, after, mode) -> None:
    x = np.arange(n)
    np.testing.assert_array_equal(
        np.asarray(xp.pad(like(x), (before, after), mode)), np.pad(x, (before, after), mode)
    )


def test_random_sequences() -> None:
    rng = xp.random
    rng.seed(7)
    first = rng.rand(3, 4)
    rng.seed(7)
    assert xp.array_equal(first, rng.rand(3, 4))
    x = np.asarray(rng.randn(100_001))
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    k = np.asarray(rng.randint(-3, 4, (7000,)))
    assert set(np.unique(k)) == set(range(-3, 4))
    assert np.bincount(k + 3).min() > 800
    assert sorted(rng.permutation(50).tolist()) == list(range(50))
    rows = xp.reshape(xp.arange(20), (10, 2))
    rng.shuffle(rows)
    assert sorted(rows.tolist()) == np.arange(20).reshape(10, 2).tolist()
    assert len(set(rng.choice(9, 9, replace=False).tolist())) == 9
    assert all(2 <= v < 3 for v in rng.uniform(2.0, 3.0, 50).tolist())
    assert (
        rng.default_rng(1).random(4).tolist()
        == rng.default_rng(1).random(4).tolist()
        != rng.default_rng(2).random(4).tolist()
    )
    assert rng.default_rng(3).integers(0, 1 << 8, 9, "uint8").dtype == xp.uint8
    for bad in (
        lambda: rng.randint(3, 3),
        lambda: rng.normal(0, -1),
        lambda: rng.choice(2, 3, replace=False),
    ):
        with pytest.raises(ArrayValueError):
            bad()
