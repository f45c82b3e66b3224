"""Elementwise functions: shapes broadcast, dtypes promote (`dtypes`), and one of two operands may be a Python number.

All raise ArrayTypeError for dtypes that they are not defined for, ArrayValueError for shapes that do not broadcast.
float32 arrays of 4,096 elements and more are worked on with an installed backend's kernels, which may differ from those for
small arrays in the last bits of a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.errors import ArrayTypeError
from walle_core.matrix.operators import BINARY, UNARY


def _of_two(name: str, text: str) -> Callable[..., Array]:
    number, run = BINARY[name], _array.binary

    def function(x1: Any, x2: Any, /) -> Array:
        return run(number, x1, x2)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


def _of_one(name: str, text: str) -> Callable[[Array], Array]:
    number, run = UNARY[name], _array.unary

    def function(x: Array, /) -> Array:
        return run(number, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = text
    return function


# fmt: off
add = _of_two("add", "Sums.")
subtract = _of_two("subtract", "Differences.")
multiply = _of_two("multiply", "Products.")
divide = _of_two("divide", "Quotients; integers give float64.")
floor_divide = _of_two("floor_divide", "Quotients rounded down; integers divided by 0 give 0.")
remainder = _of_two("remainder", "Remainders with the sign of the divisor; integers modulo 0 give 0.")
pow = _of_two("pow", "Powers; integers to negative powers are rounded toward zero.")
maximum = _of_two("maximum", "The larger of each pair; NaN if one is NaN.")
minimum = _of_two("minimum", "The smaller of each pair; NaN if one is NaN.")
atan2 = _of_two("atan2", "Angles of the points (x2, x1) in -pi..pi.")
hypot = _of_two("hypot", "Square roots of the sums of squares, without overflow between.")
logaddexp = _of_two("logaddexp", "Logarithms of the sums of exponentials, without overflow between.")
copysign = _of_two("copysign", "Magnitudes of x1 with the signs of x2.")
nextafter = _of_two("nextafter", "The next representable values from x1 towards x2.")
bitwise_and = _of_two("bitwise_and", "Bitwise and of integers or bools.")
bitwise_or = _of_two("bitwise_or", "Bitwise or of integers or bools.")
bitwise_xor = _of_two("bitwise_xor", "Bitwise exclusive or of integers or bools.")
bitwise_left_shift = _of_two("bitwise_left_shift", "Bits moved left by x2 places; 0 beyond the width.")
bitwise_right_shift = _of_two("bitwise_right_shift", "Bits moved right by x2 places, the sign kept.")
equal = _of_two("equal", "x1 == x2, bool.")
not_equal = _of_two("not_equal", "x1 != x2, bool.")
less = _of_two("less", "x1 < x2, bool.")
less_equal = _of_two("less_equal", "x1 <= x2, bool.")
greater = _of_two("greater", "x1 > x2, bool.")
greater_equal = _of_two("greater_equal", "x1 >= x2, bool.")
logical_and = _of_two("logical_and", "And of bools.")
logical_or = _of_two("logical_or", "Or of bools.")
logical_xor = _of_two("logical_xor", "Exclusive or of bools.")
abs = _of_one("abs", "Magnitudes; real for complex arrays.")
acos = _of_one("acos", "Inverse cosines in 0..pi.")
acosh = _of_one("acosh", "Inverse hyperbolic cosines.")
asin = _of_one("asin", "Inverse sines in -pi/2..pi/2.")
asinh = _of_one("asinh", "Inverse hyperbolic sines.")
atan = _of_one("atan", "Inverse tangents in -pi/2..pi/2.")
atanh = _of_one("atanh", "Inverse hyperbolic tangents.")
ceil = _of_one("ceil", "Rounded up.")
conj = _of_one("conj", "Complex conjugates.")
cos = _of_one("cos", "Cosines of radians.")
cosh = _of_one("cosh", "Hyperbolic cosines.")
exp = _of_one("exp", "Exponentials.")
expm1 = _of_one("expm1", "exp(x) - 1, exact near 0.")
floor = _of_one("floor", "Rounded down.")
imag = _of_one("imag", "Imaginary parts of a complex array.")
bitwise_invert = _of_one("bitwise_invert", "All bits inverted; not of bools.")
isfinite = _of_one("isfinite", "Neither infinite nor NaN, bool.")
isinf = _of_one("isinf", "Infinite, bool.")
isnan = _of_one("isnan", "NaN, bool.")
log = _of_one("log", "Natural logarithms.")
log1p = _of_one("log1p", "log(1 + x), exact near 0.")
log2 = _of_one("log2", "Logarithms to base 2.")
log10 = _of_one("log10", "Logarithms to base 10.")
logical_not = _of_one("logical_not", "Not of bools.")
negative = _of_one("negative", "Negated; integers wrap.")
positive = _of_one("positive", "A copy.")
real = _of_one("real", "Real parts.")
reciprocal = _of_one("reciprocal", "1 / x.")
round = _of_one("round", "Rounded to the nearest integer, halves to the even one.")
sign = _of_one("sign", "-1, 0 or 1; x / abs(x) for complex arrays.")
signbit = _of_one("signbit", "True where the sign bit is set, bool.")
sin = _of_one("sin", "Sines of radians.")
sinh = _of_one("sinh", "Hyperbolic sines.")
sqrt = _of_one("sqrt", "Square roots.")
square = _of_one("square", "x * x.")
tan = _of_one("tan", "Tangents of radians.")
tanh = _of_one("tanh", "Hyperbolic tangents.")
trunc = _of_one("trunc", "Rounded toward zero.")
# fmt: on


def clip(x: Array, /, min: Any = None, max: Any = None) -> Array:
    """The array limited to min..max in x's dtype; None is no limit. Raises ArrayTypeError for complex arrays."""
    if x.dtype.kind not in "iuf":
        raise ArrayTypeError(f"clip() is not defined for {x.dtype}")
    out = x
    if min is not None:
        out = maximum(out, min)
    if max is not None:
        out = minimum(out, max)
    return out.copy() if out is x else _array.astype_core(out, x.code, False)
