"""Fourier transforms against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matrix_arrays import examples

from walle_core import matrix as xp
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError

F = xp.fft
NORMS = ["backward", "ortho", "forward"]
DTYPES = ["float32", "float64", "complex64", "complex128"]
LENGTHS = [
    *range(1, 68),
    96,
    97,
    100,
    121,
    128,
    169,
    210,
    243,
    251,
    256,
    289,
    509,
    512,
    1000,
    1001,
    1009,
    1024,
    2310,
    4096,
    30030,
]


def drawn(rng, shape, dtype):
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def of(x):
    return xp.Array.of(np.ascontiguousarray(x))


def near(got, wanted, single: bool) -> None:
    a, b = np.asarray(got), np.asarray(wanted)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    if a.size:  # the error grows with the logarithm of the length
        assert np.abs(a - b).max() <= (4e-6 if single else 8e-15) * max(np.abs(b).max(), 1e-300)


@pytest.mark.parametrize("n", LENGTHS)
def test_lengths(n) -> None:
    rng = np.random.default_rng(n)
    for dtype in DTYPES:
        single = dtype in ("float32", "complex64")
        x = drawn(rng, (2, n), dtype)
        near(F.fft(of(x)), np.fft.fft(x), single)
        near(F.ifft(of(x)), np.fft.ifft(x), single)
        near(F.irfft(of(x), n=n), np.fft.irfft(x, n=n), single)
        near(F.hfft(of(x), n=n), np.fft.hfft(x, n=n), single)
        if dtype.startswith("float"):
            near(F.rfft(of(x)), np.fft.rfft(x), single)
            near(F.ihfft(of(x)), np.fft.ihfft(x), single)
            near(F.irfft(F.rfft(of(x)), n=n), x, single)


@st.composite
def cases(draw):
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 12), min_size=rank, max_size=rank)))
    axis = draw(st.integers(-rank, rank - 1))
    n = draw(st.none() | st.integers(1, 20))
    return (
        shape,
        axis,
        n,
        draw(st.sampled_from(NORMS)),
        draw(st.sampled_from(DTYPES)),
        draw(st.integers(0, 1 << 30)),
    )


@given(cases())
@examples(66, 1000)
def test_one_dimension(case) -> None:
    shape, axis, n, norm, dtype, seed = case
    x = drawn(np.random.default_rng(seed), shape, dtype)
    single = dtype in ("float32", "complex64")
    names = ["fft", "ifft", *(["rfft", "ihfft"] if dtype.startswith("float") else [])]
    names += ["irfft", "hfft"] if n is not None or shape[axis] > 1 else []
    for name in names:
        near(
            getattr(F, name)(of(x), n=n, axis=axis, norm=norm),
            getattr(np.fft, name)(x, n=n, axis=axis, norm=norm),
            single,
        )


@given(cases(), st.data())
@examples(50, 750)
def test_several_dimensions(case, data) -> None:
    shape, _, _, norm, dtype, seed = case
    x = drawn(np.random.default_rng(seed), shape, dtype)
    single = dtype in ("float32", "complex64")
    axes = data.draw(st.permutations(range(len(shape))))[: data.draw(st.integers(1, len(shape)))]
    s = [data.draw(st.integers(2, 9)) for _ in axes] if data.draw(st.booleans()) else None
    for name in ("fftn", "ifftn", *(("rfftn",) if dtype.startswith("float") else ())):
        near(
            getattr(F, name)(of(x), s=s, axes=axes, norm=norm),
            getattr(np.fft, name)(x, s=s, axes=axes, norm=norm),
            single,
        )
    if s is not None or shape[axes[-1]] > 1:
        near(F.irfftn(of(x), s=s, axes=axes, norm=norm), np.fft.irfftn(x, s=s, axes=axes, norm=norm), single)


def test_all_dimensions_and_two() -> None:
    x = drawn(np.random.default_rng(0), (3, 4, 6), "float64")
    for name in ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"):
        near(getattr(F, name)(of(x)), getattr(np.fft, name)(x), single=False)


@given(st.integers(1, 40), st.floats(0.01, 100))
@examples(16, 250)
def test_frequencies(n, d) -> None:
    for name in ("fftfreq", "rfftfreq"):
        np.testing.assert_allclose(
            np.asarray(getattr(F, name)(n, d=d)), getattr(np.fft, name)(n, d), rtol=1e-15
        )
        assert getattr(F, name)(n, d=d, dtype=xp.float32).dtype == xp.float32


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.data())
@examples(20, 300)
def test_shifts(shape, data) -> None:
    x = np.arange(int(np.prod(shape))).reshape(shape)
    axes = data.draw(st.none() | st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    for name in ("fftshift", "ifftshift"):
        np.testing.assert_array_equal(
            np.asarray(getattr(F, name)(of(x), axes=axes)), getattr(np.fft, name)(x, axes=axes)
        )


def test_integers_empty_batches_and_scales() -> None:
    assert F.fft(xp.asarray([1, 2, 3, 4])).tolist() == [10, -2 + 2j, -2, -2 - 2j]
    assert F.fft(xp.ones((0, 4))).shape == (0, 4)
    assert F.rfft(xp.ones((4, 0)), axis=0).shape == (3, 0)
    for factor in (1e-300, 1e300):
        x = np.array([1.0, -2.0, 0.5, 3.0, 1.0]) * factor
        near(F.fft(of(x)), np.fft.fft(x), single=False)


def test_more_plans_than_are_kept() -> None:
    x = drawn(np.random.default_rng(1), (64,), "complex128")
    for n in [*range(1, 40), *range(39, 0, -1)]:
        near(F.fft(of(x), n=n), np.fft.fft(x, n=n), single=False)


def test_refusals() -> None:
    x = xp.ones((2, 4))
    for call in (lambda: F.fft(x, n=0), lambda: F.fft(x, norm="unit"), lambda: F.fft(x, axis=2), lambda: F.fft(xp.asarray(1.0)),
                 lambda: F.fftn(x, s=[2], axes=[0, 1]), lambda: F.fftn(x, axes=[0, 0]), lambda: F.irfft(xp.ones(1)),
                 lambda: F.fftfreq(0), lambda: F.rfftfreq(0)):  # fmt: skip
        with pytest.raises(ArrayValueError):
            call()
    for call in (lambda: F.rfft(xp.ones(4, dtype=xp.complex64)), lambda: F.fftfreq(4, dtype=xp.int32)):
        with pytest.raises(ArrayTypeError):
            call()
