"""Functions that make arrays. `device` is None or ``cpu``; dtypes default to float64 for floats and int64 for integers."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import BOOL, COMPLEX128, FLOAT32, FLOAT64, INT64, TYPES, UINT64, code_of
from walle_core.matrix.elementwise import floor
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.dtypes import DType

Shape = int | Sequence[int]


def _here(device: Any) -> None:
    if device not in (None, "cpu"):
        raise ArrayValueError(f"arrays are on device 'cpu', not {device!r}")


def _code(dtype: Any, default: int) -> int:
    return default if dtype is None else code_of(dtype)


def asarray(
    obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None
) -> Array:
    """An array of numbers, nested sequences, a Tensor or a C-contiguous buffer; the latter two share their memory.

    Raises:
        ArrayValueError: uneven sequences; copy=False where a copy is needed.
        ArrayTypeError: elements that are no numbers.
    """
    _here(device)
    return _array.asarray_core(obj, -1 if dtype is None else code_of(dtype), copy)


def empty(shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Array:
    """Uninitialised memory."""
    _here(device)
    return _array.empty_core(shape, _code(dtype, FLOAT64))


def zeros(shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Array:
    """All elements 0."""
    _here(device)
    return _array.full_core(shape, 0, _code(dtype, FLOAT64))


def ones(shape: Shape, *, dtype: DType | None = None, device: Any = None) -> Array:
    """All elements 1."""
    _here(device)
    return _array.full_core(shape, 1, _code(dtype, FLOAT64))


def full(shape: Shape, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Array:
    """All elements `fill_value`, in the value's own dtype by default."""
    _here(device)
    value = fill_value if isinstance(fill_value, Array) else _array.asarray_core(fill_value, -1, None)
    if value.ndim:
        raise ArrayValueError(f"full() takes one value, not shape {value.shape}")
    code = _code(dtype, value.code)
    return _array.full_core(shape, value if isinstance(fill_value, Array) else fill_value, code)


def empty_like(x: Array, /, *, dtype: DType | None = None, device: Any = None) -> Array:
    """Uninitialised memory of x's shape and, by default, dtype."""
    _here(device)
    return _array.empty_core(x.shape, _code(dtype, x.code))


def zeros_like(x: Array, /, *, dtype: DType | None = None, device: Any = None) -> Array:
    """Zeros of x's shape and, by default, dtype."""
    _here(device)
    return _array.full_core(x.shape, 0, _code(dtype, x.code))


def ones_like(x: Array, /, *, dtype: DType | None = None, device: Any = None) -> Array:
    """Ones of x's shape and, by default, dtype."""
    _here(device)
    return _array.full_core(x.shape, 1, _code(dtype, x.code))


def full_like(x: Array, /, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Array:
    """`fill_value` in x's shape and, by default, dtype."""
    _here(device)
    return _array.full_core(x.shape, fill_value, _code(dtype, x.code))


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
) -> Array:
    """start, start + step, ... below `stop` (above it for negative steps). Raises ArrayValueError for step 0."""
    _here(device)
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ArrayValueError("arange() needs a step other than 0")
    whole = all(isinstance(v, int) for v in (start, stop, step))
    count = len(range(int(start), int(stop), int(step))) if whole else max(0, ceil((stop - start) / step))
    code = _code(dtype, INT64 if whole else FLOAT64)
    if whole and (code == UINT64 or code < FLOAT64):
        return _array.arange_core(int(start), count, int(step), code)
    return _array.arange_core(float(start), count, float(step), code)


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Array:
    """`num` evenly spaced values from `start` to `stop`, which is among them if `endpoint`; rounded down for integers."""
    _here(device)
    mixed = isinstance(start, complex) or isinstance(stop, complex)
    code = _code(dtype, COMPLEX128 if mixed else FLOAT64)
    parts = num - 1 if endpoint else num
    steps = _array.arange_core(0.0, num, 1.0, FLOAT64)
    if mixed:
        steps = _array.astype_core(steps, COMPLEX128, False)
    step = (stop - start) / parts if parts > 0 else 0.0
    out = steps * step + start if step != 0 else steps / max(parts, 1) * (stop - start) + start
    if endpoint and num > 1:
        out[-1] = stop
    if BOOL < code < FLOAT32 and not mixed:
        out = floor(out)
    return _array.astype_core(out, code, False)


def eye(
    n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DType | None = None, device: Any = None
) -> Array:
    """Zeros with ones on diagonal `k` (above the main one if positive)."""
    n_cols = n_rows if n_cols is None else n_cols
    out = zeros((n_rows, n_cols), dtype=dtype, device=device)
    first_row, first_col = max(0, -k), max(0, k)
    count = max(0, min(n_rows - first_row, n_cols - first_col))
    if count:
        where = _array.arange_core(first_row * n_cols + first_col, count, n_cols + 1, INT64)
        _array.scatter_core(out, where, _array.full_core((), 1, out.code))
    return out


def _triangle(x: Array, k: int, upper: bool) -> Array:
    if x.ndim < 2:
        raise ArrayValueError(f"triangles need at least 2 dimensions, not {x.ndim}")
    rows, cols = x.shape[-2:]
    i = _array.reshape_core(_array.arange_core(0, rows, 1, INT64), (rows, 1))
    j = _array.arange_core(0, cols, 1, INT64)
    keep = (j - i >= k) if upper else (j - i <= k)
    return _array.where_core(_array.broadcast_core(keep, x.shape), x, _array.full_core(x.shape, 0, x.code))


def tril(x: Array, /, *, k: int = 0) -> Array:
    """The elements of matrices on and below diagonal `k`, zero elsewhere. Raises ArrayValueError below 2 dimensions."""
    return _triangle(x, k, False)


def triu(x: Array, /, *, k: int = 0) -> Array:
    """The elements of matrices on and above diagonal `k`, zero elsewhere. Raises ArrayValueError below 2 dimensions."""
    return _triangle(x, k, True)


def meshgrid(*arrays: Array, indexing: str = "xy") -> list[Array]:
    """Coordinate arrays of the grid over one-dimensional arrays, ``xy`` (columns first) or ``ij``."""
    if indexing not in ("xy", "ij"):
        raise ArrayValueError(f"indexing must be 'xy' or 'ij', not {indexing!r}")
    if len({a.code for a in arrays}) > 1:
        raise ArrayTypeError("meshgrid() takes arrays of one dtype")
    shape = [a.size for a in arrays]
    places = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        shape[:2], places[:2] = shape[1::-1], [1, 0]
    out = []
    for a, place in zip(arrays, places, strict=True):
        sizes = [1] * len(arrays)
        sizes[place] = a.size
        out.append(_array.broadcast_core(_array.reshape_core(a, sizes), shape))
    return out


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    """An array of a DLPack producer on the host: Arrays and Tensors share their memory, others are copied.

    Raises:
        ArrayValueError: copy=False for a producer whose memory cannot be shared, or another device.
    """
    from walle_core._native import Tensor

    _here(device)
    if isinstance(x, (Array, Tensor)):
        made = Array.of(x)
        return made.copy() if copy else Array.of(made.tensor)
    if copy is False:
        raise ArrayValueError("memory of other libraries is copied; copy=False cannot be kept")
    return Array.of(Tensor.from_dlpack(x))


def astype(x: Array, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Array:
    """The array in another dtype; complex to real is refused. Values beyond an integer dtype's range are unspecified."""
    _here(device)
    code = code_of(dtype)
    if x.code > FLOAT64 and BOOL < code <= FLOAT64:
        raise ArrayTypeError(f"{x.dtype} to {TYPES[code]} loses the imaginary part; take real() first")
    return _array.astype_core(x, code, copy)
