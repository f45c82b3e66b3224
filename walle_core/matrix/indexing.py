"""Indexing by arrays of integers and by masks, as NumPy defines it, on top of gathers and scatters."""

from __future__ import annotations

from math import prod
from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.errors import ArrayIndexError, ArrayValueError


def _parts(x: Array, key: Any) -> list[Any]:
    """The key with masks as positions, integers as arrays beside arrays, and the ellipsis filled in."""
    parts: list[Any] = []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, (bool, list)):
            part = _array.asarray_core(part, -1, None)
            if part.size == 0 and part.dtype.kind == "f":
                part = _array.astype_core(part, 4, False)
        parts.append(part)
    used = sum(
        p.ndim if isinstance(p, Array) and p.dtype.kind == "b" else p is not None and p is not Ellipsis
        for p in parts
    )
    if used > x.ndim:
        raise ArrayIndexError(f"{used} indices for an array of {x.ndim} dimensions")
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (x.ndim - used)
    out: list[Any] = []
    axis = 0
    for part in parts:
        if isinstance(part, Array) and part.dtype.kind == "b":
            if part.shape != x.shape[axis : axis + part.ndim]:
                raise ArrayIndexError(f"a mask of shape {part.shape} for dimensions {x.shape[axis:]}")
            flat = _array.true_positions(part)
            if part.ndim == 0:
                raise ArrayIndexError("a mask without dimensions is taken on its own only")
            rows = []
            for size in reversed(part.shape):
                rows.append(flat % size if size else flat)
                flat = flat // size if size else flat
            out += reversed(rows)
            axis += part.ndim
        else:
            out.append(part)
            axis += part is not None
    return out


def _linear(x: Array, key: Any) -> Array:
    """Row-major positions of the elements that the key selects, in the shape of the result."""
    if isinstance(key, tuple) and len(key) == 1:
        key = key[0]
    if (
        isinstance(key, (bool, Array))
        and getattr(key, "ndim", 0) == 0
        and (isinstance(key, bool) or key.dtype.kind == "b")
    ):
        picked = _array.arange_core(0, x.size, 1, 4)
        return _array.reshape_core(picked if key else picked[:0], (int(bool(key)), *x.shape))
    parts = _parts(x, key)
    advanced = [i for i, p in enumerate(parts) if p is not None and not isinstance(p, slice)]
    strides = [prod(x.shape[i + 1 :]) for i in range(x.ndim)]
    total: Any = None  # of the arrays
    axis = 0
    basic: list[Any] = []  # an array of positions per slice, in the order of the result
    for part in parts:
        if part is None:
            basic.append(_array.full_core((1,), 0, 4))
            continue
        size = x.shape[axis]
        if isinstance(part, slice):
            start, stop, step = part.indices(size)
            basic.append(_array.arange_core(start, len(range(start, stop, step)), step, 4) * strides[axis])
        else:
            index = _array.asarray_core(part, -1, None)
            if index.dtype.kind not in "iu":
                raise ArrayIndexError(f"indices must be integers, not {index.dtype}")
            index = _array.astype_core(index, 4, False)
            low, high = _array.bounds_core(index)
            if index.size and (low < -size or high >= size):
                raise ArrayIndexError(f"an index is out of range for axis {axis} of size {size}")
            index = (index + (index < 0) * size) * strides[axis]
            total = index if total is None else total + index
        axis += 1
    together = advanced[-1] - advanced[0] == len(advanced) - 1
    first = sum(p is None or isinstance(p, slice) for p in parts[: advanced[0]]) if together else 0
    rank = total.ndim + len(basic)
    shape = [1] * rank
    shape[first : first + total.ndim] = total.shape
    result = _array.reshape_core(total, shape)
    for i, positions in enumerate(basic):
        shape = [1] * rank
        shape[i if i < first else i + total.ndim] = positions.size
        result = result + _array.reshape_core(positions, shape)
    return result


def get(x: Array, key: Any) -> Array:
    """x[key] for a key with arrays. Raises ArrayIndexError."""
    only = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if isinstance(only, Array) and only.dtype.kind in "iu":
        return _array.take_core(x, only, 0)
    if isinstance(only, Array) and only.dtype.kind == "b" and 0 < only.ndim <= x.ndim:
        if only.shape != x.shape[: only.ndim]:
            raise ArrayIndexError(f"a mask of shape {only.shape} for an array of shape {x.shape}")
        rows = _array.reshape_core(x, (only.size, *x.shape[only.ndim :]))
        return _array.take_core(rows, _array.true_positions(only), 0)
    where = _linear(x, key)
    return _array.take_core(_array.reshape_core(x, (x.size,)), where, 0)


def put(x: Array, key: Any, value: Array) -> None:
    """x[key] = value for a key with arrays; `value` is of x's dtype. Raises ArrayIndexError, ArrayValueError."""
    where = _linear(x, key)
    while value.ndim > where.ndim and value.shape[0] == 1:
        value = _array.reshape_core(value, value.shape[1:])
    if value.size != 1:
        value = _array.broadcast_core(value, where.shape)
    elif value.ndim > where.ndim:
        raise ArrayValueError(f"shape {value.shape} does not broadcast to {where.shape}")
    _array.scatter_core(x, where, value)
