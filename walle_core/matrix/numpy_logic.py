"""NumPy's names for questions about values: kinds, infinities, closeness and equality."""

from __future__ import annotations

from typing import Any

from walle_core import matrix
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, FLOAT32
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.numpy_given import floating, given
from walle_core.matrix.sorting import where


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
