"""Sorting and searching. All sorts are stable; NaN comes last, and first where the order is descending."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.matrix import _algorithms, _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, INT64, PROMOTED, code_of
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.manipulation import broadcast_shapes
from walle_core.matrix.products import fresh, normal_axis

MOST = 1 << 32  # elements along a sorted dimension: positions are kept in 32 bits


def _sort(
    name: str, x: Array, axis: int, descending: bool, order: Array | None, values: Array | None
) -> None:
    axis = normal_axis(axis, x.ndim)
    n = x.shape[axis]
    if n >= MOST:
        raise ArrayValueError(
            f"{name}() of {n} elements along one dimension; at most {MOST - 1} are possible"
        )
    if x.size:
        outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
        into, sorted_ = (None if a is None else a.tensor for a in (order, values))
        _algorithms.sort(x.code, x.tensor, into, sorted_, outer, n, inner, descending)


def sort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Elements in order along `axis`; complex ones by their real, then imaginary parts. Raises ArrayValueError."""
    x = _array.asarray_core(x, -1, None)
    if x.code >= COMPLEX64:
        return _array.take_along_core(
            x, argsort(x, axis=axis, descending=descending), normal_axis(axis, x.ndim)
        )
    out = fresh(x.code, x.shape)
    _sort("sort", x, axis, descending, None, out)
    return out


def argsort(x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """Positions (int64) that put x in order along `axis`. Raises ArrayValueError."""
    x = _array.asarray_core(x, -1, None)
    if x.code >= COMPLEX64:
        from walle_core import matrix

        return _lexsort([matrix.imag(x), matrix.real(x)], axis, descending)
    order = fresh(INT64, x.shape)
    _sort("argsort", x, axis, descending, order, None)
    return order


def _lexsort(keys: Sequence[Array], axis: int, descending: bool) -> Array:
    axis = normal_axis(axis, keys[0].ndim)
    order = argsort(keys[0], axis=axis, descending=descending)
    for key in keys[1:]:
        again = argsort(_array.take_along_core(key, order, axis), axis=axis, descending=descending)
        order = _array.take_along_core(order, again, axis)
    return order


def lexsort(keys: Any, axis: int = -1) -> Array:
    """Positions (int64) that sort by the last of several keys of one shape, equal ones by the key before it.

    Raises ArrayValueError if there is no key, or their shapes differ.
    """
    arrays = [_array.asarray_core(key, -1, None) for key in keys]
    if not arrays or any(key.shape != arrays[0].shape for key in arrays):
        raise ArrayValueError(f"lexsort() needs keys of one shape, not {[key.shape for key in arrays]}")
    return _lexsort(arrays, axis, descending=False)


def searchsorted(x1: Array, x2: Array, /, *, side: str = "left", sorter: Array | None = None) -> Array:
    """Where x2's elements would go into the sorted x1.

    Args:
        x1: [n], ascending, or put in order by `sorter`.
        x2: any shape, which the result (int64) has.
        side: ``left``: before equal elements; ``right``: after them.
        sorter: [n], positions that sort x1.

    Raises:
        ArrayValueError, ArrayTypeError: another side, x1 no vector, complex numbers.
    """
    a, b = _array.asarray_core(x1, -1, None), _array.asarray_core(x2, -1, None)
    code = PROMOTED[13 * a.code + b.code]
    if a.ndim != 1 or side not in ("left", "right"):
        raise ArrayValueError(
            f"searchsorted() in shape {a.shape}, side {side!r}: a vector and 'left' or 'right' are needed"
        )
    if code >= COMPLEX64:
        raise ArrayTypeError(
            "searchsorted() takes real numbers; complex ones have no order: use real() or abs()"
        )
    a, b = _array.astype_core(a, code, False), _array.astype_core(b, code, False)
    order = None
    if sorter is not None:
        order = _array.astype_core(_array.asarray_core(sorter, -1, None), INT64, False)
        low, high = _array.bounds_core(order)
        if order.shape != a.shape or (a.size and (low < 0 or high >= a.size)):
            raise ArrayValueError(f"searchsorted(): sorter must hold positions of the {a.size} elements")
    out = fresh(INT64, b.shape)
    _algorithms.search(
        code, a.tensor, None if order is None else order.tensor, b.tensor, out.tensor, side == "right"
    )
    return out


def _extreme(name: str, x: Any, axis: int | None, keepdims: bool, smallest: bool) -> Array:
    x = _array.asarray_core(x, -1, None)
    if x.code >= COMPLEX64:
        raise ArrayTypeError(
            f"{name}() takes real numbers, not {x.dtype}, which has no order: use real() or abs()"
        )
    if axis is None:
        shape: tuple[int, ...] = (1,) * x.ndim if keepdims else ()
        outer, n, inner = 1, x.size, 1
    else:
        axis = normal_axis(axis, x.ndim)
        outer, n, inner = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
        shape = (*x.shape[:axis], *((1,) if keepdims else ()), *x.shape[axis + 1 :])
    if n == 0 and outer * inner:
        raise ArrayValueError(f"{name}() of no elements; shape {x.shape}, axis {axis}")
    out = fresh(INT64, shape)
    if out.size:
        _algorithms.extreme(x.code, x.tensor, out.tensor, outer, n, inner, smallest)
    return out


def argmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Position (int64) of the first largest element along `axis`, of x flattened if None; NaN is the largest.

    Raises ArrayValueError if there is none, ArrayTypeError for complex x.
    """
    return _extreme("argmax", x, axis, keepdims, smallest=False)


def argmin(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Position (int64) of the first smallest element along `axis`, of x flattened if None; NaN is the smallest.

    Raises ArrayValueError if there is none, ArrayTypeError for complex x.
    """
    return _extreme("argmin", x, axis, keepdims, smallest=True)


def _mask(x: Any) -> Array:
    x = _array.asarray_core(x, -1, None)
    mask: Array = x if x.code == 0 else x != 0
    return mask


def nonzero(x: Array, /) -> tuple[Array, ...]:
    """Positions of the elements that are not zero, one int64 vector per dimension, in row-major order.

    Raises ArrayValueError for x without dimensions.
    """
    mask = _mask(x)
    if mask.ndim == 0:
        raise ArrayValueError("nonzero() needs at least one dimension")
    flat = _array.true_positions(mask)
    found = []
    for size in reversed(mask.shape):
        found.append(flat % size if size else flat)
        flat = flat // size if size else flat
    return tuple(reversed(found))


def count_nonzero(x: Array, /, *, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Array:
    """How many elements are not zero along `axis` (several, or all if None), int64. Raises ArrayValueError."""
    from walle_core import matrix

    return matrix.sum(_array.astype_core(_mask(x), INT64, False), axis=axis, keepdims=keepdims)


def where(condition: Any, x1: Any = None, x2: Any = None, /) -> Any:
    """x1 where `condition` is true, x2 elsewhere, all broadcast; without them, `nonzero(condition)`.

    Numbers take the dtype of the array beside them. Raises ArrayTypeError for one of the two alone, ArrayValueError.
    """
    mask = _mask(condition)
    if x1 is None and x2 is None:
        return nonzero(mask)
    if x1 is None or x2 is None:
        raise ArrayTypeError("where() takes both choices or none")
    from walle_core import matrix

    if isinstance(x1, Array) == isinstance(x2, Array):
        a, b = _array.asarray_core(x1, -1, None), _array.asarray_core(x2, -1, None)
        code = PROMOTED[13 * a.code + b.code]
    else:
        code = code_of(matrix.result_type(x1, x2))
        a, b = _array.asarray_core(x1, code, None), _array.asarray_core(x2, code, None)
    shape = broadcast_shapes(mask.shape, a.shape, b.shape)
    parts = [
        p if p.shape == shape else _array.broadcast_core(p, shape)
        for p in (mask, _array.astype_core(a, code, False), _array.astype_core(b, code, False))
    ]
    return _array.where_core(*parts)


def flatnonzero(x: Any) -> Array:
    """Positions (int64) in x flattened of the elements that are not zero."""
    return _array.true_positions(_mask(x))


def argwhere(x: Any) -> Array:
    """Positions [count, ndim] of the elements that are not zero."""
    from walle_core import matrix

    mask = _mask(x)
    if mask.ndim == 0:
        return fresh(INT64, (int(bool(mask)), 0))
    return matrix.stack(list(nonzero(mask)), axis=1)


__all__ = [
    "argmax", "argmin", "argsort", "argwhere", "count_nonzero", "flatnonzero", "lexsort", "nonzero", "searchsorted",
    "sort", "where",
]  # fmt: skip
