"""Discrete Fourier transforms: the array API standard's extension `fft`, 2024.12.

`norm` is ``backward`` (the inverse is divided by n), ``ortho`` (both by its root) or ``forward`` (the forward one by n).
A dimension is cut or padded with zeros to the length asked for. float32 and complex64 are transformed in single
precision; integers count as float64. Any length takes O(n log n): see walle/matrix/fft.hpp for the algorithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

from walle_core.matrix import _algorithms, _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, COMPLEX128, FLOAT32, FLOAT64, INT64, code_of
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.products import fresh, normal_axis

COMPLEX, FORWARD, BACKWARD = 0, 1, 2  # complex to complex, real to complex, complex to real


def _factor(name: str, n: int, norm: str, inverse: bool) -> float:
    if norm not in ("backward", "ortho", "forward"):
        raise ArrayValueError(f"{name}(): norm must be 'backward', 'ortho' or 'forward', not {norm!r}")
    if norm == "ortho":
        return 1.0 / sqrt(n)
    return 1.0 / n if (norm == "backward") == inverse else 1.0


def _along(
    name: str, x: Any, n: int | None, axis: int, norm: str, kind: int, inverse: bool, flag: bool
) -> Array:
    """One transform along one dimension. kind and flag as `_algorithms.transform` takes them."""
    x = _array.asarray_core(x, -1, None)
    if x.ndim == 0:
        raise ArrayValueError(f"{name}() needs at least one dimension")
    axis = normal_axis(axis, x.ndim)
    size = x.shape[axis]
    if n is None:
        n = size if kind != BACKWARD else 2 * (size - 1)
    if n < 1:
        raise ArrayValueError(f"{name}() of length {n}: at least 1 is needed")
    if kind == FORWARD:
        if x.code >= COMPLEX64:
            raise ArrayTypeError(f"{name}() takes real arrays, not {x.dtype}; use fft()")
        code = FLOAT32 if x.code == FLOAT32 else FLOAT64
    else:
        code = COMPLEX64 if x.code in (FLOAT32, COMPLEX64) else COMPLEX128
    x = _array.astype_core(x, code, False)
    wide = code in (FLOAT64, COMPLEX128)
    result = code if kind == COMPLEX else code + 2 if kind == FORWARD else code - 2
    length = n // 2 + 1 if kind == FORWARD else n
    out = fresh(result, (*x.shape[:axis], length, *x.shape[axis + 1 :]))
    outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    factor = _factor(name, n, norm, inverse)
    if out.size:
        _algorithms.transform(kind, wide, x.tensor, out.tensor, outer, size, n, inner, flag, factor)
    return out


def fft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """Sums over k of x[k] exp(-2 pi i j k / n), j < n, along `axis`. Raises ArrayValueError."""
    return _along("fft", x, n, axis, norm, COMPLEX, inverse=False, flag=False)


def ifft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The inverse of `fft`. Raises ArrayValueError."""
    return _along("ifft", x, n, axis, norm, COMPLEX, inverse=True, flag=True)


def rfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The first n // 2 + 1 values of `fft` of real x. Raises ArrayValueError, ArrayTypeError for complex x."""
    return _along("rfft", x, n, axis, norm, FORWARD, inverse=False, flag=False)


def irfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The inverse of `rfft`: n real values, by default 2 (size - 1). Raises ArrayValueError."""
    return _along("irfft", x, n, axis, norm, BACKWARD, inverse=True, flag=False)


def hfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """`fft` of a Hermitian signal of which x is the first half: n real values. Raises ArrayValueError."""
    return _along("hfft", x, n, axis, norm, BACKWARD, inverse=False, flag=True)


def ihfft(x: Array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The inverse of `hfft`: n // 2 + 1 values. Raises ArrayValueError, ArrayTypeError for complex x."""
    return _along("ihfft", x, n, axis, norm, FORWARD, inverse=True, flag=True)


def _plan(
    name: str, x: Any, s: Sequence[int] | None, axes: Sequence[int] | None
) -> tuple[Array, list[tuple[int | None, int]]]:
    """(array, (length or None, axis) per transform). Raises ArrayValueError."""
    x = _array.asarray_core(x, -1, None)
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    where = [normal_axis(axis, x.ndim) for axis in axes]
    if not where or (s is not None and len(s) != len(where)) or len(set(where)) != len(where):
        raise ArrayValueError(f"{name}(): axes {list(axes)} and lengths {s} do not fit shape {x.shape}")
    return x, list(zip(s if s is not None else [None] * len(where), where, strict=True))


def fftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """`fft` along several dimensions, by default all, to lengths `s`. Raises ArrayValueError."""
    x, steps = _plan("fftn", x, s, axes)
    for n, axis in reversed(steps):
        x = fft(x, n=n, axis=axis, norm=norm)
    return x


def ifftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """The inverse of `fftn`. Raises ArrayValueError."""
    x, steps = _plan("ifftn", x, s, axes)
    for n, axis in reversed(steps):
        x = ifft(x, n=n, axis=axis, norm=norm)
    return x


def rfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """`rfft` along the last of `axes`, then `fft` along the others. Raises ArrayValueError, ArrayTypeError."""
    x, steps = _plan("rfftn", x, s, axes)
    x = rfft(x, n=steps[-1][0], axis=steps[-1][1], norm=norm)
    for n, axis in reversed(steps[:-1]):
        x = fft(x, n=n, axis=axis, norm=norm)
    return x


def irfftn(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Array:
    """The inverse of `rfftn`. Raises ArrayValueError."""
    x, steps = _plan("irfftn", x, s, axes)
    for n, axis in steps[:-1]:
        x = ifft(x, n=n, axis=axis, norm=norm)
    return irfft(x, n=steps[-1][0], axis=steps[-1][1], norm=norm)


def fft2(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward"
) -> Array:
    """`fftn` over two dimensions, by default the last ones."""
    return fftn(x, s=s, axes=axes, norm=norm)


def ifft2(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward"
) -> Array:
    """`ifftn` over two dimensions, by default the last ones."""
    return ifftn(x, s=s, axes=axes, norm=norm)


def rfft2(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward"
) -> Array:
    """`rfftn` over two dimensions, by default the last ones."""
    return rfftn(x, s=s, axes=axes, norm=norm)


def irfft2(
    x: Array, /, *, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str = "backward"
) -> Array:
    """`irfftn` over two dimensions, by default the last ones."""
    return irfftn(x, s=s, axes=axes, norm=norm)


def _float_code(name: str, dtype: Any) -> int:
    code = FLOAT64 if dtype is None else code_of(dtype)
    if code not in (FLOAT32, FLOAT64):
        raise ArrayTypeError(f"{name}(): dtype must be float32 or float64, not {dtype}")
    return code


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Array:
    """Frequencies [n] of `fft`'s values: 0, 1, ..., -2, -1 over n d; `d` is the distance of samples. Raises ArrayValueError."""
    if n < 1:
        raise ArrayValueError(f"fftfreq() of length {n}: at least 1 is needed")
    k = _array.arange_core(0, n, 1, INT64)
    k = _array.astype_core(k - (k > (n - 1) // 2) * n, FLOAT64, False)
    return _array.astype_core(k / (n * d), _float_code("fftfreq", dtype), False)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Array:
    """Frequencies [n // 2 + 1] of `rfft`'s values: 0, 1, ..., n // 2 over n d. Raises ArrayValueError."""
    if n < 1:
        raise ArrayValueError(f"rfftfreq() of length {n}: at least 1 is needed")
    k = _array.arange_core(0, n // 2 + 1, 1, FLOAT64)
    return _array.astype_core(k / (n * d), _float_code("rfftfreq", dtype), False)


def _rolled(x: Array, axes: int | Sequence[int] | None, back: bool) -> Array:
    from walle_core import matrix

    where = range(x.ndim) if axes is None else [axes] if isinstance(axes, int) else axes
    where = [normal_axis(axis, x.ndim) for axis in where]
    shifts = [-(x.shape[axis] // 2) if back else x.shape[axis] // 2 for axis in where]
    return matrix.roll(x, tuple(shifts), axis=tuple(where))


def fftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """Moves frequency 0 to the middle of each of `axes` (default: all). Raises ArrayValueError."""
    return _rolled(x, axes, back=False)


def ifftshift(x: Array, /, *, axes: int | Sequence[int] | None = None) -> Array:
    """The inverse of `fftshift`. Raises ArrayValueError."""
    return _rolled(x, axes, back=True)


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
