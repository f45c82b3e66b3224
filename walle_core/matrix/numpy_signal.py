"""NumPy's names for sequences: running sums, differences, integrals, convolution and interpolation."""

from __future__ import annotations

from math import pi
from typing import Any

from walle_core import matrix
from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.errors import ArrayValueError
from walle_core.matrix.manipulation import axis_of
from walle_core.matrix.numpy_given import floating, given
from walle_core.matrix.numpy_math import conjugate
from walle_core.matrix.numpy_shapes import ravel
from walle_core.matrix.sorting import searchsorted, where


def cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """Running sums, of a flattened if axis is None."""
    return matrix.cumulative_sum(
        ravel(a) if axis is None else given(a), axis=0 if axis is None else axis, dtype=dtype
    )


def cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """Running products, of a flattened if axis is None."""
    return matrix.cumulative_prod(
        ravel(a) if axis is None else given(a), axis=0 if axis is None else axis, dtype=dtype
    )


def ediff1d(ary: Any) -> Array:
    """Differences of neighbours of the flattened array."""
    return matrix.diff(ravel(ary))


def gradient(f: Any, spacing: float = 1.0, axis: int = -1) -> Array:
    """Central differences along `axis`, one-sided at its ends. Raises ArrayValueError for fewer than two elements."""
    x = floating(f)
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if n < 2:
        raise ArrayValueError(f"gradient() needs two elements along dimension {axis}, not {n}")
    lead = (slice(None),) * axis

    def part(start: int | None, stop: int | None) -> Array:
        picked: Array = x[(*lead, slice(start, stop))]
        return picked

    ends = [(part(1, 2) - part(0, 1)) / spacing, (part(n - 1, n) - part(n - 2, n - 1)) / spacing]
    return matrix.concat([ends[0], (part(2, None) - part(0, n - 2)) / (2.0 * spacing), ends[1]], axis=axis)


def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Array:
    """Integral along `axis` by the trapezoidal rule, over places x [n] or a distance dx."""
    f = matrix.moveaxis(floating(y), axis, -1)
    step = dx if x is None else matrix.diff(floating(x))
    return matrix.sum(step * (f[..., 1:] + f[..., :-1]) * 0.5, axis=-1)


trapz = trapezoid


def convolve(a: Any, v: Any, mode: str = "full") -> Array:
    """Convolution of two vectors: ``full`` [n + m - 1], ``same`` [max(n, m)] or ``valid``. Raises ArrayValueError."""
    x, y = given(a), given(v)
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size or mode not in ("full", "same", "valid"):
        raise ArrayValueError(f"convolve() of shapes {x.shape} and {y.shape}, mode {mode!r}")
    if y.size > x.size:
        x, y = y, x
    n, m = x.size, y.size
    zeros = matrix.zeros((m - 1,), dtype=x.dtype)
    padded = matrix.concat([zeros, x, zeros])
    places = matrix.reshape(matrix.arange(n + m - 1), (n + m - 1, 1)) + matrix.arange(m - 1, -1, -1)
    full: Array = _array.take_core(padded, places, 0) @ y
    if mode == "same":
        return full[(m - 1) // 2 : (m - 1) // 2 + n]
    return full[m - 1 : n] if mode == "valid" else full


def correlate(a: Any, v: Any, mode: str = "valid") -> Array:
    """Cross-correlation of two vectors: `convolve` with conj(v) reversed. Raises ArrayValueError."""
    x, y = given(a), given(v)
    made = convolve(x, conjugate(matrix.flip(y)), mode)
    return (
        made
        if mode == "full" or x.size >= y.size
        else matrix.flip(conjugate(convolve(y, conjugate(matrix.flip(x)), mode)))
    )


def interp(x: Any, xp: Any, fp: Any) -> Array:
    """Linear interpolation at x between points (xp ascending, fp); the outer values beyond them."""
    at, places, values = floating(x), floating(xp), floating(fp)
    if places.size == 1:
        return matrix.zeros_like(at) + values[0]
    i = matrix.clip(searchsorted(places, at, side="right") - 1, 0, places.size - 2)
    x0, x1 = (_array.take_core(places, j, 0) for j in (i, i + 1))
    y0, y1 = (_array.take_core(values, j, 0) for j in (i, i + 1))
    slope = (y1 - y0) / where(x1 == x0, 1.0, x1 - x0)
    inside = y0 + slope * (at - x0)
    inside = where(at <= places[0], values[0] + 0 * at, inside)
    made: Array = where(at >= places[-1], values[-1] + 0 * at, inside)
    return made


def unwrap(p: Any, axis: int = -1, period: float = 2 * pi) -> Array:
    """Phases without jumps of more than half a period along `axis`."""
    x = floating(p)
    axis = axis_of(axis, x.ndim)
    step = matrix.diff(x, axis=axis)
    turned = (step + period / 2) % period - period / 2
    turned = where((turned == -period / 2) & (step > 0), period / 2, turned)
    fixes = where(matrix.abs(step) < period / 2, 0.0, turned - step)
    lead = (slice(None),) * axis
    first, rest = x[(*lead, slice(0, 1))], x[(*lead, slice(1, None))]
    return matrix.concat([first, rest + matrix.cumulative_sum(fixes, axis=axis)], axis=axis)
