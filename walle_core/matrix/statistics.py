"""Reductions. `axis` is an integer, several, or None for all; `keepdims` leaves reduced dimensions with size 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod as product
from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import BOOL, FLOAT64, INT64, UINT64, code_of
from walle_core.matrix.elementwise import divide, real, square, sqrt
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.manipulation import axes_of, axis_of, concat
from walle_core.dtypes import DType

Axis = int | Sequence[int] | None
_SUM, _PROD, _MAX, _MIN = 0, 1, 2, 3


def _wide(x: Array, dtype: DType | None) -> Array:
    """The array in the dtype of its sums: as asked for, else 64 bits for integers and bools."""
    code = x.code
    if dtype is not None:
        code = code_of(dtype)
    elif x.dtype.kind in "bi":
        code = INT64
    elif x.dtype.kind == "u":
        code = UINT64
    return _array.astype_core(x, code, False)


def sum(x: Array, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    """Sums; of nothing 0. Integers are summed in 64 bits by default."""
    return _array.reduce_core(_SUM, _wide(x, dtype), axes_of(axis, x.ndim), keepdims)


def prod(x: Array, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    """Products; of nothing 1. Integers are multiplied in 64 bits by default."""
    return _array.reduce_core(_PROD, _wide(x, dtype), axes_of(axis, x.ndim), keepdims)


def max(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Maxima; NaN if one is NaN. Raises ArrayValueError for maxima of nothing."""
    return _array.reduce_core(_MAX, x, axes_of(axis, x.ndim), keepdims)


def min(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Minima; NaN if one is NaN. Raises ArrayValueError for minima of nothing."""
    return _array.reduce_core(_MIN, x, axes_of(axis, x.ndim), keepdims)


def _truth(op: int, x: Array, axis: Axis, keepdims: bool) -> Array:
    axes = axes_of(axis, x.ndim)
    given = _array.astype_core(x, BOOL, False)
    if product(x.shape[a] for a in axes) == 0:
        shape = [1 if i in axes else s for i, s in enumerate(x.shape) if keepdims or i not in axes]
        return _array.full_core(shape, op == _MIN, BOOL)
    return _array.reduce_core(op, given, axes, keepdims)


def any(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """True where one element is not zero; of nothing False."""
    return _truth(_MAX, x, axis, keepdims)


def all(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """True where no element is zero; of nothing True."""
    return _truth(_MIN, x, axis, keepdims)


def _floating(x: Array) -> Array:
    return x if x.code >= 9 else _array.astype_core(x, FLOAT64, False)


def mean(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Arithmetic means; of nothing NaN. Integers give float64."""
    x, axes = _floating(x), axes_of(axis, x.ndim)
    count = product(x.shape[a] for a in axes)
    total = _array.reduce_core(_SUM, x, axes, keepdims)
    return divide(total, float(count))


def var(x: Array, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """Mean squared deviations from the mean, in two passes; the divisor is the count less `correction`."""
    x, axes = _floating(x), axes_of(axis, x.ndim)
    count = product(x.shape[a] for a in axes)
    centre = mean(x, axis=axes, keepdims=True)
    total = _array.deviations_core(x, axes, centre) if x.code <= FLOAT64 else None
    if total is None:
        far = x - centre
        total = _array.reduce_core(_SUM, square(far) if x.code <= FLOAT64 else square(abs(far)), axes, True)
    out = divide(real(total), float(count - correction if count > correction else 0))
    if keepdims:
        return out
    return _array.reshape_core(out, [s for i, s in enumerate(x.shape) if i not in axes])


def std(x: Array, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """Square roots of `var`."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def _cumulative(op: int, x: Array, axis: int | None, dtype: DType | None, include_initial: bool) -> Array:
    if x.dtype.kind == "b" and dtype is None:
        raise ArrayTypeError("cumulative sums and products are not defined for bool; give a dtype")
    if axis is None:
        if x.ndim != 1:
            raise ArrayValueError("an axis is needed for arrays of more than one dimension")
        axis = 0
    axis = axis_of(axis, x.ndim)
    out = _array.cumulative_core(op, _wide(x, dtype), axis)
    if include_initial:
        shape = [1 if i == axis else s for i, s in enumerate(x.shape)]
        out = concat([_array.full_core(shape, op, out.code), out], axis=axis)
    return out


def cumulative_sum(
    x: Array, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Array:
    """Sums of all elements up to each one; `include_initial` puts a 0 in front."""
    return _cumulative(_SUM, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Array, /, *, axis: int | None = None, dtype: DType | None = None, include_initial: bool = False
) -> Array:
    """Products of all elements up to each one; `include_initial` puts a 1 in front."""
    return _cumulative(_PROD, x, axis, dtype, include_initial)


def diff(
    x: Array, /, *, axis: int = -1, n: int = 1, prepend: Array | None = None, append: Array | None = None
) -> Array:
    """n-th differences of neighbours along `axis`, after joining `prepend` and `append`. Raises ArrayValueError."""
    axis = axis_of(axis, x.ndim)
    if n < 0:
        raise ArrayValueError(f"diff() takes an order of at least 0, not {n}")
    parts: list[Any] = [p for p in (prepend, x, append) if p is not None]
    if len(parts) > 1:
        x = concat(parts, axis=axis)
    head = (slice(None),) * axis
    for _ in range(n):
        later, earlier = x[(*head, slice(1, None))], x[(*head, slice(None, -1))]
        x = later - earlier if x.dtype.kind != "b" else later != earlier
    return x
