"""NumPy's names for mathematics beyond the array API standard, and its older names of the standard's functions."""

from __future__ import annotations

from math import pi
from typing import Any

from walle_core import matrix
from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import BOOL, COMPLEX64, FLOAT32, FLOAT64
from walle_core.matrix.elementwise import (
    acos, acosh, asin, asinh, atan, atan2, atanh, bitwise_invert, bitwise_left_shift, bitwise_right_shift, divide, pow,
    remainder,
)  # fmt: skip
from walle_core.matrix.errors import ArrayTypeError
from walle_core.matrix.numpy_given import floating, given
from walle_core.matrix.sorting import where

arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh = acos, acosh, asin, asinh, atan, atan2, atanh

invert, bitwise_not, left_shift, right_shift = (
    bitwise_invert,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_right_shift,
)

true_divide, power, mod = divide, pow, remainder


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


def ldexp(x1: Any, x2: Any) -> Array:
    """x1 * 2**x2; x2 are integers."""
    x, places = floating(x1), given(x2)
    if places.code >= FLOAT32:
        raise ArrayTypeError(f"ldexp() takes integers as its second operand, not {places.dtype}")
    places = matrix.clip(matrix.astype(places, matrix.int32), -2200, 2200)
    third = places // 3  # no power on the way is out of the dtype's range unless the result is
    for part in (third, third, places - 2 * third):
        x = x * 2.0 ** matrix.astype(part, x.dtype)
    return x


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
