"""Products of arrays: matmul, tensordot, vecdot and NumPy's dot, inner, outer and vdot.

Large float32 products run on the packed kernels of an installed engine, if there is one with vectors; float64 ones and the
others on those of walle/matrix/packed_product.hpp. A complex product is made of real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

from walle_core._native import Kernel, Tensor
from walle_core.matrix import _algorithms, _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import COMPLEX64, COMPLEX128, FLOAT32, FLOAT64, PROMOTED, TYPES
from walle_core.matrix.errors import ArrayTypeError, ArrayValueError
from walle_core.matrix.manipulation import broadcast_shapes, matrix_transpose

ENGINE_FROM, ENGINE_ROWS, ENGINE_LANES = (
    96**3,
    8,
    4,
)  # multiply-adds, rows and lanes from which an engine's product pays


def fresh(code: int, shape: Sequence[int], zero: bool = False) -> Array:
    """A new array; its memory is as it comes unless `zero`."""
    return Array.of(Tensor(tuple(shape), TYPES[code].name, zero))


def operands(name: str, x1: Any, x2: Any) -> tuple[Array, Array, int]:
    """Both as arrays of their common dtype. Raises ArrayTypeError for bool, which has no product."""
    a, b = _array.asarray_core(x1, -1, None), _array.asarray_core(x2, -1, None)
    code = PROMOTED[13 * a.code + b.code]
    if code == 0:
        raise ArrayTypeError(f"{name}() takes numbers, not bool; use astype() first")
    return _array.astype_core(a, code, False), _array.astype_core(b, code, False), code


@cache
def _kernels() -> Any:
    from walle_core._native import scalar_table
    from walle_core.backends.table.kernels import Kernels
    from walle_core.matrix.tables import kernels

    return kernels() or Kernels([scalar_table()])


@cache
def _row(family: str, op: str, dtype: str) -> Kernel | None:
    found: Kernel | None = _kernels().kernel(family, op, dtype)
    return found


def matmul(x1: Array, x2: Array, /) -> Array:
    """Matrix products of the last two dimensions, the others broadcast.

    Args:
        x1: [..., m, k], or [k] (one row, whose dimension the result lacks).
        x2: [..., k, n], or [k] (one column).

    Raises:
        ArrayValueError: sizes that do not fit, an array without dimensions.
        ArrayTypeError: bool.
    """
    a, b, code = operands("matmul", x1, x2)
    left, right = a.shape, b.shape
    if not left or not right:
        raise ArrayValueError("matmul() needs at least one dimension; multiply by a number with *")
    k = left[-1]
    if k != right[-2 if len(right) > 1 else 0]:
        raise ArrayValueError(f"matmul() of {left} and {right}: {k} columns meet another number of rows")
    lead = left[:-2] if len(right) <= 2 else broadcast_shapes(left[:-2], right[:-2])
    shape = (*lead, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))
    if k == 0 or 0 in shape:
        return fresh(code, shape, zero=True)
    out: Array = _array.empty_core(shape, code)
    if len(right) == 1 or (len(right) == 2 and right[1] == 1):  # rows by one vector
        _algorithms.dots(code, a.tensor, b.tensor, out.tensor, out.size, k, k, 0, False)
    elif code < COMPLEX64:
        _product(code, a.tensor, left, b.tensor, right, out.tensor)
    else:
        _complex_product(code, a, b, out)
    return out


def _product(code: int, a: Tensor, left: Sequence[int], b: Tensor, right: Sequence[int], out: Tensor) -> None:
    """Computes out = a b for operands of non-empty shapes, `right` of two dimensions or more, of any dtype but complex ones."""
    if len(right) == 2:  # the rows of all batches meet the same matrix
        k, n = right
        m = prod(left[:-1])
        if code != FLOAT32 or m < ENGINE_ROWS or m * n * k < ENGINE_FROM or _kernels().lanes < ENGINE_LANES:
            return _algorithms.product(code, a, b, out, m, n, k, ())
    from walle_core.backends.table.gemm import Product

    p = Product.of(left, right)
    if (
        code == FLOAT32
        and p.m >= ENGINE_ROWS
        and p.m * p.n * p.k >= ENGINE_FROM
        and _kernels().lanes >= ENGINE_LANES
    ):
        return _packed(p, a, b, out)
    steps = zip(p.batch, p.a_step, p.b_step, strict=True)
    dims = [(size, i * p.m * p.k, j * p.k * p.n) for size, i, j in steps]
    return _algorithms.product(code, a, b, out, p.m, p.n, p.k, dims)


def _complex_product(code: int, a: Array, b: Array, out: Array) -> None:
    """Computes out = a b through real products, of which either the left or the right operand is written in another form."""
    real, wide, k, n = (
        (FLOAT32 if code == COMPLEX64 else FLOAT64),
        code == COMPLEX128,
        b.shape[-2],
        b.shape[-1],
    )
    left, right = a.shape, b.shape
    if len(left) < 2 or left[-2] <= k:
        left = (*left[:-2], 2 * (left[-2] if len(left) > 1 else 1), k)
        parts, sums = _array.empty_core(left, real), fresh(real, (out.size // n, 2, 2 * n))
        _algorithms.reform(1, wide, a.tensor, parts.tensor, a.size // k, k)
        _product(real, parts.tensor, left, b.tensor, (*right[:-1], 2 * n), sums.tensor)
        _algorithms.reform(2, wide, sums.tensor, out.tensor, out.size // n, n)
    else:
        form = _array.empty_core((*right[:-2], 2 * k, 2 * n), real)
        _algorithms.reform(0, wide, b.tensor, form.tensor, b.size // n, n)
        _product(real, a.tensor, (*left[:-1], 2 * k), form.tensor, form.shape, out.tensor)


def _packed(p: Any, a: Tensor, b: Tensor, out: Tensor) -> None:
    from walle_core.backends.table.activation import activation_args
    from walle_core.backends.table.cut import ALIAS_BYTES, TileShape, solve, stage_floats
    from walle_core.backends.table.emitter import f64
    from walle_core.backends.table.gemm import _packed_steps

    tile = TileShape.of(_kernels())
    panels, dims = -(-p.n // tile.panel), p.b_dims()
    units = prod(size for size, _ in dims) * panels
    packed = Tensor((units * tile.panel * p.k,), "float32", zero=False)
    args = [p.k, p.n, *p.b_stride, f64(1.0), len(dims)]
    for size, step in dims:
        args += [size, step * p.k * p.n]
    pack, row = _row("pack_b", "gemm", "float32"), _row("gemm", "gemm", "float32")
    assert pack is not None and row is not None  # every table has them
    pack([packed, b], args, units)
    staged = p.m > 2 and panels > 2 and 4 * p.k % ALIAS_BYTES == 0
    cut = solve(p.m, p.n, p.k, tile, 1, products=p.count, staged=staged)
    floats = stage_floats(cut, tile) if staged else 0
    scratch = Tensor((floats,), "float32", zero=False) if staged else None
    args = [p.m, p.n, *cut.args(), p.k, cut.piece, p.k, p.n, p.n, floats, *activation_args({}), len(p.batch)]
    c_step = p.count * p.m * p.n
    for size, a_step, b_step in zip(
        p.batch, p.a_step, _packed_steps(p, panels * tile.panel * p.k), strict=True
    ):
        c_step //= size
        args += [size, a_step * p.m * p.k, b_step, c_step, c_step]
    row([out, a, packed, None, None, scratch], args, p.count * cut.units)


def normal_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front. Raises ArrayValueError."""
    if not -rank <= axis < rank:
        raise ArrayValueError(f"axis {axis} of an array of {rank} dimensions")
    return axis % rank


def tensordot(x1: Array, x2: Array, /, *, axes: int | Sequence[Sequence[int]] = 2) -> Array:
    """Sums of products over pairs of dimensions.

    Args:
        x1: any shape.
        x2: any shape.
        axes: how many of x1's last and x2's first dimensions meet, or the two lists of dimensions that do.

    Raises:
        ArrayValueError: sizes or numbers of dimensions that do not fit.
        ArrayTypeError: bool.
    """
    a, b, _ = operands("tensordot", x1, x2)
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ArrayValueError(f"tensordot() over {axes} dimensions of {a.shape} and {b.shape}")
        left, right = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        lists = [[part] if isinstance(part, int) else list(part) for part in axes]
        left = [normal_axis(i, a.ndim) for i in lists[0]]
        right = [normal_axis(i, b.ndim) for i in lists[1]]
    sizes = [a.shape[i] for i in left]
    if sizes != [b.shape[i] for i in right] or len(set(left)) != len(left) or len(set(right)) != len(right):
        raise ArrayValueError(
            f"tensordot() of {a.shape} and {b.shape} over {left} and {right}: sizes do not fit"
        )
    rows = [i for i in range(a.ndim) if i not in left]
    columns = [i for i in range(b.ndim) if i not in right]
    shape = [a.shape[i] for i in rows] + [b.shape[i] for i in columns]
    k = prod(sizes)
    flat_a = _array.reshape_core(_ordered(a, [*rows, *left]), (prod(a.shape[i] for i in rows), k))
    flat_b = _array.reshape_core(_ordered(b, [*right, *columns]), (k, prod(b.shape[i] for i in columns)))
    return _array.reshape_core(matmul(flat_a, flat_b), shape)


def _ordered(x: Array, axes: list[int]) -> Array:
    return x if axes == list(range(x.ndim)) else _array.permute_core(x, axes)


def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Sums of conj(x1) * x2 over one dimension, the others broadcast.

    Args:
        x1, x2: of the same size along `axis`, which counts from the last dimension.
        axis: negative, of both arrays.

    Raises:
        ArrayValueError: sizes that do not fit.
        ArrayTypeError: bool.
    """
    a, b, code = operands("vecdot", x1, x2)
    if a.ndim == 0 or b.ndim == 0:
        raise ArrayValueError("vecdot() needs at least one dimension")
    if axis >= 0:  # of the broadcast shape
        axis -= max(a.ndim, b.ndim)
    a, b = _last(a, axis), _last(b, axis)
    k = a.shape[-1]
    if b.shape[-1] != k:
        raise ArrayValueError(f"vecdot() of {k} and {b.shape[-1]} elements")
    shape = broadcast_shapes(a.shape[:-1], b.shape[:-1])
    out = fresh(code, shape, zero=False)
    if k == 0:
        return fresh(code, shape, zero=True)
    steps = []
    for name, x in (("a", a), ("b", b)):
        if x.size == k:
            steps.append(0)
            continue
        if x.shape[:-1] != shape:
            x = _array.broadcast_core(x, (*shape, k))
        a, b = (x, b) if name == "a" else (a, x)
        steps.append(k)
    _algorithms.dots(code, a.tensor, b.tensor, out.tensor, out.size, k, steps[0], steps[1], True)
    return out


def _last(x: Array, axis: int) -> Array:
    axis = normal_axis(axis, x.ndim)
    return _ordered(x, [*(i for i in range(x.ndim) if i != axis), axis])


def outer(x1: Array, x2: Array, /) -> Array:
    """x1[i] * x2[j] of two vectors. Raises ArrayValueError for other ranks."""
    if x1.ndim != 1 or x2.ndim != 1:
        raise ArrayValueError(f"outer() takes vectors, not shapes {x1.shape} and {x2.shape}")
    product: Array = _array.reshape_core(x1, (x1.size, 1)) * _array.reshape_core(x2, (1, x2.size))
    return product


def dot(a: Any, b: Any) -> Array:
    """NumPy's dot: of a's last dimension with b's last but one (or only) one; numbers multiply. Raises ArrayValueError."""
    x, y = _array.asarray_core(a, -1, None), _array.asarray_core(b, -1, None)
    if x.ndim == 0 or y.ndim == 0:
        product: Array = x * y
        return product
    return tensordot(x, y, axes=([x.ndim - 1], [max(0, y.ndim - 2)]))


def inner(a: Any, b: Any) -> Array:
    """Sums of products over the last dimensions of both; numbers multiply. Raises ArrayValueError."""
    x, y = _array.asarray_core(a, -1, None), _array.asarray_core(b, -1, None)
    if x.ndim == 0 or y.ndim == 0:
        product: Array = x * y
        return product
    return tensordot(x, y, axes=([x.ndim - 1], [y.ndim - 1]))


def vdot(a: Any, b: Any) -> Array:
    """Sum of conj(a) * b over all elements. Raises ArrayValueError if their counts differ."""
    x, y = _array.asarray_core(a, -1, None), _array.asarray_core(b, -1, None)
    return vecdot(_array.reshape_core(x, (x.size,)), _array.reshape_core(y, (y.size,)))


__all__ = [
    "broadcast_shapes", "dot", "fresh", "inner", "matmul", "matrix_transpose", "normal_axis", "operands",
    "outer", "tensordot", "vdot", "vecdot",
]  # fmt: skip
