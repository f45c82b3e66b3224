"""The emulated instructions against NumPy: what SIMDe lacks and is written here, and its own dot products."""

import ctypes
from pathlib import Path

import emulated
import ml_dtypes
import numpy as np
import pytest

RNG = np.random.default_rng(0)
SPECIAL = np.array(
    [0.0, -0.0, 1e-40, -1e-40, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 2.5, -3.5, 65520, 1e-7, -1, 0.5, 7],
    "f4",
)
FLOATS = [SPECIAL, *(RNG.standard_normal((6, 16)) * [[1], [1e-3], [40], [1e4], [1e20], [1e9]]).astype("f4")]


def integers(dtype, count):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    values = RNG.integers(low, high, count, dtype, endpoint=True)
    values[:4] = low, high, 0, high
    return values


def call(name, dtype, count, *operands):
    """What an instruction gives for operands in memory."""
    library = emulated.library(Path(__file__).with_name("intrinsics.cpp"))
    made = np.zeros(count, dtype)
    kept = [np.ascontiguousarray(o) for o in operands]
    getattr(library, name)(*(ctypes.c_void_p(a.ctypes.data) for a in (made, *kept)))
    return made


@pytest.mark.parametrize(
    ("name", "given", "made", "count"),
    [
        ("cvtepu8_epi32", "u1", "i4", 16), ("cvtepi8_epi32", "i1", "i4", 16), ("cvtepu8_epi16", "u1", "i2", 32),
        ("cvtepi32_epi8", "i4", "i1", 16), ("cvtepi32_ps", "i4", "f4", 16),
    ],
)  # fmt: skip
def test_conversions_of_integers(name, given, made, count):
    x = integers(np.dtype(given), count)
    np.testing.assert_array_equal(call(name, made, count, x), x.astype(made))


@pytest.mark.parametrize("x", FLOATS, ids=range(len(FLOATS)))
def test_conversions_of_floats(x):
    with np.errstate(all="ignore"):
        fits = (x >= -(2.0**31)) & (x < 2.0**31)
        np.testing.assert_array_equal(
            call("cvtps_epi32", "i4", 16, x),
            np.where(fits, np.rint(np.where(fits, x, 0)), -(2**31)).astype("i4"),
        )
        half = x.astype("f2")
    np.testing.assert_array_equal(call("cvtps_ph", "f2", 16, x), half)
    np.testing.assert_array_equal(call("cvtph_ps", "f4", 16, half), half.astype("f4"))
    np.testing.assert_array_equal(call("abs_ps", "f4", 16, x).view("u4"), x.view("u4") & 0x7FFFFFFF)
    np.testing.assert_array_equal(call("floor_ps", "f4", 16, x), np.floor(x))
    np.testing.assert_array_equal(call("ceil_ps", "f4", 16, x), np.ceil(x))


@pytest.mark.parametrize("x", FLOATS, ids=range(len(FLOATS)))
def test_bfloat16_rounds_to_nearest_even_and_flushes_subnormals(x):
    made = call("cvtne2ps_pbh", "u2", 32, x, x[::-1])  # the second operand is the low half
    want = np.concatenate([x[::-1], x])
    want = np.where(np.abs(want) < np.finfo("f4").tiny, np.copysign(np.float32(0), want), want)
    want = want.astype(ml_dtypes.bfloat16)
    nan = np.isnan(want.astype("f4"))
    np.testing.assert_array_equal(made[~nan], want.view("u2")[~nan])
    assert np.isnan(made.view(ml_dtypes.bfloat16).astype("f4")[nan]).all()


@pytest.mark.parametrize("x", FLOATS[1:], ids=range(1, len(FLOATS)))
def test_arithmetic_and_masks(x):
    bits = x.view("i4")
    np.testing.assert_array_equal(call("srai_epi32", "i4", 16, bits), bits >> 7)
    np.testing.assert_allclose(
        call("reduce_add_ps", "f4", 1, x)[0], x.sum(dtype="f8"), rtol=0, atol=1e-6 * np.abs(x).sum()
    )
    assert call("reduce_max_ps", "f4", 1, x)[0] == x.max()
    assert call("reduce_min_ps", "f4", 1, x)[0] == x.min()
    y = x[::-1].copy()
    a, b = x.reshape(4, 4), y.reshape(4, 4)
    np.testing.assert_array_equal(
        call("shuffle_f32x4", "f4", 16, x, y).reshape(4, 4), [a[0], a[2], b[1], b[3]]
    )
    for mask in (0, 1, 0x7FFF, 0xFFFF, 0xA5A5):
        kept = np.array([mask >> i & 1 for i in range(16)], bool)
        short = np.array([mask], "u2")
        for kind, v in (("ps", x), ("epi32", bits)):
            np.testing.assert_array_equal(
                call(f"maskz_loadu_{kind}", v.dtype, 16, short, v), np.where(kept, v, 0)
            )
            np.testing.assert_array_equal(
                call(f"mask_storeu_{kind}", v.dtype, 16, short, v), np.where(kept, v, 0)
            )


def test_scalef_rounds_once_and_takes_the_floor_of_the_exponent():
    x = np.array(
        [1, -1, 1.5, 1e-40, 3, 1, 0, np.inf, 1, np.nan, 1.1754944e-38, 1.9999999, 1, 1, -0.0, 1], "f4"
    )
    n = np.array(
        [0, 3.7, -1.2, 100, -150, -149, np.inf, -np.inf, 400, 1, -3, -127, -140.5, 127, 5, -1e30], "f4"
    )
    with np.errstate(all="ignore"):
        want = np.ldexp(x.astype("f8"), np.clip(np.floor(n), -900, 900).astype("i4")).astype("f4")
    want[[6, 7]] = np.nan  # 0 times infinity and its converse
    np.testing.assert_array_equal(call("scalef_ps", "f4", 16, x, n), want)


@pytest.mark.parametrize(
    ("name", "lanes"), [("dpbusd", 16), ("dpbusd_avx", 8), ("dpwssd", 16), ("dpwssd_avx", 8)]
)
def test_integer_dot_products_wrap(name, lanes):
    kinds, width = (("u1", "i1"), 4) if "busd" in name else (("i2", "i2"), 2)
    c = integers(np.dtype("i4"), lanes)
    a, b = (integers(np.dtype(k), lanes * width) for k in kinds)
    sums = (a.astype("i8") * b).reshape(lanes, width).sum(1) + c
    np.testing.assert_array_equal(call(name, "i4", lanes, c, a, b), sums.astype("i4"))


def test_products_of_pairs():
    a, b = integers(np.dtype("i2"), 32), integers(np.dtype("i2"), 32)
    np.testing.assert_array_equal(
        call("madd_epi16", "i4", 16, a, b), (a.astype("i8") * b).reshape(16, 2).sum(1).astype("i4")
    )


def test_dot_products_of_bfloat16_sum_in_float32():
    c = RNG.standard_normal(16).astype("f4")
    a, b = (RNG.standard_normal(32).astype(ml_dtypes.bfloat16) for _ in range(2))
    terms = (a.astype("f8") * b.astype("f8")).reshape(16, 2)
    made = call("dpbf16_ps", "f4", 16, c, a.view("u2"), b.view("u2"))
    bound = 2**-23 * (np.abs(terms).sum(1) + np.abs(c))
    assert (np.abs(made - (terms.sum(1) + c)) <= bound).all()
