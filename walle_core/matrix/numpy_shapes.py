"""NumPy's names for joining, splitting, turning and padding arrays. Each takes arrays, numbers and nested lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from walle_core import matrix
from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.errors import ArrayIndexError, ArrayTypeError, ArrayValueError
from walle_core.matrix.manipulation import axis_of
from walle_core.matrix.numpy_given import given, positions_int64
from walle_core.matrix.sorting import flatnonzero


def ravel(a: Any) -> Array:
    """All elements as one vector."""
    return matrix.reshape(given(a), (-1,)) if given(a).size else matrix.reshape(given(a), (0,))


def flatten(a: Any) -> Array:
    """All elements as one new vector."""
    return ravel(a).copy()


def shape(a: Any) -> tuple[int, ...]:
    """Sizes."""
    return given(a).shape


def ndim(a: Any) -> int:
    """Number of dimensions."""
    return given(a).ndim


def size(a: Any, axis: int | None = None) -> int:
    """Number of elements, or size of one dimension."""
    return given(a).size if axis is None else given(a).shape[axis]


def transpose(a: Any, axes: Sequence[int] | None = None) -> Array:
    """Dimensions in another order, by default reversed."""
    x = given(a)
    return matrix.permute_dims(x, tuple(range(x.ndim))[::-1] if axes is None else tuple(axes))


def swapaxes(a: Any, axis1: int, axis2: int) -> Array:
    """Two dimensions exchanged."""
    x = given(a)
    order = list(range(x.ndim))
    i, j = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    order[i], order[j] = j, i
    return matrix.permute_dims(x, tuple(order))


def rollaxis(a: Any, axis: int, start: int = 0) -> Array:
    """Dimension `axis` moved to before `start`."""
    x = given(a)
    axis, start = axis_of(axis, x.ndim), start + x.ndim if start < 0 else start
    return matrix.moveaxis(x, axis, start - 1 if axis < start else start)


def atleast_1d(a: Any) -> Array:
    """With at least one dimension."""
    return given(a) if given(a).ndim else matrix.reshape(given(a), (1,))


def atleast_2d(a: Any) -> Array:
    """With at least two dimensions, new ones in front."""
    x = atleast_1d(a)
    return x if x.ndim > 1 else matrix.reshape(x, (1, x.size))


def atleast_3d(a: Any) -> Array:
    """With at least three dimensions: a vector as [1, n, 1], a matrix as [m, n, 1]."""
    x = atleast_2d(a)
    return x if x.ndim > 2 else matrix.reshape(x, (*x.shape, 1))


def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Array:
    """Arrays one after the other along `axis`; flattened if None."""
    return matrix.concat([given(a) for a in arrays], axis=axis)


def vstack(tup: Sequence[Any]) -> Array:
    """Rows below each other."""
    return concatenate([atleast_2d(a) for a in tup])


row_stack = vstack


def hstack(tup: Sequence[Any]) -> Array:
    """Along the second dimension; vectors along their only one."""
    parts = [atleast_1d(a) for a in tup]
    return concatenate(parts, axis=0 if parts and parts[0].ndim == 1 else 1)


def dstack(tup: Sequence[Any]) -> Array:
    """Along the third dimension."""
    return concatenate([atleast_3d(a) for a in tup], axis=2)


def column_stack(tup: Sequence[Any]) -> Array:
    """Vectors as columns, beside matrices."""
    parts = [given(a) for a in tup]
    return concatenate([matrix.reshape(p, (p.size, 1)) if p.ndim < 2 else p for p in parts], axis=1)


def append(arr: Any, values: Any, axis: int | None = None) -> Array:
    """Joins values to arr, both flattened unless `axis` is given."""
    return concatenate([ravel(arr), ravel(values)] if axis is None else [arr, values], axis=axis or 0)


def array_split(ary: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Parts along `axis`: so many, as equal as possible, or cut before the given positions. Raises ArrayValueError."""
    x = given(ary)
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, int):
        parts = indices_or_sections
        if parts < 1:
            raise ArrayValueError(f"cannot split into {parts} parts")
        cuts = [i * (n // parts) + min(i, n % parts) for i in range(parts + 1)]
    else:
        cuts = [0, *indices_or_sections, n]
    lead = (slice(None),) * axis
    return [x[(*lead, slice(i, j))] for i, j in zip(cuts[:-1], cuts[1:], strict=True)]


def split(ary: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """`array_split` that wants equal parts. Raises ArrayValueError."""
    n = given(ary).shape[axis]
    if isinstance(indices_or_sections, int) and (indices_or_sections < 1 or n % indices_or_sections):
        raise ArrayValueError(
            f"{n} cannot be split into {indices_or_sections} equal parts; use array_split()"
        )
    return array_split(ary, indices_or_sections, axis)


def vsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """`split` along the first of two or more dimensions."""
    return split(ary, indices_or_sections, 0)


def hsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """`split` along the second dimension, or a vector's only one."""
    return split(ary, indices_or_sections, 0 if given(ary).ndim == 1 else 1)


def dsplit(ary: Any, indices_or_sections: int | Sequence[int]) -> list[Array]:
    """`split` along the third dimension."""
    return split(ary, indices_or_sections, 2)


def repmat(a: Any, m: int, n: int) -> Array:
    """A matrix m times below and n times beside itself."""
    return matrix.tile(atleast_2d(a), (m, n))


def fliplr(m: Any) -> Array:
    """Columns in reverse order."""
    return matrix.flip(given(m), axis=1)


def flipud(m: Any) -> Array:
    """Rows in reverse order."""
    return matrix.flip(given(m), axis=0)


def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """Turned k times by a right angle, from the first of `axes` to the second."""
    x = given(m)
    k %= 4
    if k == 2:
        return matrix.flip(x, axis=axes)
    if k == 1:
        return swapaxes(matrix.flip(x, axis=axes[1]), *axes)
    return matrix.flip(swapaxes(x, *axes), axis=axes[1]) if k == 3 else x.copy()


def resize(a: Any, new_shape: int | Sequence[int]) -> Array:
    """Elements repeated or cut to another shape."""
    x = ravel(a)
    new = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    count = 1
    for part in new:
        count *= part
    if count == 0 or x.size == 0:
        return matrix.zeros(new, dtype=x.dtype)
    return matrix.reshape(matrix.tile(x, (-(-count // x.size),))[:count], new)


def delete(arr: Any, obj: Any, axis: int | None = None) -> Array:
    """Without the slices at the given positions of `axis` (of arr flattened if None)."""
    x = ravel(arr) if axis is None else given(arr)
    axis = axis_of(axis or 0, x.ndim)
    n = x.shape[axis]
    gone = {i % n for i in ([obj] if isinstance(obj, int) else ravel(obj).tolist())}
    kept = [i for i in range(n) if i not in gone]
    return _array.take_core(x, _array.asarray_core(kept, 4, None), axis)


def unravel_index(indices: Any, shape: int | Sequence[int]) -> tuple[Array, ...]:
    """Positions in a flattened array as positions per dimension. Raises ArrayIndexError for one that is outside."""
    at, sizes = positions_int64(indices), (shape,) if isinstance(shape, int) else tuple(shape)
    count = prod(sizes)
    low, high = _array.bounds_core(at)
    if at.size and (low < 0 or high >= count):
        raise ArrayIndexError(
            f"unravel_index(): positions {low} to {high} are not all within {count} elements"
        )
    found = []
    for size in reversed(sizes):
        found.append(at % size)
        at = at // size
    return tuple(reversed(found))


def trim_zeros(filt: Any, trim: str = "fb") -> Array:
    """A vector without zeros at its front (``f``) and back (``b``)."""
    x = given(filt)
    found = flatnonzero(x)
    if not found.size:
        return x[:0]
    start = int(found[0]) if "f" in trim.lower() else 0
    return x[start : int(found[-1]) + 1 if "b" in trim.lower() else x.size]


def _reflected(n: int, before: int, after: int, edge: bool) -> list[int]:
    """Positions that mirror 0..n-1 on both sides, the edges repeated or not."""
    period = 2 * n if edge else max(1, 2 * n - 2)
    places = [(i % period) for i in range(-before, n + after)]
    return [p if p < n else (period - 1 - p if edge else period - p) for p in places]


_POSITIONS: dict[str, Callable[[int, int, int], list[int]]] = {
    "edge": lambda n, b, a: [min(max(i, 0), n - 1) for i in range(-b, n + a)],
    "wrap": lambda n, b, a: [i % n for i in range(-b, n + a)],
    "reflect": lambda n, b, a: _reflected(n, b, a, False),
    "symmetric": lambda n, b, a: _reflected(n, b, a, True),
}


def pad(array: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Array:
    """Elements added before and after each dimension.

    Args:
        array: any shape.
        pad_width: how many: one number, (before, after), or one such pair per dimension.
        mode: ``constant``, ``edge``, ``reflect``, ``symmetric`` or ``wrap``.
        constant_values: the number that ``constant`` adds.

    Raises:
        ArrayValueError: negative widths, an empty dimension to be continued.
        ArrayTypeError: another mode.
    """
    x = given(array)
    widths = matrix.broadcast_to(given(pad_width), (x.ndim, 2)).tolist()
    if any(w < 0 for pair in widths for w in pair):
        raise ArrayValueError(f"pad() by {pad_width}: widths must not be negative")
    if mode == "constant":
        out = matrix.full(
            [s + b + a for s, (b, a) in zip(x.shape, widths, strict=True)], constant_values, dtype=x.dtype
        )
        out[tuple(slice(b, b + s) for s, (b, _) in zip(x.shape, widths, strict=True))] = x
        return out
    if mode not in _POSITIONS:
        raise ArrayTypeError(f"pad() knows 'constant', {', '.join(map(repr, _POSITIONS))}, not {mode!r}")
    for axis, (before, after) in enumerate(widths):
        if (before or after) and x.shape[axis] == 0:
            raise ArrayValueError(f"pad(): dimension {axis} is empty; only mode 'constant' can extend it")
        if before or after:
            at = _POSITIONS[mode](x.shape[axis], before, after)
            x = _array.take_core(x, _array.asarray_core(at, 4, None), axis)
    return x
