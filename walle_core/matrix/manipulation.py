"""Functions that move elements. Results have memory of their own, but for `reshape`, `squeeze` and `expand_dims`, which share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import PROMOTED, code_of
from walle_core.matrix.errors import ArrayIndexError, ArrayTypeError, ArrayValueError
from walle_core.dtypes import DType


def axis_of(axis: int, rank: int) -> int:
    """`axis`, counted from the end if negative, as 0..rank-1. Raises ArrayIndexError outside of it."""
    if not -rank <= axis < rank:
        raise ArrayIndexError(f"axis {axis} of an array of {rank} dimensions")
    return axis + rank if axis < 0 else axis


def axes_of(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes, all for None, sorted and counted from the front. Raises ArrayIndexError, ArrayValueError if one is named twice."""
    if axis is None:
        return tuple(range(rank))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    out = sorted(axis_of(a, rank) for a in axes)
    if len(set(out)) != len(out):
        raise ArrayValueError(f"axes {axes} name a dimension twice")
    return tuple(out)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that arrays, dtypes and Python numbers promote to. Raises ArrayTypeError if there are numbers only."""
    from walle_core.matrix.dtypes import TYPES

    code, numbers = -1, []
    for item in arrays_and_dtypes:
        if isinstance(item, (int, float, complex)) and not isinstance(item, Array):
            numbers.append(item)
        else:
            own = item.code if isinstance(item, Array) else code_of(item)
            code = own if code < 0 else PROMOTED[13 * code + own]
    if code < 0:
        raise ArrayTypeError("result_type() takes at least one array or dtype")
    for number in numbers:
        code = _array.beside_core(number, code)
    return TYPES[code]


def _same_type(arrays: Sequence[Array]) -> list[Array]:
    if not arrays:
        raise ArrayValueError("at least one array is needed")
    code = arrays[0].code
    for a in arrays[1:]:
        code = PROMOTED[13 * code + a.code]
    return [_array.astype_core(a, code, False) for a in arrays]


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all of `shapes` broadcast to. Raises ArrayValueError if there is none."""
    rank = max(map(len, shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size != 1 and out[i] not in (1, size):
                raise ArrayValueError(f"shapes {shapes} do not broadcast")
            out[i] = size if size != 1 else out[i]
    return tuple(out)


def broadcast_to(x: Array, /, shape: Sequence[int]) -> Array:
    """A copy of x repeated to `shape`. Raises ArrayValueError if it does not broadcast to it."""
    return _array.broadcast_core(x, tuple(shape))


def broadcast_arrays(*arrays: Array) -> list[Array]:
    """Copies of all arrays in the shape that they broadcast to. Raises ArrayValueError."""
    shape = broadcast_shapes(*(a.shape for a in arrays))
    return [_array.broadcast_core(a, shape) for a in arrays]


def concat(arrays: Sequence[Array], /, *, axis: int | None = 0) -> Array:
    """Arrays one after the other along `axis`, or flattened for None. Raises ArrayValueError if other sizes differ."""
    given = _same_type(arrays)
    if axis is None:
        given, axis = [_array.reshape_core(a, (a.size,)) for a in given], 0
    if given[0].ndim == 0:
        raise ArrayValueError("concat() takes arrays with dimensions; use stack()")
    axis = axis_of(axis, given[0].ndim)
    shape = list(given[0].shape)
    for a in given[1:]:
        if a.ndim != len(shape) or any(
            x != y for i, (x, y) in enumerate(zip(a.shape, shape, strict=True)) if i != axis
        ):
            raise ArrayValueError(f"cannot join shapes {[g.shape for g in given]} along axis {axis}")
    shape[axis] = sum(a.shape[axis] for a in given)
    out = _array.empty_core(shape, given[0].code)
    at = 0
    for a in given:
        _array.paste_core(out, a, axis, at)
        at += a.shape[axis]
    return out


def stack(arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    """Arrays of one shape along a new dimension `axis`. Raises ArrayValueError if the shapes differ."""
    if len({a.shape for a in arrays}) > 1:
        raise ArrayValueError(f"stack() takes arrays of one shape, not {[a.shape for a in arrays]}")
    if not arrays:
        raise ArrayValueError("at least one array is needed")
    return concat([expand_dims(a, axis=axis) for a in arrays], axis=axis_of(axis, arrays[0].ndim + 1))


def expand_dims(x: Array, /, axis: int | Sequence[int] = 0) -> Array:
    """The array with dimensions of size 1 at the given axes of the result. Raises ArrayIndexError."""
    count = 1 if isinstance(axis, int) else len(axis)
    axes = axes_of(axis, x.ndim + count)
    sizes = iter(x.shape)
    return _array.reshape_core(x, [1 if i in axes else next(sizes) for i in range(x.ndim + count)])


def squeeze(x: Array, /, axis: int | Sequence[int]) -> Array:
    """The array without the given dimensions. Raises ArrayValueError if the size of one is not 1."""
    axes = axes_of(axis, x.ndim)
    if any(x.shape[a] != 1 for a in axes):
        raise ArrayValueError(f"squeeze() removes dimensions of size 1; shape {x.shape}, axes {axes}")
    return _array.reshape_core(x, [s for i, s in enumerate(x.shape) if i not in axes])


def reshape(x: Array, /, shape: Sequence[int], *, copy: bool | None = None) -> Array:
    """The array\'s elements in another shape, where one size may be -1; a view unless `copy`. Raises ArrayValueError."""
    return _array.reshape_core(x.copy() if copy else x, shape)


def permute_dims(x: Array, /, axes: Sequence[int]) -> Array:
    """Dimension i of the result is x's dimension axes[i]. Raises ArrayValueError unless `axes` names each once."""
    order = tuple(axis_of(a, x.ndim) for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ArrayValueError(f"axes {tuple(axes)} do not name each of {x.ndim} dimensions once")
    return _array.permute_core(x, order)


def matrix_transpose(x: Array, /) -> Array:
    """The transposes of a stack of matrices. Raises ArrayValueError below 2 dimensions."""
    return x.mT


def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int], /) -> Array:
    """The array with dimensions `source` at the places `destination`, the others in their order. Raises ArrayValueError."""
    sources = [axis_of(a, x.ndim) for a in ((source,) if isinstance(source, int) else source)]
    places = [axis_of(a, x.ndim) for a in ((destination,) if isinstance(destination, int) else destination)]
    if len(sources) != len(places) or len(set(sources)) != len(sources) or len(set(places)) != len(places):
        raise ArrayValueError(
            f"moveaxis() takes as many distinct sources as destinations: {source}, {destination}"
        )
    order = [a for a in range(x.ndim) if a not in sources]
    for place, a in sorted(zip(places, sources, strict=True)):
        order.insert(place, a)
    return _array.permute_core(x, order)


def flip(x: Array, /, *, axis: int | Sequence[int] | None = None) -> Array:
    """The array reversed along the given axes, all for None."""
    axes = axes_of(axis, x.ndim)
    return x[tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(x.ndim))]


def roll(x: Array, /, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None) -> Array:
    """Elements moved by `shift` places along `axis`, those that leave at one end come in at the other."""
    if axis is None:
        flat = roll(_array.reshape_core(x, (x.size,)), shift, axis=0)
        return _array.reshape_core(flat, x.shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(shifts) != len(axes):
        raise ArrayValueError(f"roll() takes a shift per axis, not {shift} for {axis}")
    for places, given in zip(shifts, axes, strict=True):
        a = axis_of(given, x.ndim)
        n = x.shape[a]
        cut = (n - places % n) % n if n else 0
        head = x[(*(slice(None),) * a, slice(0, cut))]
        x = concat([x[(*(slice(None),) * a, slice(cut, None))], head], axis=a)
    return x.copy()


def repeat(x: Array, repeats: int | Array, /, *, axis: int | None = None) -> Array:
    """Each element along `axis` (of the flattened array for None) as often as `repeats` says. Raises ArrayValueError."""
    if axis is None:
        x, axis = _array.reshape_core(x, (x.size,)), 0
    axis = axis_of(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(repeats, Array) and repeats.size == 1:
        repeats = int(repeats.item())
    if isinstance(repeats, int):
        if repeats < 0:
            raise ArrayValueError(f"repeat() takes counts of at least 0, not {repeats}")
        columns = _array.reshape_core(_array.arange_core(0, n, 1, 4), (n, 1))
        where = _array.reshape_core(_array.broadcast_core(columns, (n, repeats)), (n * repeats,))
        return _array.take_core(x, where, axis)
    counts = repeats.tolist() if isinstance(repeats, Array) else list(repeats)
    if len(counts) != n or min(counts, default=0) < 0:
        raise ArrayValueError(f"repeat() takes {n} counts of at least 0, not {counts}")
    return _array.take_core(x, [i for i, count in enumerate(counts) for _ in range(count)] or _none(), axis)


def _none() -> Array:
    return _array.empty_core(0, 4)


def tile(x: Array, repetitions: int | Sequence[int], /) -> Array:
    """The array side by side, repetitions[i] times along dimension i; missing dimensions are added in front."""
    if isinstance(repetitions, int):
        repetitions = (repetitions,)
    times = [1] * (x.ndim - len(repetitions)) + list(repetitions)
    shape = [1] * (len(times) - x.ndim) + list(x.shape)
    pairs = [n for size in shape for n in (1, size)]
    wide = [n for count, size in zip(times, shape, strict=True) for n in (count, size)]
    for i in range(len(times)) if len(wide) > 12 else ():  # more dimensions than an array has: one at a time
        x = concat([_array.reshape_core(x, shape)] * times[i], axis=i) if times[i] else x[:0]
        shape[i] *= times[i]
    if len(wide) > 12:
        return _array.reshape_core(x, shape)
    made = _array.broadcast_core(_array.reshape_core(x, pairs), wide)
    return _array.reshape_core(made, [c * s for c, s in zip(times, shape, strict=True)])


def unstack(x: Array, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices of x along `axis`, without that dimension."""
    axis = axis_of(axis, x.ndim)
    return tuple(x[(*(slice(None),) * axis, i)] for i in range(x.shape[axis]))


def take(x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
    """Slices of x along `axis` at `indices`; negative ones count from the end. Raises ArrayIndexError."""
    if axis is None:
        if x.ndim != 1:
            raise ArrayValueError("take() needs an axis for arrays of more than one dimension")
        axis = 0
    return _array.take_core(x, indices, axis_of(axis, x.ndim))


def take_along_axis(x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """Elements of x at `indices` of `axis`; the other dimensions broadcast. Raises ArrayIndexError, ArrayValueError."""
    if x.ndim != indices.ndim:
        raise ArrayValueError(f"take_along_axis() takes indices of {x.ndim} dimensions, not {indices.ndim}")
    axis = axis_of(axis, x.ndim)
    shape = list(broadcast_shapes((*x.shape[:axis], 1, *x.shape[axis + 1:]),
                                  (*indices.shape[:axis], 1, *indices.shape[axis + 1:])))  # fmt: skip
    from_shape, to_shape = list(shape), list(shape)
    from_shape[axis], to_shape[axis] = x.shape[axis], indices.shape[axis]
    x = x if list(x.shape) == from_shape else _array.broadcast_core(x, from_shape)
    indices = indices if list(indices.shape) == to_shape else _array.broadcast_core(indices, to_shape)
    return _array.take_along_core(x, indices, axis)
