"""Products of arrays: matmul, tensordot, vecdot and NumPy's dot, inner, outer and vdot.

Large products run on the packed kernels of an installed engine. A complex product is a real one: its left rows are read
as twice as many real numbers, its right matrix is written in real form.
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

PACKED_FROM = 16**3  # multiply-adds from which packing pays
INT32 = 3


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


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape. Raises ArrayValueError if there is none."""
    rank = max(map(len, shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size != 1 and out[i] not in (1, size):
                raise ArrayValueError(f"shapes {' and '.join(str(tuple(s)) for s in shapes)} do not broadcast")
            out[i] = size if size != 1 else out[i]
    return tuple(out)


@cache
def _kernels() -> Any:
    from walle_core._native import scalar_table
    from walle_core.backends.table.executable import Kernels
    from walle_core.matrix.engine import kernels

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
    if a.ndim == 0 or b.ndim == 0:
        raise ArrayValueError("matmul() needs at least one dimension; multiply by a number with *")
    k = a.shape[-1]
    if k != b.shape[-2 if b.ndim > 1 else 0]:
        raise ArrayValueError(f"matmul() of {a.shape} and {b.shape}: {k} columns meet another number of rows")
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*lead, *a.shape[-2:-1], *(b.shape[-1:] if b.ndim > 1 else ()))
    if 0 in shape or k == 0:
        return fresh(code, shape, zero=True)
    out = fresh(code, shape, zero=False)
    if b.ndim == 1 or (b.ndim == 2 and b.shape[1] == 1):  # rows by one vector
        _algorithms.dots(code, a.tensor, b.tensor, out.tensor, out.size, k, k, 0, False)
        return out
    if code >= COMPLEX64:
        real = FLOAT32 if code == COMPLEX64 else FLOAT64
        left = (*a.shape[:-1], 2 * k)
        right = fresh(real, (*b.shape[:-2], 2 * k, 2 * b.shape[-1]))
        _algorithms.expand(code == COMPLEX128, b.tensor, right.tensor, b.size // b.shape[-1], b.shape[-1])
        _product(real, a.tensor, left, right.tensor, right.shape, out.tensor)
    elif TYPES[code].itemsize < 4:  # wrapping commutes with sums and products
        a, b, wide = _array.astype_core(a, INT32, False), _array.astype_core(b, INT32, False), fresh(INT32, shape)
        _product(INT32, a.tensor, a.shape, b.tensor, b.shape, wide.tensor)
        return _array.astype_core(wide, code, False)
    else:
        _product(code, a.tensor, a.shape, b.tensor, b.shape, out.tensor)
    return out


def _product(code: int, a: Tensor, left: Sequence[int], b: Tensor, right: Sequence[int], out: Tensor) -> None:
    """out = a b for operands of non-empty shapes `left` and `right`, of one of the dtypes that kernels have."""
    from walle_core.backends.table.gemm import Product

    p = Product.of(left, right)
    if p.m * p.n * p.k >= PACKED_FROM and code == FLOAT32 and (pack := _row("pack_b", "gemm", "float32")):
        return _packed(pack, p, a, b, out)
    args = [p.m, p.n, p.k, *p.a_stride, *p.b_stride, len(p.batch)]
    for size, a_step, b_step in zip(p.batch, p.a_step, p.b_step, strict=True):
        args += [size, a_step * p.m * p.k, b_step * p.k * p.n]
    row = _row("gemm", "plain", TYPES[code].name)
    assert row is not None  # the portable table has it
    row([out, a, b], args, p.count * p.m)


def _packed(pack: Kernel, p: Any, a: Tensor, b: Tensor, out: Tensor) -> None:
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
    pack([packed, b], args, units)
    staged = p.m > 2 and panels > 2 and 4 * p.k % ALIAS_BYTES == 0
    cut = solve(p.m, p.n, p.k, tile, 1, products=p.count, staged=staged)
    floats = stage_floats(cut, tile) if staged else 0
    scratch = Tensor((floats,), "float32", zero=False) if staged else None
    args = [p.m, p.n, *cut.args(), p.k, cut.piece, p.k, p.n, p.n, floats, *activation_args({}), len(p.batch)]
    c_step = p.count * p.m * p.n
    for size, a_step, b_step in zip(p.batch, p.a_step, _packed_steps(p, panels * tile.panel * p.k), strict=True):
        c_step //= size
        args += [size, a_step * p.m * p.k, b_step, c_step, c_step]
    row = _row("gemm", "gemm", "float32")
    assert row is not None  # it comes with pack_b
    row([out, a, packed, None, None, scratch], args, p.count * cut.units)


def matrix_transpose(x: Array, /) -> Array:
    """x [..., m, n] as [..., n, m]. Raises ArrayValueError below two dimensions."""
    if x.ndim < 2:
        raise ArrayValueError(f"matrix_transpose() needs at least 2 dimensions, not {x.ndim}")
    return _array.permute_core(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


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
        raise ArrayValueError(f"tensordot() of {a.shape} and {b.shape} over {left} and {right}: sizes do not fit")
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
    _algorithms.dots(code, a.tensor, b.tensor, out.tensor, out.size, k, *steps, True)
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
