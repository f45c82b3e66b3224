"""Linear algebra: the array API standard's extension `linalg`, 2024.12, for real and complex stacks of matrices.

Factorisations are made in double precision and rounded once to the argument's dtype. Integers count as float64. Entries
that are not finite give results that are not, and no error. Sources of the algorithms are named in walle/matrix/*.hpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

from walle_core.matrix import _algorithms, _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, FLOAT32, FLOAT64, PROMOTED
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.products import (
    broadcast_shapes,
    dot,
    fresh,
    inner,
    matmul,
    matrix_transpose,
    normal_axis,
    outer,
    tensordot,
    vdot,
    vecdot,
)
from walle_core.matrix.sorting import count_nonzero, where

EPS = {FLOAT32: 2.0**-23, FLOAT64: 2.0**-52}


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


def _real(code: int) -> int:
    return code - 2 if code >= COMPLEX64 else code


def _matrices(name: str, x: Any, square: bool = False) -> Array:
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


def _count(x: Array) -> int:
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
    x = _matrices("cholesky", x, square=True)
    out = fresh(x.code, x.shape)
    bad = _algorithms.cholesky(x.code, x.tensor, out.tensor, _count(x), x.shape[-1], upper)
    if bad >= 0:
        raise LinAlgError(f"cholesky(): matrix {bad} of the stack is not positive definite")
    return out


def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Vector products along a dimension of size 3 of both; the others broadcast. Raises ArrayValueError."""
    shape = broadcast_shapes(x1.shape, x2.shape)
    axis = normal_axis(axis, len(shape)) - len(shape)
    if -axis > min(x1.ndim, x2.ndim) or x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ArrayValueError(
            f"cross() of shapes {x1.shape} and {x2.shape}: dimension {axis} must be of size 3"
        )

    def part(x: Array, i: int) -> Array:
        picked: Array = x[(..., i, *[slice(None)] * (-axis - 1))]
        return picked

    def product(i: int, j: int) -> Array:
        made: Array = part(x1, i) * part(x2, j) - part(x1, j) * part(x2, i)
        return made

    from walle_core import matrix

    return matrix.stack([product(1, 2), product(2, 0), product(0, 1)], axis=axis)


def det(x: Array, /) -> Array:
    """Determinants [...] of x [..., n, n]; 1 where n is 0. Raises ArrayValueError, ArrayTypeError."""
    x = _matrices("det", x, square=True)
    out = fresh(x.code, x.shape[:-2])
    _algorithms.det(x.code, x.tensor, out.tensor, None, None, _count(x), x.shape[-1])
    return out


def slogdet(x: Array, /) -> SlogdetResult:
    """Sign and logarithm of the determinants of x [..., n, n]: (0, -inf) if singular. Raises ArrayValueError."""
    x = _matrices("slogdet", x, square=True)
    sign, log = fresh(x.code, x.shape[:-2]), fresh(_real(x.code), x.shape[:-2])
    _algorithms.det(x.code, x.tensor, None, sign.tensor, log.tensor, _count(x), x.shape[-1])
    return SlogdetResult(sign, log)


def diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """Diagonals [..., k] of x [..., m, n], `offset` above the main one. Raises ArrayValueError."""
    if x.ndim < 2:
        raise ArrayValueError(f"diagonal() takes matrices [..., m, n], not shape {x.shape}")
    m, n = x.shape[-2:]
    count = max(0, min(m + min(offset, 0), n - max(offset, 0)))
    first = max(offset, 0) + max(-offset, 0) * n
    flat = _array.reshape_core(x, (*x.shape[:-2], m * n))
    if count == 0:
        return fresh(x.code, (*x.shape[:-2], 0))
    return _array.take_core(flat, _array.arange_core(first, count, n + 1, 4), x.ndim - 2)


def trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Sums [...] of the diagonals; `dtype` as for sum(). Raises ArrayValueError."""
    from walle_core import matrix

    return matrix.sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def eigh(x: Array, /, *, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of Hermitian matrices.

    Args:
        x: [..., n, n]; one triangle is read.
        UPLO: ``L`` or ``U``: which.

    Raises:
        LinAlgError: no convergence.
        ArrayValueError, ArrayTypeError: no square matrices of numbers.
    """
    x = _matrices("eigh", x, square=True)
    values, vectors = fresh(_real(x.code), x.shape[:-1]), fresh(x.code, x.shape)
    _eigh("eigh", x, values, vectors, UPLO)
    return EighResult(values, vectors)


def eigvalsh(x: Array, /, *, UPLO: str = "L") -> Array:
    """The eigenvalues that `eigh` gives, without the vectors."""
    x = _matrices("eigvalsh", x, square=True)
    values = fresh(_real(x.code), x.shape[:-1])
    _eigh("eigvalsh", x, values, None, UPLO)
    return values


def _eigh(name: str, x: Array, values: Array, vectors: Array | None, triangle: str) -> None:
    if triangle not in ("L", "U"):
        raise ArrayValueError(f"{name}(): UPLO must be 'L' or 'U', not {triangle!r}")
    into = vectors.tensor if vectors is not None else None
    bad = _algorithms.eigh(x.code, x.tensor, values.tensor, into, _count(x), x.shape[-1], triangle == "U")
    if bad >= 0:
        raise LinAlgError(f"{name}(): no convergence for matrix {bad} of the stack")


def inv(x: Array, /) -> Array:
    """Inverses of x [..., n, n]. Raises LinAlgError for a singular one, ArrayValueError, ArrayTypeError."""
    x = _matrices("inv", x, square=True)
    out = fresh(x.code, x.shape)
    n = x.shape[-1]
    bad = _algorithms.solve(x.code, x.tensor, None, out.tensor, _count(x), n, n)
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
    a, b = _matrices("solve", x1, square=True), _array.asarray_core(x2, -1, None)
    vector, n = b.ndim == 1, a.shape[-1]
    if b.ndim == 0 or b.shape[0 if vector else -2] != n:
        raise ArrayValueError(f"solve() of {a.shape} and {b.shape}: the right side needs {n} rows")
    code = max(FLOAT32, PROMOTED[13 * a.code + b.code])
    a, b = _array.astype_core(a, code, False), _array.astype_core(b, code, False)
    if vector:
        b = _array.reshape_core(b, (n, 1))
    lead, m = broadcast_shapes(a.shape[:-2], b.shape[:-2]), b.shape[-1]
    a, b = _spread(a, (*lead, n, n)), _spread(b, (*lead, n, m))
    out = fresh(code, (*lead, n) if vector else (*lead, n, m))
    bad = _algorithms.solve(code, a.tensor, b.tensor, out.tensor, _count(a), n, m)
    if bad >= 0:
        raise LinAlgError(f"solve(): matrix {bad} of the stack is singular")
    return out


def _spread(x: Array, shape: tuple[int, ...]) -> Array:
    return x if x.shape == shape else _array.broadcast_core(x, shape)


def matrix_power(x: Array, n: int, /) -> Array:
    """Powers of x [..., k, k]; negative n: of its inverse. Raises LinAlgError, ArrayValueError, ArrayTypeError."""
    if x.code == 0 or x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ArrayValueError(f"matrix_power() takes square matrices of numbers, not {x.dtype}{x.shape}")
    if n < 0:
        x, n = inv(x), -n
    result: Array | None = None
    while n:
        if n & 1:
            result = x if result is None else matmul(result, x)
        n >>= 1
        if n:
            x = matmul(x, x)
    if result is not None:
        return result.copy() if result is x else result
    from walle_core import matrix

    return _spread(matrix.eye(x.shape[-1], dtype=x.dtype), x.shape).copy()


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
    x = _matrices("qr", x)
    m, n = x.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    q, r = fresh(x.code, (*x.shape[:-2], m, k)), fresh(x.code, (*x.shape[:-2], k, n))
    _algorithms.qr(x.code, x.tensor, q.tensor, r.tensor, _count(x), m, n, mode == "complete")
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
    x = _matrices("svd", x)
    m, n = x.shape[-2:]
    k, lead = min(m, n), x.shape[:-2]
    u = fresh(x.code, (*lead, m, m if full_matrices else k))
    vh = fresh(x.code, (*lead, n if full_matrices else k, n))
    s = fresh(_real(x.code), (*lead, k))
    bad = _algorithms.svd(x.code, x.tensor, u.tensor, s.tensor, vh.tensor, _count(x), m, n, full_matrices)
    if bad >= 0:
        raise LinAlgError(f"svd(): no convergence for matrix {bad} of the stack")
    return SVDResult(u, s, vh)


def svdvals(x: Array, /) -> Array:
    """The singular values that `svd` gives, without the factors."""
    x = _matrices("svdvals", x)
    m, n = x.shape[-2:]
    s = fresh(_real(x.code), (*x.shape[:-2], min(m, n)))
    bad = _algorithms.svd(x.code, x.tensor, None, s.tensor, None, _count(x), m, n, False)
    if bad >= 0:
        raise LinAlgError(f"svdvals(): no convergence for matrix {bad} of the stack")
    return s


def _limits(x: Array, s: Array, rtol: Any) -> Array:
    """Singular values up to these [..., 1] count as zero."""
    from walle_core import matrix

    if rtol is None:
        rtol = max(x.shape[-2:]) * EPS[s.code]
    rtol = _array.astype_core(_array.asarray_core(rtol, -1, None), s.code, False)
    limits: Array = matrix.max(s, axis=-1, keepdims=True) * _array.reshape_core(rtol, (*rtol.shape, 1))
    return limits


def matrix_rank(x: Array, /, *, rtol: Any = None) -> Array:
    """Ranks [...] of x [..., m, n], int64: singular values above rtol times the largest one count.

    `rtol` defaults to max(m, n) times the dtype's epsilon. Raises as `svd` does.
    """
    x = _matrices("matrix_rank", x)
    s = svdvals(x)
    if s.shape[-1] == 0:
        return fresh(4, x.shape[:-2], zero=True)
    return count_nonzero(s > _limits(x, s, rtol), axis=-1)


def pinv(x: Array, /, *, rtol: Any = None) -> Array:
    """Pseudo-inverses [..., n, m] of x [..., m, n]; singular values up to rtol times the largest one count as zero.

    `rtol` defaults to max(m, n) times the dtype's epsilon. Raises as `svd` does.
    """
    x = _matrices("pinv", x)
    if 0 in x.shape:
        return fresh(x.code, (*x.shape[:-2], x.shape[-1], x.shape[-2]), zero=True)
    u, s, vh = svd(x, full_matrices=False)
    large = s > _limits(x, s, rtol)
    one = _array.full_core((), 1, s.code)
    inverse = where(large, one / where(large, s, one), one * 0)
    scaled = adjoint(u) * _array.reshape_core(inverse, (*inverse.shape, 1))
    return matmul(adjoint(vh), scaled)


def adjoint(x: Array) -> Array:
    """Conjugate transposes of x [..., m, n]. Raises ArrayValueError below two dimensions."""
    from walle_core import matrix

    y = matrix_transpose(x)
    return matrix.conj(y) if y.code >= COMPLEX64 else y


def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """Norms [...] of x [..., m, n]. Raises ArrayValueError for another `ord`, and as `svd` does.

    Args:
        x: real or complex.
        keepdims: keep the two dimensions with size 1.
        ord: ``fro``, ``nuc`` (sum of the singular values), 1, -1 (columns), 2, -2 (singular values), inf, -inf (rows).
    """
    from walle_core import matrix

    x = _matrices("matrix_norm", x)
    if ord in ("fro", None):
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in (1, -1, inf, -inf):
        sums = matrix.sum(matrix.abs(x), axis=-2 if ord in (1, -1) else -1, keepdims=True)
        result = (matrix.max if ord > 0 else matrix.min)(sums, axis=(-2, -1), keepdims=True)
    elif ord in (2, -2, "nuc"):
        s = svdvals(x)
        if ord == "nuc":
            result = matrix.sum(s, axis=-1, keepdims=True)
        else:
            result = (matrix.max if ord > 0 else matrix.min)(s, axis=-1, keepdims=True)
        result = _array.reshape_core(result, (*result.shape, 1))
    else:
        raise ArrayValueError(
            f"matrix_norm(): ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, not {ord!r}"
        )
    return result if keepdims else _array.reshape_core(result, x.shape[:-2])


def vector_norm(
    x: Array, /, *, axis: int | Sequence[int] | None = None, keepdims: bool = False, ord: float = 2
) -> Array:
    """Norms over one, some or all dimensions; no overflow where the norm itself has none.

    Args:
        x: real or complex.
        axis: which; None: all.
        keepdims: keep them with size 1.
        ord: 0 counts what is not zero, inf and -inf take the largest and smallest magnitude, any other p: the p-norm.

    Raises:
        ArrayValueError, ArrayTypeError: no such dimension, bool.
    """
    from walle_core import matrix

    x = _array.asarray_core(x, -1, None)
    if x.code == 0:
        raise ArrayTypeError("vector_norm() takes numbers, not bool")
    if x.code < FLOAT32:
        x = _array.astype_core(x, FLOAT64, False)
    if isinstance(axis, list):
        axis = tuple(axis)
    size = matrix.abs(x)
    options: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
    if ord == inf:
        return matrix.max(size, **options)
    if ord == -inf:
        return matrix.min(size, **options)
    if ord == 0:
        return matrix.sum(_array.astype_core(size != 0, size.code, False), **options)
    if ord == 1 or x.size == 0:
        return matrix.sum(size, **options)
    most = matrix.max(size, axis=axis, keepdims=True)
    one = _array.full_core((), 1, size.code)
    unit = where((most > 0) & matrix.isfinite(most), most, one)
    size = size / unit
    total = matrix.sum(size * size if ord == 2 else size**ord, axis=axis, keepdims=True)
    result = (matrix.sqrt(total) if ord == 2 else total ** (1.0 / ord)) * unit
    return result if keepdims else matrix.squeeze(result, axis=_axes(axis, x.ndim))


def _axes(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def norm(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """NumPy's norm: of the matrix where `axis` names two dimensions (or x is one), else of vectors. Raises as these do."""
    x = _array.asarray_core(x, -1, None)
    if axis is None and ord is None:
        return vector_norm(x, keepdims=keepdims)
    if isinstance(axis, (tuple, list)) and len(axis) == 2:
        from walle_core import matrix

        first, second = (normal_axis(i, x.ndim) for i in axis)
        moved = _array.permute_core(
            x, (*(i for i in range(x.ndim) if i not in (first, second)), first, second)
        )
        made = matrix_norm(moved, ord=ord or "fro")
        return matrix.expand_dims(made, axis=tuple(sorted((first, second)))) if keepdims else made
    if axis is None and x.ndim == 2:
        return matrix_norm(x, ord=ord, keepdims=keepdims)
    return vector_norm(x, axis=axis, ord=2 if ord is None else ord, keepdims=keepdims)


__all__ = [
    "EighResult", "LinAlgError", "QRResult", "SVDResult", "SlogdetResult", "adjoint", "cholesky", "cross", "det",
    "diagonal", "dot", "eigh", "eigvalsh", "inner", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
    "matrix_transpose", "norm", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace",
    "vdot", "vecdot", "vector_norm",
]  # fmt: skip
