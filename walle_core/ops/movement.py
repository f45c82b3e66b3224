"""Transforms that keep all elements or repeat them: Transpose, Reshape and its relatives, Expand, Tile."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Region, Sample, transform
from walle_core.ops.numpy_lazy import np
from walle_core.ops.strided import axes_of, copy, row_major, spec_of, whole
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None


def _permutation(ctx: OpContext) -> list[int]:
    rank = len(ctx.shape(0))
    perm = ctx.attrs["perm"]
    if perm is None:
        return list(reversed(range(rank)))
    axes = axes_of(ctx, perm, rank)
    if len(axes) != rank:
        raise ctx.error(f"perm {list(perm)} must name each of the {rank} axes once")
    return axes


def _transpose_infer(ctx: OpContext) -> Specs:
    shape = ctx.shape(0)
    return spec_of(ctx, [shape[a] for a in _permutation(ctx)])


def _transpose_regions(ctx: OpContext) -> list[Region]:
    shape, perm = ctx.shape(0), _permutation(ctx)
    strides = row_major(shape)
    size = [shape[a] for a in perm]
    return [copy(size, [strides[a] for a in perm], row_major(size))]


@transform(
    "Transpose",
    infer=_transpose_infer,
    regions=_transpose_regions,
    samples=(Sample(((2, 3, 4),)), Sample(((2, 3, 4, 5),), {"perm": (0, 2, 3, 1)}), Sample(((6,),))),
)
def transpose(data: Any, *, perm: Sequence[int] | None = None) -> Any:
    """Permutes the axes; without `perm` it reverses them."""
    return np.transpose(data, perm)


def _same_elements(ctx: OpContext) -> list[Region]:
    return whole(ctx.shape(0))


def reshaped(ctx: OpContext, shape: Sequence[int], wanted: Sequence[int], allowzero: bool) -> list[int]:
    """`wanted` with 0 (copy) and -1 (deduce) resolved against `shape`. Raises ShapeError if they do not fit."""
    out = list(wanted)
    if any(d < -1 for d in out) or out.count(-1) > 1:
        raise ctx.error(f"shape {out} may hold sizes, and -1 at most once")
    if not allowzero:
        for i, d in enumerate(out):
            if d == 0:
                if i >= len(shape):
                    raise ctx.error(f"shape {out} copies axis {i}, which the input does not have")
                out[i] = shape[i]
    if -1 in out:
        known = prod(d for d in out if d != -1)
        if known == 0 or prod(shape) % known:
            raise ctx.error(f"{prod(shape)} elements do not fill shape {list(wanted)}")
        out[out.index(-1)] = prod(shape) // known
    if prod(out) != prod(shape):
        raise ctx.error(f"{prod(shape)} elements do not fill shape {list(wanted)}")
    return out


def _reshape_infer(ctx: OpContext) -> Specs:
    wanted = ctx.ints(1)
    if wanted is None:
        return None
    return spec_of(ctx, reshaped(ctx, ctx.shape(0), wanted, bool(ctx.attrs["allowzero"])))


@transform(
    "Reshape",
    infer=_reshape_infer,
    regions=_same_elements,
    samples=(Sample(((2, 3, 4), [0, -1])), Sample(((2, 3, 4), [4, 6])), Sample(((1,), [-1, 1, 1]))),
)
def reshape(data: Any, shape: Any, *, allowzero: int = 0) -> Any:
    """Gives the elements a new shape; 0 copies a size (unless `allowzero`), -1 deduces one."""
    wanted = [int(d) for d in shape]
    if not allowzero:
        wanted = [data.shape[i] if d == 0 else d for i, d in enumerate(wanted)]
    return np.reshape(data, wanted)


def _flatten_infer(ctx: OpContext) -> Specs:
    shape = ctx.shape(0)
    axis = ctx.attrs["axis"]
    if not -len(shape) <= axis <= len(shape):
        raise ctx.error(f"axis {axis} is outside [{-len(shape)}, {len(shape)}]")
    axis = axis + len(shape) if axis < 0 else axis
    return spec_of(ctx, [prod(shape[:axis]), prod(shape[axis:])])


@transform(
    "Flatten",
    infer=_flatten_infer,
    regions=_same_elements,
    samples=(Sample(((2, 3, 4),)), Sample(((2, 3, 4),), {"axis": 0}), Sample(((2, 3, 4),), {"axis": -1})),
)
def flatten(input: Any, *, axis: int = 1) -> Any:
    """Makes a matrix: axes before `axis` become rows, the others columns."""
    axis = axis + input.ndim if axis < 0 else axis
    return np.reshape(input, (prod(input.shape[:axis]), prod(input.shape[axis:])))


def _squeeze_infer(ctx: OpContext) -> Specs:
    shape = ctx.shape(0)
    if ctx.has(1) and not ctx.constant(1):
        return None
    if ctx.has(1):
        axes = axes_of(ctx, ctx.ints(1) or [], len(shape))
    else:
        axes = [i for i, d in enumerate(shape) if d == 1]
    for axis in axes:
        if shape[axis] != 1:
            raise ctx.error(f"axis {axis} has size {shape[axis]}; only axes of size 1 can be removed")
    return spec_of(ctx, [d for i, d in enumerate(shape) if i not in axes])


@transform(
    "Squeeze",
    infer=_squeeze_infer,
    regions=_same_elements,
    samples=(Sample(((1, 3, 1, 4),)), Sample(((1, 3, 1, 4), [-2]))),
)
def squeeze(data: Any, axes: Any = None) -> Any:
    """Removes axes of size 1: the given ones, or all of them."""
    return np.squeeze(data, None if axes is None else tuple(int(a) for a in np.reshape(axes, -1)))


def _unsqueeze_infer(ctx: OpContext) -> Specs:
    axes = ctx.ints(1)
    if axes is None:
        return None
    rank = len(ctx.shape(0)) + len(axes)
    where = axes_of(ctx, axes, rank)
    rest = iter(ctx.shape(0))
    return spec_of(ctx, [1 if i in where else next(rest) for i in range(rank)])


@transform(
    "Unsqueeze",
    infer=_unsqueeze_infer,
    regions=_same_elements,
    samples=(Sample(((3, 4), [0])), Sample(((3, 4), [-1, 1]))),
)
def unsqueeze(data: Any, axes: Any) -> Any:
    """Inserts axes of size 1 at the given places of the result."""
    return np.expand_dims(data, tuple(int(a) for a in np.reshape(axes, -1)))


def _identity_infer(ctx: OpContext) -> Specs:
    return spec_of(ctx, ctx.shape(0))


@transform(
    "Identity", infer=_identity_infer, regions=_same_elements, samples=(Sample(((2, 3),)), Sample(((),)))
)
def identity(input: Any) -> Any:
    """Returns its input."""
    return input


def _broadcast(ctx: OpContext, wanted: Sequence[int]) -> list[int]:
    shape = ctx.shape(0)
    rank = max(len(shape), len(wanted))
    a = [1] * (rank - len(shape)) + list(shape)
    b = [1] * (rank - len(wanted)) + list(wanted)
    for x, y in zip(a, b, strict=True):
        if x != y and 1 not in (x, y):
            raise ctx.error(f"cannot be expanded to {list(wanted)}")
    return [y if x == 1 else x for x, y in zip(a, b, strict=True)]


def _expand_infer(ctx: OpContext) -> Specs:
    wanted = ctx.ints(1)
    return None if wanted is None else spec_of(ctx, _broadcast(ctx, wanted))


def _expand_regions(ctx: OpContext) -> list[Region] | None:
    wanted = ctx.ints(1)
    if wanted is None:
        return None
    shape, out = ctx.shape(0), _broadcast(ctx, wanted)
    lead = [0] * (len(out) - len(shape))
    src = lead + [0 if d == 1 else s for d, s in zip(shape, row_major(shape), strict=True)]
    return [copy(out, src, row_major(out))]


@transform(
    "Expand",
    infer=_expand_infer,
    regions=_expand_regions,
    samples=(Sample(((3, 1), [2, 1, 4])), Sample(((3, 4), [1])), Sample(((), [2, 2]))),
)
def expand(input: Any, shape: Any) -> Any:
    """Repeats elements along axes of size 1, by the broadcasting rules."""
    wanted = np.broadcast_shapes(input.shape, tuple(int(d) for d in shape))
    return np.broadcast_to(input, wanted).copy()


def _repeats(ctx: OpContext) -> list[int] | None:
    repeats = ctx.ints(1)
    if repeats is not None and (len(repeats) != len(ctx.shape(0)) or any(r < 0 for r in repeats)):
        raise ctx.error(f"repeats {repeats} must hold one count >= 0 for each axis")
    return repeats


def _tile_infer(ctx: OpContext) -> Specs:
    repeats = _repeats(ctx)
    return (
        None if repeats is None else spec_of(ctx, [d * r for d, r in zip(ctx.shape(0), repeats, strict=True)])
    )


def _tile_regions(ctx: OpContext) -> list[Region] | None:
    repeats = _repeats(ctx)
    if repeats is None:
        return None
    shape = ctx.shape(0)
    out = row_major([d * r for d, r in zip(shape, repeats, strict=True)])
    size, src, dst = [], [], []
    for d, r, s, o in zip(shape, repeats, row_major(shape), out, strict=True):
        size += [r, d]
        src += [0, s]
        dst += [o * d, o]
    return [copy(size, src, dst)]


@transform(
    "Tile",
    infer=_tile_infer,
    regions=_tile_regions,
    samples=(Sample(((2, 3), [2, 1])), Sample(((2, 3), [1, 4])), Sample(((2, 2, 2), [2, 3, 2]))),
)
def tile(input: Any, repeats: Any) -> Any:
    """Repeats the whole tensor along each axis."""
    return np.tile(input, tuple(int(r) for r in repeats))
