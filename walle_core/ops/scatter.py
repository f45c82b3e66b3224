"""Writing at computed places: ScatterElements, ScatterND, Scatter, TensorScatter."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import Adjoint, OpContext, Sample, atomic, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import zeros
from walle_core.ops.rules import check_kinds, normal_axis, rule, text
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None
REDUCTIONS = ("none", "add", "mul", "max", "min")


def _check_reduction(ctx: OpContext) -> None:
    if text(ctx.attrs["reduction"]) not in REDUCTIONS:
        raise ValueError(f"reduction {ctx.attrs['reduction']!r} is none of {', '.join(REDUCTIONS)}")
    if ctx.dtype(0) != ctx.dtype(2):
        raise ValueError("data and updates differ in dtype")


def _write(result: Any, where: tuple[Any, ...], updates: Any, reduction: str) -> None:
    if reduction == "none":
        result[where] = updates
    else:
        {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction].at(
            result, where, updates
        )


@rule
def _scatter_elements_infer(ctx: OpContext) -> Specs:
    data, indices = ctx.shape(0), ctx.shape(1)
    check_kinds(ctx, "i", 1)
    normal_axis(ctx.attrs["axis"], len(data))
    if "reduction" in ctx.attrs:
        _check_reduction(ctx)
    if len(indices) != len(data) or ctx.shape(2) != indices:
        raise ValueError("indices and updates must have one shape, of the rank of the data")
    return [ctx.spec(0)]


def _scatter_gradient(gather: str, scatter: str, along: bool) -> Any:
    """By the data: its gradient but where it was replaced; by the updates: what they were written to has."""

    def gradient(g: Any, at: Adjoint) -> list[str | None]:
        _, indices, updates = at.inputs
        d, reduction = at.grads[0], text(at.attrs.get("reduction", "none"))
        if reduction not in ("none", "add"):
            raise ValueError(f"reduction {reduction!r} has no gradient; 'none' and 'add' have")
        axis = {"axis": at.attrs["axis"]} if along else {}
        kept = d if reduction == "add" else getattr(g, scatter)(d, indices, zeros(g, updates or ""), **axis)
        return [kept, None, getattr(g, gather)(d, indices, **axis)]

    return gradient


@atomic(
    "ScatterElements",
    "scatter",
    gradient=_scatter_gradient("GatherElements", "ScatterElements", along=True),
    infer=_scatter_elements_infer,
    samples=(
        Sample(((3, 3), [[1, 0, 2], [0, 2, 1]], (2, 3))),
        Sample(((1, 5), [[1, 1, -1]], (1, 3)), {"axis": 1, "reduction": "add"}),
        Sample(((3, 2), [[1, 0]], (1, 2)), {"reduction": "max"}),
    ),
)
def scatter_elements(data: Any, indices: Any, updates: Any, *, axis: int = 0, reduction: str = "none") -> Any:
    """A copy of the data with one element per index replaced, or combined by a reduction."""
    result = data.copy()
    where = list(np.ogrid[tuple(slice(0, n) for n in indices.shape)])
    where[axis] = np.where(indices < 0, indices + data.shape[axis], indices)
    _write(result, tuple(where), updates, text(reduction))
    return result


@composite(
    "Scatter",
    "scatter",
    infer=_scatter_elements_infer,
    reference=lambda data, indices, updates, *, axis=0: scatter_elements(data, indices, updates, axis=axis),
    samples=(Sample(((3, 3), [[1, 0, 2], [0, 2, 1]], (2, 3))),),
)
def scatter(g: Any, data: str, indices: str, updates: str, *, axis: int = 0) -> Any:
    """The deprecated name of ScatterElements without a reduction."""
    return g.ScatterElements(data, indices, updates, axis=axis)


@rule
def _scatter_nd_infer(ctx: OpContext) -> Specs:
    data, indices = ctx.shape(0), ctx.shape(1)
    check_kinds(ctx, "i", 1)
    _check_reduction(ctx)
    if not indices or indices[-1] > len(data):
        raise ValueError(f"index tuples of {indices[-1:]} do not address rank {len(data)}")
    if ctx.shape(2) != (*indices[:-1], *data[indices[-1] :]):
        raise ValueError(f"updates must have shape {(*indices[:-1], *data[indices[-1] :])}")
    return [ctx.spec(0)]


@atomic(
    "ScatterND",
    "scatter",
    gradient=_scatter_gradient("GatherND", "ScatterND", along=False),
    infer=_scatter_nd_infer,
    samples=(
        Sample(((8,), [[4], [3], [1], [-1]], (4,))),
        Sample(((3, 2, 2), [[0], [2]], (2, 2, 2)), {"reduction": "mul"}),
    ),
)
def scatter_nd(data: Any, indices: Any, updates: Any, *, reduction: str = "none") -> Any:
    """A copy of the data with slices at index tuples replaced, or combined by a reduction."""
    result = data.copy()
    _write(result, tuple(np.moveaxis(indices, -1, 0)), updates, text(reduction))
    return result


@rule
def _tensor_scatter_infer(ctx: OpContext) -> Specs:
    cache, update = ctx.shape(0), ctx.shape(1)
    axis = normal_axis(ctx.attrs["axis"], len(cache))
    if axis == 0 or len(update) != len(cache):
        raise ValueError("axis must not be the batch axis 0, and the update must have the rank of the cache")
    if (
        any(a != b for k, (a, b) in enumerate(zip(cache, update, strict=True)) if k != axis)
        or update[axis] > cache[axis]
    ):
        raise ValueError(f"the update may differ from the cache only by being shorter along axis {axis}")
    if text(ctx.attrs["mode"]) not in ("linear", "circular"):
        raise ValueError(f"mode {ctx.attrs['mode']!r} is neither 'linear' nor 'circular'")
    return [ctx.spec(0)]


def _tensor_scatter_reference(
    past_cache: Any, update: Any, write_indices: Any = None, *, mode: str = "linear", axis: int = -2
) -> Any:
    axis, limit = axis % past_cache.ndim, past_cache.shape[axis]
    starts = np.zeros(past_cache.shape[0], np.int64) if write_indices is None else write_indices
    result = np.moveaxis(past_cache.copy(), axis, 1)
    for b, start in enumerate(starts):
        where = int(start) + np.arange(update.shape[axis])
        result[b, where % limit if text(mode) == "circular" else where] = np.moveaxis(update, axis, 1)[b]
    return np.moveaxis(result, 1, axis)


@composite(
    "TensorScatter",
    "scatter",
    infer=_tensor_scatter_infer,
    reference=_tensor_scatter_reference,
    samples=(
        Sample(((2, 1, 4, 3), (2, 1, 2, 3), [1, 2])),
        Sample(((2, 1, 4, 3), (2, 1, 2, 3), [3, 2]), {"mode": "circular"}),
    ),
)
def tensor_scatter(
    g: Any,
    past_cache: str,
    update: str,
    write_indices: str | None = None,
    *,
    mode: str = "linear",
    axis: int = -2,
) -> Any:
    """Writes an update into a cache along `axis`, for every batch element from its own place on."""
    cache, shape = g.shape(past_cache), g.shape(update)
    at = axis % len(cache)
    along = [shape[at] if k == at else 1 for k in range(len(cache))]
    where = g.Reshape(g.const(list(range(shape[at])), "int64"), g.const(along, "int64"))
    if write_indices is not None:
        starts = g.Reshape(g.Cast(write_indices, to=7), g.const([-1, *[1] * (len(cache) - 1)], "int64"))
        where = g.Add(where, starts)
    if text(mode) == "circular":
        where = g.Mod(where, g.const(cache[at], "int64"))
    return g.ScatterElements(past_cache, g.Expand(where, g.const(list(shape), "int64")), update, axis=at)
