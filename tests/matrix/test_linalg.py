"""Linear algebra against NumPy's, and against what the results must satisfy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matrix_arrays import examples

from walle_core import matrix as xp
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError

L = xp.linalg
DTYPES = ["float32", "float64", "complex64", "complex128"]
SHAPES = [
    (1, 1),
    (2, 3),
    (3, 2),
    (5, 5),
    (1, 7),
    (7, 1),
    (17, 9),
    (9, 17),
    (40, 40),
    (70, 65),
    (0, 3),
    (3, 0),
    (0, 0),
]
LEADS = [(), (2,), (3, 1), (0,)]


def drawn(rng, shape, dtype):
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def of(x):
    return xp.Array.of(np.ascontiguousarray(x)) if x.ndim else xp.asarray(x.item())


def eps(dtype) -> float:
    return float(np.finfo(dtype).eps)


def near(got, wanted, tolerance, scale=None) -> None:
    a, b = np.asarray(got), np.asarray(wanted)
    assert a.shape == b.shape
    size = scale if scale is not None else (np.abs(b).max() if b.size else 1)
    assert a.size == 0 or np.abs(a - b).max() <= tolerance * max(size, 1e-300)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("lead", LEADS, ids=str)
def test_qr(dtype, shape, lead) -> None:
    x = drawn(np.random.default_rng(1), (*lead, *shape), dtype)
    for mode in ("reduced", "complete"):
        q, r = map(np.asarray, L.qr(of(x), mode=mode))
        k = shape[0] if mode == "complete" else min(shape)
        assert q.shape == (*lead, shape[0], k)
        assert r.shape == (*lead, k, shape[1])
        assert q.dtype == r.dtype == x.dtype
        near(q @ r, x, 30 * eps(dtype), np.abs(x).max() * 8 if x.size else 1)
        near(adjoint(q) @ q, np.broadcast_to(np.eye(k), (*lead, k, k)), 30 * eps(dtype))
        assert (np.tril(r, -1) == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("lead", LEADS, ids=str)
def test_svd(dtype, shape, lead) -> None:
    x = drawn(np.random.default_rng(2), (*lead, *shape), dtype)
    wanted = np.linalg.svd(x, compute_uv=False)
    near(L.svdvals(of(x)), wanted, 30 * eps(dtype))
    for full in (True, False):
        u, s, vh = map(np.asarray, L.svd(of(x), full_matrices=full))
        k = min(shape)
        near(s, wanted, 30 * eps(dtype))
        assert s.dtype == wanted.dtype
        near(
            (u[..., :k] * s[..., None, :]) @ vh[..., :k, :],
            x,
            60 * eps(dtype),
            wanted.max() if wanted.size else 1,
        )
        near(
            adjoint(u) @ u,
            np.broadcast_to(np.eye(u.shape[-1]), (*lead, u.shape[-1], u.shape[-1])),
            60 * eps(dtype),
        )
        near(
            vh @ adjoint(vh),
            np.broadcast_to(np.eye(vh.shape[-2]), (*lead, vh.shape[-2], vh.shape[-2])),
            60 * eps(dtype),
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 8, 33, 70])
@pytest.mark.parametrize("lead", LEADS, ids=str)
def test_eigh_cholesky_solve_inv_det(dtype, n, lead) -> None:
    rng = np.random.default_rng(3)
    x = drawn(rng, (*lead, n, n), dtype)
    h = x + adjoint(x)
    for triangle in ("L", "U"):
        only = np.tril(h) if triangle == "L" else np.triu(h)  # the other triangle is not read
        w, v = map(np.asarray, L.eigh(of(only), UPLO=triangle))
        near(w, np.linalg.eigvalsh(h), 60 * eps(dtype))
        near(L.eigvalsh(of(only), UPLO=triangle), w, 8 * eps(dtype))
        near(h @ v, v * w[..., None, :], 100 * eps(dtype), np.abs(w).max() if w.size else 1)
        near(adjoint(v) @ v, np.broadcast_to(np.eye(n), h.shape), 60 * eps(dtype))
    p = x @ adjoint(x) + n * np.eye(n, dtype=dtype)
    low, up = np.asarray(L.cholesky(of(p))), np.asarray(L.cholesky(of(p), upper=True))
    near(low @ adjoint(low), p, 30 * eps(dtype))
    near(up, adjoint(low), 30 * eps(dtype))
    assert (np.triu(low, 1) == 0).all()
    good = x + 3 * n * np.eye(n, dtype=dtype)
    b = drawn(rng, (n, 4), dtype)
    near(L.solve(of(good), of(b)), np.linalg.solve(good, np.broadcast_to(b, (*lead, n, 4))), 100 * eps(dtype))
    near(L.inv(of(good)), np.linalg.inv(good), 100 * eps(dtype))
    mild = x / max(1, n) ** 0.5 * 2  # whose determinant fits the dtype
    near(L.det(of(mild)), np.linalg.det(mild), 3e3 * eps(dtype))
    for got, wanted in zip(L.slogdet(of(x)), np.linalg.slogdet(x), strict=True):
        near(got, wanted, 3e3 * eps(dtype), 1)
    assert np.asarray(L.slogdet(of(x))[1]).dtype == np.linalg.slogdet(x)[1].dtype


def test_a_vector_as_right_side() -> None:
    a, b = (
        drawn(np.random.default_rng(0), (4, 3, 3), "float64"),
        drawn(np.random.default_rng(1), (3,), "float64"),
    )
    near(L.solve(of(a), of(b)), np.linalg.solve(a, b[:, None])[..., 0], 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", ["tiny", "huge", "subnormal"])
def test_scales(dtype, scale) -> None:
    """Neither overflow nor underflow where the results themselves have none."""
    if scale == "subnormal" and dtype.startswith("complex"):
        pytest.skip("NumPy cannot scale subnormal complex numbers up for the comparison")
    info = np.finfo(dtype)
    factor = {
        "tiny": float(info.tiny) * 64,
        "huge": float(info.max) / 1024,
        "subnormal": float(info.tiny) / 16,
    }[scale]
    loose = 1e-2 if scale == "subnormal" and "32" in str(info.dtype) else 1e-4 if info.eps > 1e-10 else 1e-9
    x = (
        drawn(np.random.default_rng(4), (6, 6), dtype).astype("complex128" if dtype[0] == "c" else "float64")
        * factor
    ).astype(dtype)
    h = np.tril(x) + adjoint(np.tril(x, -1))
    np.fill_diagonal(h, np.real(np.diag(h)))
    wide = "complex128" if dtype[0] == "c" else "float64"
    near(L.svdvals(of(x)), np.linalg.svd(x.astype(wide) / factor, compute_uv=False) * factor, loose)
    near(L.eigvalsh(of(h)), np.linalg.eigvalsh(h.astype(wide) / factor) * factor, loose)
    q, r = map(np.asarray, L.qr(of(x)))
    near(adjoint(q) @ q, np.eye(6), loose)
    near((q.astype(wide) @ (r / factor)), x.astype(wide) / factor, loose)
    near(L.vector_norm(of(x)), np.linalg.norm(x.astype(wide) / factor) * factor, loose)


def test_rank_deficient_and_ill_conditioned() -> None:
    rng = np.random.default_rng(5)
    x = drawn(rng, (8, 3), "float64") @ drawn(rng, (3, 6), "float64")
    assert L.matrix_rank(of(x)).item() == 3
    assert L.matrix_rank(xp.zeros((2, 4, 3))).tolist() == [0, 0]
    assert L.matrix_rank(of(np.diag([1.0, 1e-3, 0.0])), rtol=1e-2).item() == 1
    near(L.pinv(of(x)), np.linalg.pinv(x), 1e-12)
    hilbert = 1.0 / (np.arange(12)[:, None] + np.arange(12) + 1)
    wanted = np.linalg.svd(hilbert, compute_uv=False)
    assert np.abs(np.asarray(L.svdvals(of(hilbert))) - wanted).max() < 1e-15
    assert np.abs(np.asarray(L.eigvalsh(of(hilbert)))[::-1] - wanted).max() < 1e-15
    graded = np.diag(10.0 ** -np.arange(0, 300, 20))
    near(L.svdvals(of(graded)) / of(np.diag(graded)), np.ones(15), 1e-14)  # each to full relative precision
    for same in (np.ones((5, 5)), np.eye(5), np.zeros((5, 5)), np.eye(5)[::-1]):
        u, s, vh = map(np.asarray, L.svd(of(same)))
        near((u * s) @ vh, same, 1e-14, 5)
        w, v = map(np.asarray, L.eigh(of(same)))
        near((v * w) @ v.T, same, 1e-14, 5)


def test_refusals() -> None:
    with pytest.raises(L.LinAlgError, match="matrix 1 of the stack is singular"):
        L.inv(of(np.stack([np.eye(2), np.ones((2, 2))])))
    with pytest.raises(L.LinAlgError, match="singular"):
        L.solve(xp.zeros((2, 2)), xp.ones(2))
    with pytest.raises(L.LinAlgError, match="not positive definite"):
        L.cholesky(of(-np.eye(2)))
    with pytest.raises(ArrayValueError, match="square matrices"):
        L.det(xp.ones((2, 3)))
    with pytest.raises(ArrayTypeError, match="bool"):
        L.svd(xp.ones((2, 2), dtype=xp.bool))
    for call in (lambda: L.qr(xp.ones((2, 2)), mode="raw"), lambda: L.matrix_norm(xp.ones((2, 2)), ord=3),
                 lambda: L.eigh(xp.ones((2, 2)), UPLO="X"), lambda: L.cross(xp.ones(2), xp.ones(3)),
                 lambda: xp.matmul(xp.ones((2, 3)), xp.ones((2, 3))), lambda: xp.matmul(xp.asarray(1.0), xp.ones(2)),
                 lambda: xp.vecdot(xp.ones(2), xp.ones(3)), lambda: L.outer(xp.ones((2, 2)), xp.ones(2)),
                 lambda: xp.tensordot(xp.ones((2, 3)), xp.ones((3, 2)))):  # fmt: skip
        with pytest.raises(ArrayValueError):
            call()
    with pytest.raises(ArrayTypeError):
        xp.matmul(xp.ones((2, 2), dtype=xp.bool), xp.ones((2, 2), dtype=xp.bool))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entries_that_are_not_finite_end(bad) -> None:
    x = np.eye(4)
    x[2, 1] = bad
    assert np.isnan(np.asarray(L.svdvals(of(x)))).all()
    assert np.isnan(np.asarray(L.eigvalsh(of(x)))).all()
    assert not np.isfinite(np.asarray(L.qr(of(x)).R)).all()


FAMILIES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", *DTYPES]


@st.composite
def products(draw):
    m, k, n = (draw(st.integers(0, 9) | st.sampled_from([16, 33, 65])) for _ in range(3))
    lead = draw(st.lists(st.integers(0, 3), max_size=2))
    a_lead = [1 if draw(st.booleans()) else s for s in lead][draw(st.integers(0, len(lead))) :]
    b_lead = [1 if draw(st.booleans()) else s for s in lead][draw(st.integers(0, len(lead))) :]
    a, b = (*a_lead, m, k), (*b_lead, k, n)
    if not a_lead and draw(st.booleans()):
        a = (k,)
    if not b_lead and draw(st.booleans()):
        b = (k,)
    return a, b, draw(st.sampled_from(FAMILIES)), draw(st.integers(0, 1 << 30))


@given(products())
@examples(100, 1500)
def test_matmul(case) -> None:
    a_shape, b_shape, dtype, seed = case
    rng = np.random.default_rng(seed)
    if dtype in DTYPES:
        a, b = drawn(rng, a_shape, dtype), drawn(rng, b_shape, dtype)
    else:
        info = np.iinfo(dtype)
        a, b = (rng.integers(info.min, info.max, s, dtype, endpoint=True) for s in (a_shape, b_shape))
    got, wanted = np.asarray(xp.matmul(of(a), of(b))), np.asarray(a @ b)
    assert got.dtype == wanted.dtype
    if dtype in DTYPES:
        near(
            got,
            wanted,
            4 * eps(dtype) * max(4, a.shape[-1]),
            float(np.max(np.abs(a), initial=1) * np.max(np.abs(b), initial=1)),
        )
    else:
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(128, 300, 129), (300, 513, 7), (1, 700, 2100), (97, 1, 257), (260, 600, 1100)], ids=str
)
def test_large_products(dtype, shape) -> None:
    m, k, n = shape
    rng = np.random.default_rng(6)
    a, b = drawn(rng, (m, k), dtype), drawn(rng, (k, n), dtype)
    near(xp.matmul(of(a), of(b)), a @ b, 20 * eps(dtype) * k**0.5, 4)


@given(
    st.integers(0, 1 << 30),
    st.integers(1, 3),
    st.integers(0, 3),
    st.sampled_from(["float64", "complex128", "int32"]),
)
@examples(26, 400)
def test_tensordot_and_vecdot(seed, rank, pairs, dtype) -> None:
    rng = np.random.default_rng(seed)
    assume(pairs <= rank)
    sizes = rng.integers(1, 5, rank)
    a_shape, b_shape = tuple(sizes), (*rng.permutation(sizes),)
    a, b = (
        10 * drawn(rng, s, "complex128" if dtype == "complex128" else "float64") for s in (a_shape, b_shape)
    )
    a, b = a.astype(dtype), b.astype(dtype)
    left = [int(i) for i in rng.permutation(rank)[:pairs]]
    right, free = [], list(range(rank))
    for i in left:
        j = next((j for j in free if b.shape[j] == a.shape[i]), None)
        assume(j is not None)
        free.remove(j)
        right.append(j)
    near(xp.tensordot(of(a), of(b), axes=(left, right)), np.tensordot(a, b, axes=(left, right)), 1e-12)
    c = (10 * drawn(rng, a_shape, "complex128" if dtype == "complex128" else "float64")).astype(dtype)
    axis = -int(rng.integers(1, rank + 1))
    near(xp.vecdot(of(a), of(c), axis=axis), np.vecdot(a, c, axis=axis), 1e-12, 1e3)


@given(
    st.integers(0, 1 << 30), st.integers(0, 6), st.integers(0, 6), st.integers(-7, 7), st.sampled_from(DTYPES)
)
@examples(33, 500)
def test_small_things(seed, m, n, offset, dtype) -> None:
    rng = np.random.default_rng(seed)
    x = drawn(rng, (2, m, n), dtype)
    np.testing.assert_array_equal(
        np.asarray(L.diagonal(of(x), offset=offset)), np.linalg.diagonal(x, offset=offset)
    )
    near(L.trace(of(x), offset=offset), np.linalg.trace(x, offset=offset), 1e-5, 10)
    np.testing.assert_array_equal(np.asarray(L.matrix_transpose(of(x))), np.linalg.matrix_transpose(x))
    near(
        L.outer(of(x[0, 0]) if m else xp.ones(0), xp.ones(2)),
        np.outer(x[0, 0] if m else np.ones(0), np.ones(2)),
        1e-6,
        10,
    )
    square = x[:, : min(m, n), : min(m, n)]
    power = int(rng.integers(0, 6))
    near(L.matrix_power(of(square), power), np.linalg.matrix_power(square, power), 1e-4)
    a, b = drawn(rng, (4, 3), dtype), drawn(rng, (1, 3), dtype)
    near(L.cross(of(a), of(b)), np.cross(a, b), 1e-5)
    near(L.cross(of(a.T), of(b.T), axis=0), np.cross(a, b, axis=1).T, 1e-5)


ORDERS = ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_matrix_norms(dtype, order) -> None:
    x = drawn(np.random.default_rng(8), (3, 4, 5), dtype)
    for keep in (True, False):
        wanted = np.linalg.matrix_norm(x, ord=order, keepdims=keep)
        got = L.matrix_norm(of(x), ord=order, keepdims=keep)
        near(got, wanted, 30 * eps(dtype))
        assert np.asarray(got).dtype == wanted.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [0, 1, 2, 3, -1, -2, 0.5, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (2, 1, 0)], ids=str)
def test_vector_norms(dtype, order, axis) -> None:
    x = drawn(np.random.default_rng(9), (3, 4, 5), dtype)
    for keep in (True, False):
        near(L.vector_norm(of(x), ord=order, axis=axis, keepdims=keep),
             np.linalg.vector_norm(x, ord=order, axis=axis, keepdims=keep), 100 * eps(dtype))  # fmt: skip


@pytest.mark.parametrize(
    ("order", "axis"), [(None, None), (2, None), ("fro", (0, 1)), (1, 1), (np.inf, (2, 0)), ("nuc", (1, 2))]
)
def test_numpy_norm(order, axis) -> None:
    x = drawn(np.random.default_rng(10), (3, 4, 5) if axis else (3, 4), "float64")
    for keep in (True, False):
        near(L.norm(of(x), order, axis, keep), np.linalg.norm(x, order, axis, keep), 1e-13)
