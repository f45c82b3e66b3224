"""Sets of values. Results are in ascending order; each NaN is a value of its own, and -0 equals 0."""

from __future__ import annotations

from typing import Any, NamedTuple

from walle_core.matrix import _algorithms, _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import BOOL, COMPLEX64, INT64, PROMOTED
from walle_core.matrix.products import fresh
from walle_core.matrix.sorting import argsort, searchsorted, sort


class UniqueAllResult(NamedTuple):
    """Values [k], positions of their first occurrences [k], x in terms of them (shape of x), and their counts [k]."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCountsResult(NamedTuple):
    """Values [k] and their counts [k]."""

    values: Array
    counts: Array


class UniqueInverseResult(NamedTuple):
    """Values [k], and x in terms of them (shape of x)."""

    values: Array
    inverse_indices: Array


def _runs(x: Array) -> tuple[Array, Array, Array]:
    """(x flattened, positions that sort it, True where a new value starts)."""
    flat = _array.reshape_core(x, (x.size,))
    order, starts = argsort(flat), fresh(BOOL, (x.size,))
    if x.code < COMPLEX64:
        _algorithms.starts(x.code, flat.tensor, order.tensor, starts.tensor, False)
        return flat, order, starts
    from walle_core import matrix

    parts = [matrix.real(flat), matrix.imag(flat)]
    for part, add in zip(parts, (False, True), strict=True):
        _algorithms.starts(part.code, part.tensor, order.tensor, starts.tensor, add)
    return flat, order, starts


def _take(x: Array, at: Array) -> Array:
    return _array.take_core(x, at, 0) if x.size else x


def unique_all(x: Array, /) -> UniqueAllResult:
    """Distinct values with where they are and how often. x may have any shape."""
    x = _array.asarray_core(x, -1, None)
    flat, order, starts = _runs(x)
    firsts = _array.true_positions(starts)
    indices = _take(order, firsts)
    return UniqueAllResult(_take(flat, indices), indices, _inverse(x, order, starts), _counts(firsts, x.size))


def _counts(firsts: Array, size: int) -> Array:
    from walle_core import matrix

    ends = matrix.concat([firsts[1:], _array.full_core((min(1, firsts.size),), size, INT64)])
    counts: Array = ends - firsts
    return counts


def _inverse(x: Array, order: Array, starts: Array) -> Array:
    from walle_core import matrix

    out = fresh(INT64, x.shape)
    if x.size:
        ranks = matrix.cumulative_sum(_array.astype_core(starts, INT64, False)) - 1
        _array.scatter_core(out, order, ranks)
    return out


def unique_counts(x: Array, /) -> UniqueCountsResult:
    """Distinct values and how often each occurs."""
    x = _array.asarray_core(x, -1, None)
    flat, order, starts = _runs(x)
    firsts = _array.true_positions(starts)
    return UniqueCountsResult(_take(flat, _take(order, firsts)), _counts(firsts, x.size))


def unique_inverse(x: Array, /) -> UniqueInverseResult:
    """Distinct values, and positions among them that give x again."""
    x = _array.asarray_core(x, -1, None)
    flat, order, starts = _runs(x)
    return UniqueInverseResult(
        _take(flat, _take(order, _array.true_positions(starts))), _inverse(x, order, starts)
    )


def unique_values(x: Array, /) -> Array:
    """Distinct values."""
    flat, order, starts = _runs(_array.asarray_core(x, -1, None))
    return _take(flat, _take(order, _array.true_positions(starts)))


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Array:
    """True (shape of x1) for elements of x1 that are among x2's; with `invert`, that are not. NaN is among none."""
    a, b = _array.asarray_core(x1, -1, None), _array.asarray_core(x2, -1, None)
    code = PROMOTED[13 * a.code + b.code]
    a, b = _array.astype_core(a, code, False), _array.astype_core(b, code, False)
    b = _array.reshape_core(b, (b.size,))
    if b.size == 0:
        return _array.full_core(a.shape, invert, BOOL)
    if code >= COMPLEX64:  # by their places among all values of both
        from walle_core import matrix

        flat = matrix.concat([_array.reshape_core(a, (a.size,)), b])
        places = unique_inverse(flat).inverse_indices
        found = isin(places[: a.size], places[a.size :])
        found = _array.reshape_core(found, a.shape) & (a == a)
    else:
        ordered = sort(b)
        at = searchsorted(ordered, a)
        at = at - (at == b.size)
        found = _array.take_core(ordered, at, 0) == a
    return ~found if invert else found


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False
) -> Any:
    """NumPy's: distinct values, or a tuple of them, their first positions, inverse and counts as asked for."""
    x = _array.asarray_core(ar, -1, None)
    if not (return_index or return_inverse or return_counts):
        return unique_values(x)
    made = unique_all(x)
    wanted = [
        (made.indices, return_index),
        (made.inverse_indices, return_inverse),
        (made.counts, return_counts),
    ]
    return (made.values, *(part for part, asked in wanted if asked))


def intersect1d(ar1: Any, ar2: Any) -> Array:
    """Distinct values of both."""
    values = unique_values(_array.asarray_core(ar1, -1, None))
    picked: Array = values[isin(values, ar2)]
    return picked


def setdiff1d(ar1: Any, ar2: Any) -> Array:
    """Distinct values of the first that are not in the second."""
    values = unique_values(_array.asarray_core(ar1, -1, None))
    picked: Array = values[isin(values, ar2, invert=True)]
    return picked


def union1d(ar1: Any, ar2: Any) -> Array:
    """Distinct values of either."""
    from walle_core import matrix

    parts = [_array.asarray_core(a, -1, None) for a in (ar1, ar2)]
    return unique_values(matrix.concat([_array.reshape_core(a, (a.size,)) for a in parts]))


__all__ = [
    "UniqueAllResult", "UniqueCountsResult", "UniqueInverseResult", "intersect1d", "isin", "setdiff1d", "union1d",
    "unique", "unique_all", "unique_counts", "unique_inverse", "unique_values",
]  # fmt: skip
