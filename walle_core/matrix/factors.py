"""Factorisations of matrices, and what follows from them directly: systems of equations, inverses, determinants.

Made in double precision and rounded once to the argument's dtype; integers count as float64. Names are those of `linalg`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from walle_core.matrix import _algorithms, _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, FLOAT32, FLOAT64, PROMOTED
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.products import broadcast_shapes, fresh


class LinAlgError(ArrayValueError):
    """A matrix for which there is no result: singular, not positive definite, or without convergence."""


class EighResult(NamedTuple):
    """Eigenvalues [..., n], ascending, and eigenvectors [..., n, n] as columns."""

    eigenvalues: Array
    eigenvectors: Array


class QRResult(NamedTuple):
    """Q [..., m, k] with orthonormal columns, and upper triangular R [..., k, n]."""

    Q: Array
    R: Array


class SlogdetResult(NamedTuple):
    """Sign (of magnitude 1, or 0) and natural logarithm of the determinant's magnitude, [...]."""

    sign: Array
    logabsdet: Array


class SVDResult(NamedTuple):
    """U [..., m, k], singular values S [..., min(m, n)] descending, and Vh [..., k, n]."""

    U: Array
    S: Array
    Vh: Array


def real_code(code: int) -> int:
    """Number of the real dtype of a floating one."""
    return code - 2 if code >= COMPLEX64 else code


def matrices(name: str, x: Any, square: bool = False) -> Array:
    """`x` as floating matrices. Raises ArrayValueError, ArrayTypeError."""
    x = _array.asarray_core(x, -1, None)
    if x.code == 0:
        raise ArrayTypeError(f"{name}() takes numbers, not bool")
    if x.code < FLOAT32:
        x = _array.astype_core(x, FLOAT64, False)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ArrayValueError(
            f"{name}() takes {'square ' if square else ''}matrices [..., m, n], not shape {x.shape}"
        )
    made: Array = x
    return made


def count_of(x: Array) -> int:
    """How many matrices there are."""
    count = 1
    for size in x.shape[:-2]:
        count *= size
    return count


def cholesky(x: Array, /, *, upper: bool = False) -> Array:
    """L with x = L L^H, or U with x = U^H U. Reads that triangle of x only.

    Args:
        x: [..., n, n], Hermitian and positive definite.
        upper: for U.

    Raises:
        LinAlgError: a matrix is not positive definite.
        ArrayValueError, ArrayTypeError: no square matrices of numbers.
    """
    x = matrices("cholesky", x, square=True)
    out = fresh(x.code, x.shape)
    bad = _algorithms.cholesky(x.code, x.tensor, out.tensor, count_of(x), x.shape[-1], upper)
    if bad >= 0:
        raise LinAlgError(f"cholesky(): matrix {bad} of the stack is not positive definite")
    return out


def det(x: Array, /) -> Array:
    """Determinants [...] of x [..., n, n]; 1 where n is 0. Raises ArrayValueError, ArrayTypeError."""
    x = matrices("det", x, square=True)
    out = fresh(x.code, x.shape[:-2])
    _algorithms.det(x.code, x.tensor, out.tensor, None, None, count_of(x), x.shape[-1])
    return out


def slogdet(x: Array, /) -> SlogdetResult:
    """Sign and logarithm of the determinants of x [..., n, n]: (0, -inf) if singular. Raises ArrayValueError."""
    x = matrices("slogdet", x, square=True)
    sign, log = fresh(x.code, x.shape[:-2]), fresh(real_code(x.code), x.shape[:-2])
    _algorithms.det(x.code, x.tensor, None, sign.tensor, log.tensor, count_of(x), x.shape[-1])
    return SlogdetResult(sign, log)


def eigh(x: Array, /, *, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of Hermitian matrices.

    Args:
        x: [..., n, n]; one triangle is read.
        UPLO: ``L`` or ``U``: which.

    Raises:
        LinAlgError: no convergence.
        ArrayValueError, ArrayTypeError: no square matrices of numbers.
    """
    x = matrices("eigh", x, square=True)
    values, vectors = fresh(real_code(x.code), x.shape[:-1]), fresh(x.code, x.shape)
    _eigh("eigh", x, values, vectors, UPLO)
    return EighResult(values, vectors)


def eigvalsh(x: Array, /, *, UPLO: str = "L") -> Array:
    """The eigenvalues that `eigh` gives, without the vectors."""
    x = matrices("eigvalsh", x, square=True)
    values = fresh(real_code(x.code), x.shape[:-1])
    _eigh("eigvalsh", x, values, None, UPLO)
    return values


def _eigh(name: str, x: Array, values: Array, vectors: Array | None, triangle: str) -> None:
    if triangle not in ("L", "U"):
        raise ArrayValueError(f"{name}(): UPLO must be 'L' or 'U', not {triangle!r}")
    into = vectors.tensor if vectors is not None else None
    bad = _algorithms.eigh(x.code, x.tensor, values.tensor, into, count_of(x), x.shape[-1], triangle == "U")
    if bad >= 0:
        raise LinAlgError(f"{name}(): no convergence for matrix {bad} of the stack")


def inv(x: Array, /) -> Array:
    """Inverses of x [..., n, n]. Raises LinAlgError for a singular one, ArrayValueError, ArrayTypeError."""
    x = matrices("inv", x, square=True)
    out = fresh(x.code, x.shape)
    n = x.shape[-1]
    bad = _algorithms.solve(x.code, x.tensor, None, out.tensor, count_of(x), n, n)
    if bad >= 0:
        raise LinAlgError(f"inv(): matrix {bad} of the stack is singular; pinv() gives the pseudo-inverse")
    return out


def solve(x1: Array, x2: Array, /) -> Array:
    """The solution of x1 @ result = x2.

    Args:
        x1: [..., n, n].
        x2: [n], or [..., n, m].

    Raises:
        LinAlgError: a matrix is singular.
        ArrayValueError, ArrayTypeError: shapes that do not fit, no numbers.
    """
    a, b = matrices("solve", x1, square=True), _array.asarray_core(x2, -1, None)
    vector, n = b.ndim == 1, a.shape[-1]
    if b.ndim == 0 or b.shape[0 if vector else -2] != n:
        raise ArrayValueError(f"solve() of {a.shape} and {b.shape}: the right side needs {n} rows")
    code = max(FLOAT32, PROMOTED[13 * a.code + b.code])
    a, b = _array.astype_core(a, code, False), _array.astype_core(b, code, False)
    if vector:
        b = _array.reshape_core(b, (n, 1))
    lead, m = broadcast_shapes(a.shape[:-2], b.shape[:-2]), b.shape[-1]
    a, b = spread(a, (*lead, n, n)), spread(b, (*lead, n, m))
    out = fresh(code, (*lead, n) if vector else (*lead, n, m))
    bad = _algorithms.solve(code, a.tensor, b.tensor, out.tensor, count_of(a), n, m)
    if bad >= 0:
        raise LinAlgError(f"solve(): matrix {bad} of the stack is singular")
    return out


def spread(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` broadcast."""
    return x if x.shape == shape else _array.broadcast_core(x, shape)


def qr(x: Array, /, *, mode: str = "reduced") -> QRResult:
    """Q R = x.

    Args:
        x: [..., m, n].
        mode: ``reduced``: k = min(m, n) columns of Q; ``complete``: k = m.

    Raises:
        ArrayValueError, ArrayTypeError: another mode, no matrices of numbers.
    """
    if mode not in ("reduced", "complete"):
        raise ArrayValueError(f"qr(): mode must be 'reduced' or 'complete', not {mode!r}")
    x = matrices("qr", x)
    m, n = x.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    q, r = fresh(x.code, (*x.shape[:-2], m, k)), fresh(x.code, (*x.shape[:-2], k, n))
    _algorithms.qr(x.code, x.tensor, q.tensor, r.tensor, count_of(x), m, n, mode == "complete")
    return QRResult(q, r)


def svd(x: Array, /, *, full_matrices: bool = True) -> SVDResult:
    """U diag(S) Vh = x.

    Args:
        x: [..., m, n].
        full_matrices: square U [m, m] and Vh [n, n]; else of min(m, n) columns and rows.

    Raises:
        LinAlgError: no convergence.
        ArrayValueError, ArrayTypeError: no matrices of numbers.
    """
    x = matrices("svd", x)
    m, n = x.shape[-2:]
    k, lead = min(m, n), x.shape[:-2]
    u = fresh(x.code, (*lead, m, m if full_matrices else k))
    vh = fresh(x.code, (*lead, n if full_matrices else k, n))
    s = fresh(real_code(x.code), (*lead, k))
    bad = _algorithms.svd(x.code, x.tensor, u.tensor, s.tensor, vh.tensor, count_of(x), m, n, full_matrices)
    if bad >= 0:
        raise LinAlgError(f"svd(): no convergence for matrix {bad} of the stack")
    return SVDResult(u, s, vh)


def svdvals(x: Array, /) -> Array:
    """The singular values that `svd` gives, without the factors."""
    x = matrices("svdvals", x)
    m, n = x.shape[-2:]
    s = fresh(real_code(x.code), (*x.shape[:-2], min(m, n)))
    bad = _algorithms.svd(x.code, x.tensor, None, s.tensor, None, count_of(x), m, n, False)
    if bad >= 0:
        raise LinAlgError(f"svdvals(): no convergence for matrix {bad} of the stack")
    return s
