"""Norms of vectors and matrices, real or complex."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import FLOAT32, FLOAT64
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.factors import matrices, svdvals
from walle_core.matrix.products import normal_axis
from walle_core.matrix.sorting import where


def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Any = "fro") -> Array:
    """Norms [...] of x [..., m, n]. Raises ArrayValueError for another `ord`, and as `svd` does.

    Args:
        x: real or complex.
        keepdims: keep the two dimensions with size 1.
        ord: ``fro``, ``nuc`` (sum of the singular values), 1, -1 (columns), 2, -2 (singular values), inf, -inf (rows).
    """
    from walle_core import matrix

    x = matrices("matrix_norm", x)
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
