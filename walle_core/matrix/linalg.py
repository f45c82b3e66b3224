"""Linear algebra: the array API standard's extension `linalg`, 2024.12, for real and complex stacks of matrices.

Factorisations are made in double precision and rounded once to the argument's dtype. Integers count as float64. Entries
that are not finite give results that are not, and no error. Sources of the algorithms are named in walle/matrix/*.hpp.
"""

from __future__ import annotations

from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, FLOAT32, FLOAT64
from walle_core.matrix.errors import ArrayValueError
from walle_core.matrix.factors import (
    EighResult, LinAlgError, QRResult, SlogdetResult, SVDResult, cholesky, det, eigh, eigvalsh, inv, matrices, qr,
    slogdet, solve, spread, svd, svdvals,
)  # fmt: skip
from walle_core.matrix.norms import matrix_norm, norm, vector_norm
from walle_core.matrix.products import (
    broadcast_shapes, dot, fresh, inner, matmul, matrix_transpose, normal_axis, outer, tensordot, vdot, vecdot,
)  # fmt: skip
from walle_core.matrix.sorting import count_nonzero, where

EPS = {FLOAT32: 2.0**-23, FLOAT64: 2.0**-52}


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

    return spread(matrix.eye(x.shape[-1], dtype=x.dtype), x.shape).copy()


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
    x = matrices("matrix_rank", x)
    s = svdvals(x)
    if s.shape[-1] == 0:
        return fresh(4, x.shape[:-2], zero=True)
    return count_nonzero(s > _limits(x, s, rtol), axis=-1)


def pinv(x: Array, /, *, rtol: Any = None) -> Array:
    """Pseudo-inverses [..., n, m] of x [..., m, n]; singular values up to rtol times the largest one count as zero.

    `rtol` defaults to max(m, n) times the dtype's epsilon. Raises as `svd` does.
    """
    x = matrices("pinv", x)
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


__all__ = [
    "EighResult", "LinAlgError", "QRResult", "SVDResult", "SlogdetResult", "adjoint", "cholesky", "cross", "det",
    "diagonal", "dot", "eigh", "eigvalsh", "inner", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
    "matrix_transpose", "norm", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace",
    "vdot", "vecdot", "vector_norm",
]  # fmt: skip
