"""The atomic operator Raster: copies strided regions of its inputs into its output. Every transform becomes one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Region, View, atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.strided import checked
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype


def extent(view: View, size: Sequence[int]) -> tuple[int, int]:
    """Lowest and highest address (in elements) that a view of this non-empty size touches."""
    low = high = view.offset
    for n, stride in zip(size, view.strides, strict=True):
        if stride < 0:
            low += (n - 1) * stride
        else:
            high += (n - 1) * stride
    return low, high


def _check(ctx: OpContext, region: Region, total: int) -> None:
    if not len(region.size) == len(region.src.strides) == len(region.dst.strides) or any(
        n < 0 for n in region.size
    ):
        raise ctx.error(f"{region} has sizes and strides that do not fit")
    if not 0 <= region.origin < len(ctx.inputs):
        raise ctx.error(f"{region} reads input {region.origin}, which is not there")
    if 0 in region.size:
        return
    for view, limit in ((region.src, ctx.spec(region.origin).size), (region.dst, total)):
        low, high = extent(view, region.size)
        if low < 0 or high >= limit:
            raise ctx.error(f"{region} touches elements {low}..{high} of a tensor with {limit}")


def _infer(ctx: OpContext) -> Sequence[TensorSpec]:
    shape = checked(ctx, ctx.attrs["shape"])
    element = as_dtype(ctx.attrs["dtype"])
    for i in range(len(ctx.inputs)):
        if ctx.dtype(i) != element:
            raise ctx.error(f"input {i} is not {element}")
    total = prod(shape)
    for region in ctx.attrs["regions"]:
        _check(ctx, region, total)
    return [TensorSpec(element, shape)]


@atomic(
    "Raster",
    "raster",
    infer=_infer,
    dtypes=("float32", "float64", "int8", "int64", "bool"),
    flops=lambda _ctx, _outs: 0.0,
)
def raster(
    *origins: Any,
    regions: Sequence[Region],
    shape: Sequence[int],
    dtype: str,
    fill: float | bool | None = None,
    view: bool = False,
) -> Any:
    """Copies strided regions of its inputs into one tensor.

    `regions` are `Region`s (origin counts the inputs), disjoint in the output; `fill` is the value of elements that
    none writes, None when all are written. `view` says that the single input in its own order is the result, so that
    a backend may give both the same memory.
    """
    if view:
        return np.reshape(origins[0], tuple(shape))
    if not origins:
        return np.full(tuple(shape), fill or 0, dtype)
    result = np.full(prod(shape), 0 if fill is None else fill, origins[0].dtype)
    flat = [np.ascontiguousarray(o).reshape(-1) for o in origins]
    as_strided = np.lib.stride_tricks.as_strided
    for region in regions:
        if 0 in region.size:
            continue
        source, item = flat[region.origin], result.itemsize
        src = as_strided(source[region.src.offset :], region.size, [s * item for s in region.src.strides])
        dst = as_strided(result[region.dst.offset :], region.size, [s * item for s in region.dst.strides])
        dst[...] = src
    return result.reshape(tuple(shape))
