"""NumPy's names for mathematics and logic beyond the array API standard, and its older names of the standard's functions."""

from __future__ import annotations

from math import pi
from typing import Any

from walle_core import matrix
from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import BOOL, COMPLEX64, FLOAT32, FLOAT64, INT64
from walle_core.matrix.elementwise import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_right_shift,
    divide,
    pow,
    remainder,
)
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.manipulation import axis_of
from walle_core.matrix.numpy_shapes import given, ravel
from walle_core.matrix.sorting import searchsorted, where

arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = acos, acosh, asin, asinh, atan, atan2, atanh
invert, bitwise_not, left_shift, right_shift = (
    bitwise_invert,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_right_shift,
)
true_divide, power, mod = divide, pow, remainder


def floating(x: Any) -> Array:
    """`x` as an array of floats: float64 for integers and bool."""
    made: Array = given(x)
    return _array.astype_core(made, FLOAT64, False) if made.code < FLOAT32 else made


def absolute(x: Any) -> Array:
    """Magnitudes."""
    return matrix.abs(given(x))


fabs = absolute


def conjugate(x: Any) -> Array:
    """Complex conjugates."""
    made: Array = given(x)
    return matrix.conj(made) if made.code >= COMPLEX64 else made


def degrees(x: Any) -> Array:
    """Radians as degrees."""
    made: Array = floating(x) * (180.0 / pi)
    return made


def radians(x: Any) -> Array:
    """Degrees as radians."""
    made: Array = floating(x) * (pi / 180.0)
    return made


rad2deg, deg2rad = degrees, radians


def exp2(x: Any) -> Array:
    """Two to the power of x."""
    made: Array = 2.0 ** floating(x)
    return made


def cbrt(x: Any) -> Array:
    """Cube roots, with the sign of x."""
    y = floating(x)
    root = matrix.abs(y) ** (1.0 / 3.0)
    fine = (root > 0) & matrix.isfinite(root)
    safe = where(fine, root, 1.0)
    better = safe - (safe - matrix.abs(y) / (safe * safe)) / 3.0  # one step of Newton's: 1/3 is not exact
    return matrix.copysign(where(fine, better, root), y)


def rint(x: Any) -> Array:
    """Nearest integers, ties to the even one."""
    return matrix.round(floating(x))


def fix(x: Any) -> Array:
    """Rounded toward zero."""
    return matrix.trunc(floating(x))


def around(a: Any, decimals: int = 0) -> Array:
    """Rounded to so many decimals."""
    x = given(a)
    if decimals == 0 or x.code < FLOAT32:
        return matrix.round(x)
    made: Array = matrix.round(x * 10.0**decimals) / 10.0**decimals
    return made


round_ = around


def float_power(x1: Any, x2: Any) -> Array:
    """Powers in float64 or complex128."""
    made: Array = _wide(x1) ** _wide(x2)
    return made


def _wide(x: Any) -> Array:
    made = given(x)
    wide: Array = _array.astype_core(made, FLOAT64 if made.code < COMPLEX64 else 12, False)
    return wide


def fmod(x1: Any, x2: Any) -> Array:
    """Remainders with the sign of the dividend."""
    a, b = given(x1), given(x2)
    rest = matrix.remainder(matrix.abs(a), matrix.abs(b))
    return where(a < 0, -rest, rest) if rest.code < FLOAT32 else matrix.copysign(rest, a)


def divmod(x1: Any, x2: Any) -> tuple[Array, Array]:
    """Quotients rounded down, and remainders."""
    a, b = given(x1), given(x2)
    return a // b, a % b


def modf(x: Any) -> tuple[Array, Array]:
    """Fractional and integral parts, both with the sign of x."""
    y = floating(x)
    whole = matrix.trunc(y)
    part = where(matrix.isinf(y), 0.0, y - whole)
    return matrix.copysign(part, y), whole


def logaddexp2(x1: Any, x2: Any) -> Array:
    """Logarithm to base 2 of 2**x1 + 2**x2."""
    factor = 0.6931471805599453
    made: Array = matrix.logaddexp(floating(x1) * factor, floating(x2) * factor) / factor
    return made


def sinc(x: Any) -> Array:
    """sin(pi x) / (pi x), 1 at 0."""
    y = floating(x) * pi
    zero = y == 0
    made: Array = where(zero, 1.0, matrix.sin(y) / where(zero, 1.0, y))
    return made


def heaviside(x1: Any, x2: Any) -> Array:
    """0 below 0, x2 at 0, 1 above; NaN for NaN."""
    x, half = floating(x1), floating(x2)
    step = where(x == 0, half, where(x < 0, 0.0 * half, 0.0 * half + 1))
    made: Array = where(matrix.isnan(x), x, step)
    return made


def fmax(x1: Any, x2: Any) -> Array:
    """The larger of each pair; the other one where one is NaN."""
    a, b = given(x1), given(x2)
    top = matrix.maximum(a, b)
    return top if top.code < FLOAT32 else where(matrix.isnan(a), b, where(matrix.isnan(b), a, top))


def fmin(x1: Any, x2: Any) -> Array:
    """The smaller of each pair; the other one where one is NaN."""
    a, b = given(x1), given(x2)
    low = matrix.minimum(a, b)
    return low if low.code < FLOAT32 else where(matrix.isnan(a), b, where(matrix.isnan(b), a, low))


def gcd(x1: Any, x2: Any) -> Array:
    """Greatest common divisors of integers, not negative. Raises ArrayTypeError for others."""
    a, b = matrix.broadcast_arrays(given(x1), given(x2))
    if not (BOOL < a.code < FLOAT32 and BOOL < b.code < FLOAT32):
        raise ArrayTypeError(f"gcd() takes integers, not {a.dtype} and {b.dtype}")
    kind = matrix.result_type(a, b)
    a, b = matrix.abs(matrix.astype(a, kind)), matrix.abs(matrix.astype(b, kind))
    while matrix.any(b != 0):
        a, b = (
            where(b != 0, b, a),
            where(b != 0, a % where(b != 0, b, matrix.ones_like(b)), b),
        )
    return a


def lcm(x1: Any, x2: Any) -> Array:
    """Least common multiples of integers, not negative. Raises ArrayTypeError for others."""
    divisor = gcd(x1, x2)
    one = where(divisor == 0, matrix.ones_like(divisor), divisor)
    return matrix.abs(given(x1) // one * given(x2))


def angle(z: Any, deg: bool = False) -> Array:
    """Arguments of complex numbers, in radians or degrees."""
    x = given(z)
    x = x if x.code >= COMPLEX64 else floating(x)
    made = (
        matrix.atan2(matrix.imag(x), matrix.real(x))
        if x.code >= COMPLEX64
        else matrix.atan2(matrix.zeros_like(x), x)
    )
    return degrees(made) if deg else made


def iscomplex(x: Any) -> Array:
    """True where the imaginary part is not 0."""
    y = given(x)
    made: Array = matrix.imag(y) != 0 if y.code >= COMPLEX64 else matrix.zeros(y.shape, dtype=matrix.bool)
    return made


def isreal(x: Any) -> Array:
    """True where the imaginary part is 0."""
    return matrix.logical_not(iscomplex(x))


def iscomplexobj(x: Any) -> bool:
    """True for a complex dtype."""
    return bool(given(x).code >= COMPLEX64)


def isrealobj(x: Any) -> bool:
    """True for any dtype that is not complex."""
    return not iscomplexobj(x)


def isscalar(element: Any) -> bool:
    """True for a Python number or string."""
    return isinstance(element, (bool, int, float, complex, str, bytes))


def isneginf(x: Any) -> Array:
    """True for minus infinity."""
    made: Array = given(x) == -matrix.inf
    return made


def isposinf(x: Any) -> Array:
    """True for plus infinity."""
    made: Array = given(x) == matrix.inf
    return made


def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Array:
    """Finite numbers for NaN and the infinities (default: the largest of the dtype); always a copy."""
    y = given(x)
    if y.code < FLOAT32:
        return y.copy()
    if y.code >= COMPLEX64:
        raise ArrayTypeError("nan_to_num() takes real numbers; treat real() and imag() apart")
    limits = matrix.finfo(y.dtype)
    y = where(matrix.isnan(y), nan, y)
    y = where(y == matrix.inf, limits.max if posinf is None else posinf, y)
    made: Array = where(y == -matrix.inf, limits.min if neginf is None else neginf, y)
    return made


def real_if_close(a: Any, tol: float = 100) -> Array:
    """The real part, if no imaginary part exceeds `tol` times the dtype's epsilon."""
    x = given(a)
    if x.code < COMPLEX64:
        return x
    small = matrix.all(matrix.abs(matrix.imag(x)) < tol * matrix.finfo(x.dtype).eps)
    return matrix.real(x) if small else x


def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Array:
    """True where |a - b| <= atol + rtol |b|, or both are the same infinity."""
    x, y = floating(a), floating(b)
    finite = matrix.isfinite(x) & matrix.isfinite(y)
    near: Array = where(finite, matrix.abs(x - y) <= atol + rtol * matrix.abs(y), x == y)
    return near | (matrix.isnan(x) & matrix.isnan(y)) if equal_nan else near


def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """True if all elements are close."""
    return bool(matrix.all(isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """True for the same shape and elements."""
    x, y = given(a1), given(a2)
    if x.shape != y.shape:
        return False
    same = x == y
    if equal_nan and min(x.code, y.code) >= FLOAT32:
        same = same | (matrix.isnan(x) & matrix.isnan(y))
    return bool(matrix.all(same))


def array_equiv(a1: Any, a2: Any) -> bool:
    """True if one broadcasts to the other and the elements are the same."""
    try:
        return bool(matrix.all(given(a1) == given(a2)))
    except ArrayValueError:
        return False


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


def positions_int64(x: Any) -> Array:
    """`x` as int64, for positions and bins."""
    made: Array = _array.astype_core(given(x), INT64, False)
    return made
