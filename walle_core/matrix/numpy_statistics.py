"""NumPy's names for statistics: order statistics, histograms, and what leaves NaN out (nan...)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from walle_core import matrix
from walle_core.matrix import _array, linalg
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, FLOAT32, FLOAT64, INT64
from walle_core.matrix.errors import ArrayValueError
from walle_core.matrix.manipulation import axis_of
from walle_core.matrix.numpy_given import floating, given, positions_int64
from walle_core.matrix.numpy_math import conjugate
from walle_core.matrix.numpy_shapes import atleast_2d, ravel
from walle_core.matrix.numpy_signal import cumprod, cumsum
from walle_core.matrix.sorting import argmax, argmin, argsort, flatnonzero, searchsorted, sort, where

Axis = int | tuple[int, ...] | None


def amax(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Largest elements; NaN if one is NaN."""
    return matrix.max(given(a), axis=axis, keepdims=keepdims)


def amin(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Smallest elements; NaN if one is NaN."""
    return matrix.min(given(a), axis=axis, keepdims=keepdims)


def ptp(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Distances of the largest from the smallest elements."""
    made: Array = amax(a, axis, keepdims) - amin(a, axis, keepdims)
    return made


def average(a: Any, axis: int | None = None, weights: Any = None) -> Array:
    """Means, weighted by an array of a's shape or of its size along `axis`. Raises ArrayValueError."""
    x = floating(a)
    if weights is None:
        return matrix.mean(x, axis=axis)
    w = floating(weights)
    if w.shape != x.shape:
        if axis is None or w.ndim != 1 or w.size != x.shape[axis]:
            raise ArrayValueError(
                f"average() of shape {x.shape} along {axis}: weights of shape {w.shape} do not fit"
            )
        w = matrix.reshape(w, [-1 if i == axis_of(axis, x.ndim) else 1 for i in range(x.ndim)])
        w = matrix.broadcast_to(w, x.shape)
    made: Array = matrix.sum(x * w, axis=axis) / matrix.sum(w, axis=axis)
    return made


def _lined(a: Any, axis: Axis, keepdims: bool) -> tuple[Array, tuple[int, ...]]:
    """(floats with the reduced dimensions as one last one, shape of the result)."""
    x = floating(a)
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    gone = sorted(axis_of(i, x.ndim) for i in axes)
    kept = [i for i in range(x.ndim) if i not in gone]
    lead = [x.shape[i] for i in kept]
    shape = tuple(1 if i in gone else s for i, s in enumerate(x.shape)) if keepdims else tuple(lead)
    count = 1
    for i in gone:
        count *= x.shape[i]
    return matrix.reshape(matrix.permute_dims(x, (*kept, *gone)), (*lead, count)), shape


def quantile(a: Any, q: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Quantiles q (any shape, first in the result), linear between neighbours; NaN if an element is NaN.

    Raises ArrayValueError for q beyond [0, 1], or no elements.
    """
    return _quantile(a, q, axis, keepdims, skip=False)


def _quantile(a: Any, q: Any, axis: Axis, keepdims: bool, skip: bool) -> Array:
    x, shape = _lined(a, axis, keepdims)
    parts = _array.astype_core(given(q), FLOAT64, False)
    if matrix.any((parts < 0) | (parts > 1)) or x.shape[-1] == 0:
        raise ArrayValueError(f"quantile() {q} of {x.shape[-1]} elements: in [0, 1] of at least one element")
    ordered = sort(x, axis=-1)
    bad = matrix.sum(matrix.astype(matrix.isnan(x), matrix.int64), axis=-1, keepdims=True)
    last = matrix.maximum(x.shape[-1] - 1 - (bad if skip else 0 * bad), 0)
    made = []
    for part in ravel(parts).tolist():
        place = matrix.astype(last, matrix.float64) * part
        low = matrix.astype(matrix.floor(place), matrix.int64)
        weight = matrix.astype(place - matrix.floor(place), x.dtype)
        first = matrix.take_along_axis(ordered, low, axis=-1)
        second = matrix.take_along_axis(ordered, matrix.minimum(low + 1, last), axis=-1)
        value = where(weight == 0, first, first * (1 - weight) + second * weight)
        if not skip:
            value = where(bad > 0, matrix.nan, value)
        made.append(matrix.reshape(value, shape))
    return matrix.reshape(matrix.stack(made), (*parts.shape, *shape))


def percentile(a: Any, q: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """`quantile` of q / 100."""
    return quantile(a, floating(q) / 100.0, axis, keepdims)


def median(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Middle elements, or the means of the two; NaN if an element is NaN."""
    return quantile(a, 0.5, axis, keepdims)


def nanquantile(a: Any, q: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """`quantile` without NaN; NaN where there is nothing else."""
    return _quantile(a, q, axis, keepdims, skip=True)


def nanpercentile(a: Any, q: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """`percentile` without NaN."""
    return nanquantile(a, floating(q) / 100.0, axis, keepdims)


def nanmedian(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """`median` without NaN."""
    return nanquantile(a, 0.5, axis, keepdims)


def _filled(a: Any, value: float) -> tuple[Array, Array | None]:
    """(a with `value` for NaN, where NaN was)."""
    x = given(a)
    if x.code < FLOAT32:
        return x, None
    mask = matrix.isnan(x)
    return where(mask, value, x), mask


def nansum(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Sums without NaN."""
    return matrix.sum(_filled(a, 0.0)[0], axis=axis, keepdims=keepdims)


def nanprod(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Products without NaN."""
    return matrix.prod(_filled(a, 1.0)[0], axis=axis, keepdims=keepdims)


def nancumsum(a: Any, axis: int | None = None) -> Array:
    """Running sums, NaN as 0."""
    return cumsum(_filled(a, 0.0)[0], axis=axis)


def nancumprod(a: Any, axis: int | None = None) -> Array:
    """Running products, NaN as 1."""
    return cumprod(_filled(a, 1.0)[0], axis=axis)


def _nan_extreme(a: Any, axis: Axis, keepdims: bool, worst: float, reduce: Callable[..., Array]) -> Array:
    x, mask = _filled(a, worst)
    made = reduce(x, axis=axis, keepdims=keepdims)
    if mask is None:
        return made
    filled: Array = where(matrix.all(mask, axis=axis, keepdims=keepdims), matrix.nan, made)
    return filled


def nanmax(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Largest elements without NaN; NaN where there is nothing else."""
    return _nan_extreme(a, axis, keepdims, -matrix.inf, matrix.max)


def nanmin(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Smallest elements without NaN; NaN where there is nothing else."""
    return _nan_extreme(a, axis, keepdims, matrix.inf, matrix.min)


def nanargmax(a: Any, axis: int | None = None) -> Array:
    """Positions of the largest elements without NaN."""
    return argmax(_filled(a, -matrix.inf)[0], axis=axis)


def nanargmin(a: Any, axis: int | None = None) -> Array:
    """Positions of the smallest elements without NaN."""
    return argmin(_filled(a, matrix.inf)[0], axis=axis)


def nanmean(a: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Means without NaN; NaN where there is nothing else."""
    x = floating(a)
    count = matrix.sum(matrix.astype(~matrix.isnan(x), x.dtype), axis=axis, keepdims=keepdims)
    made: Array = nansum(x, axis, keepdims) / count
    return made


def nanvar(a: Any, axis: Axis = None, ddof: float = 0.0, keepdims: bool = False) -> Array:
    """Variances without NaN, of count - ddof."""
    x = floating(a)
    off = x - nanmean(x, axis, keepdims=True)
    count = matrix.sum(matrix.astype(~matrix.isnan(x), x.dtype), axis=axis, keepdims=keepdims) - ddof
    total = nansum(off * off, axis, keepdims)
    made: Array = where(count > 0, total / count, matrix.nan)
    return made


def nanstd(a: Any, axis: Axis = None, ddof: float = 0.0, keepdims: bool = False) -> Array:
    """Standard deviations without NaN."""
    return matrix.sqrt(nanvar(a, axis, ddof, keepdims))


def cov(m: Any, rowvar: bool = True, ddof: float = 1.0) -> Array:
    """Covariances [variables, variables] of rows (or columns) of observations."""
    x = atleast_2d(floating(m))
    x = x if rowvar or given(m).ndim == 1 else matrix.matrix_transpose(x)
    off = x - matrix.mean(x, axis=1, keepdims=True)
    product: Array = off @ conjugate(matrix.matrix_transpose(off)) / (x.shape[1] - ddof)
    return product if x.shape[0] > 1 else matrix.reshape(product, ())


def corrcoef(x: Any, rowvar: bool = True) -> Array:
    """Correlation coefficients, as `cov`."""
    c = cov(x, rowvar)
    if c.ndim == 0:
        ratio: Array = c / c
        return ratio
    d = linalg.diagonal(c)
    root = matrix.sqrt(matrix.real(d) if d.code >= COMPLEX64 else d)
    made: Array = c / matrix.reshape(root, (root.size, 1)) / root
    return made


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Array:
    """How often (or with which weight) 0, 1, ... occur in a vector. Raises ArrayValueError for negative numbers."""
    v = positions_int64(x)
    low, high = _array.bounds_core(v)
    if low < 0 or v.ndim != 1:
        raise ArrayValueError(f"bincount() takes a vector of numbers from 0, not shape {v.shape} from {low}")
    n = max(minlength, high + 1 if v.size else 0)
    order = argsort(v)
    edges = searchsorted(_array.take_core(v, order, 0) if v.size else v, matrix.arange(n + 1))
    if weights is None:
        return matrix.diff(edges)
    w = _array.astype_core(given(weights), FLOAT64, False)
    sums = matrix.cumulative_sum(_array.take_core(w, order, 0), include_initial=True)
    return matrix.diff(_array.take_core(sums, edges, 0))


def digitize(x: Any, bins: Any, right: bool = False) -> Array:
    """Which bin each element is in; bins ascend or descend."""
    edges, v = given(bins), given(x)
    side = "left" if right else "right"
    if edges.size > 1 and edges[0] > edges[-1]:
        made: Array = edges.size - searchsorted(matrix.flip(edges), v, side=side)
        return made
    return searchsorted(edges, v, side=side)


def histogram(a: Any, bins: Any = 10, range: tuple[float, float] | None = None) -> tuple[Array, Array]:
    """(counts [n], edges [n + 1]) in n equal bins over `range`, or in bins with given edges. Raises ArrayValueError."""
    x = ravel(floating(a))
    if isinstance(bins, int):
        low, high = range or ((float(amin(x)), float(amax(x))) if x.size else (0.0, 1.0))
        if bins < 1 or not low <= high:
            raise ArrayValueError(f"histogram(): {bins} bins over {low} to {high}")
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = matrix.linspace(low, high, bins + 1)
    else:
        edges = floating(bins)
    ordered = sort(x)
    places = searchsorted(ordered, matrix.astype(edges, matrix.float64))
    places[-1] = searchsorted(ordered, edges[-1], side="right")
    return _array.astype_core(matrix.diff(places), INT64, False), edges


def msort(a: Any) -> Array:
    """Sorted along the first dimension."""
    return sort(given(a), axis=0)


def sort_complex(a: Any) -> Array:
    """Sorted along the last dimension as complex numbers."""
    x = given(a)
    return sort(x if x.code >= COMPLEX64 else _array.astype_core(x, 12, False))


def partition(a: Any, kth: int, axis: int = -1) -> Array:
    """Elements with the kth one in its place, smaller ones before it: here, all in order."""
    return sort(given(a), axis=axis)


def argpartition(a: Any, kth: int, axis: int = -1) -> Array:
    """Positions for `partition`."""
    return argsort(given(a), axis=axis)


def extract(condition: Any, arr: Any) -> Array:
    """Elements, flattened, where a condition is true."""
    at = flatnonzero(condition)
    return _array.take_core(ravel(arr), at, 0) if at.size else ravel(arr)[:0]
