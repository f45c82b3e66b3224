"""NumPy's names for making and filling arrays."""

from __future__ import annotations

from math import log10
from typing import Any

from walle_core import matrix as xp
from walle_core.matrix import _array, linalg
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import code_of
from walle_core.matrix.errors import ArrayValueError
from walle_core.matrix.numpy_given import floating, given
from walle_core.matrix.numpy_shapes import atleast_2d, ravel
from walle_core.matrix.sorting import where as choose


def array(object: Any, dtype: Any = None, copy: bool = True) -> Array:
    """A new array of nested sequences, numbers or any buffer."""
    made: Array = _array.asarray_core(object, -1 if dtype is None else code_of(dtype), copy or None)
    return made


def asanyarray(a: Any, dtype: Any = None) -> Array:
    """The same memory where that is possible."""
    return array(a, dtype, copy=False)


ascontiguousarray = asanyarray


def copy(a: Any) -> Array:
    """A copy with memory of its own."""
    return given(a).copy()


def asscalar(a: Any) -> Any:
    """The only element as a Python number. Raises ArrayValueError if there is not exactly one."""
    return given(a).item()


def asmatrix(a: Any, dtype: Any = None) -> Array:
    """A matrix over the same memory where that is possible; a vector becomes one row. Raises ArrayValueError."""
    made = array(a, dtype, copy=False)
    if made.ndim > 2:
        raise ArrayValueError(f"asmatrix() takes at most two dimensions, not shape {made.shape}")
    return atleast_2d(made)


mat = matrix = asmatrix


def asfarray(a: Any, dtype: Any = None) -> Array:
    """Floats: of the dtype given, else of a's own if that is one, else float64."""
    return array(a, dtype, copy=False) if dtype is not None else floating(a)


def identity(n: int, dtype: Any = None) -> Array:
    """The unit matrix [n, n]."""
    return xp.eye(n, dtype=dtype)


def logspace(
    start: float, stop: float, num: int = 50, endpoint: bool = True, base: float = 10.0, dtype: Any = None
) -> Array:
    """`base` to the power of `num` evenly spaced exponents."""
    made = base ** xp.linspace(start, stop, num, endpoint=endpoint)
    return made if dtype is None else xp.astype(made, dtype)


def geomspace(start: float, stop: float, num: int = 50, endpoint: bool = True, dtype: Any = None) -> Array:
    """`num` numbers in geometric progression. Raises ArrayValueError unless both ends are of one sign and not 0."""
    if start * stop <= 0:
        raise ArrayValueError(f"geomspace() from {start} to {stop}: both must be of one sign, and not 0")
    sign = -1.0 if start < 0 else 1.0
    made = sign * logspace(log10(abs(start)), log10(abs(stop)), num, endpoint)
    if num > 0:
        made[0] = float(start)
    if num > 1 and endpoint:
        made[-1] = float(stop)
    return made if dtype is None else xp.astype(made, dtype)


def diag(v: Any, k: int = 0) -> Array:
    """The k-th diagonal of a matrix, or a matrix with a vector as its k-th diagonal. Raises ArrayValueError."""
    x = given(v)
    if x.ndim == 2:
        return linalg.diagonal(x, offset=k)
    if x.ndim != 1:
        raise ArrayValueError(f"diag() takes a vector or a matrix, not shape {x.shape}")
    n = x.size + abs(k)
    out = xp.zeros((n, n), dtype=x.dtype)
    if x.size:
        where = _array.arange_core(k if k >= 0 else -k * n, x.size, n + 1, 4)
        _array.scatter_core(out, where, x)
    return out


def diagflat(v: Any, k: int = 0) -> Array:
    """A matrix with v, flattened, as its k-th diagonal."""
    return diag(ravel(v), k)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:
    """Ones on and below the k-th diagonal of [N, M]."""
    return xp.tril(xp.ones((N, N if M is None else M), dtype=dtype), k=k)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    """Powers of a vector's elements [size, N], descending."""
    v = given(x)
    n = v.size if N is None else N
    powers = xp.arange(n) if increasing else xp.arange(n - 1, -1, -1)
    made: Array = xp.reshape(v, (v.size, 1)) ** powers
    return made


def copyto(dst: Array, src: Any, where: Any = True) -> None:
    """Writes src, broadcast, into dst where a mask is true."""
    if where is True:
        dst[...] = src
    else:
        new = xp.broadcast_to(xp.astype(given(src), dst.dtype), dst.shape)
        dst[...] = choose(xp.broadcast_to(given(where), dst.shape), new, dst)
