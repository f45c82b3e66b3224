"""Transforms between channels and space: DepthToSpace, SpaceToDepth."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import OpContext, Region, Sample, transform
from walle_core.ops.numpy_lazy import np
from walle_core.ops.strided import copy, row_major, spec_of
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None


def _depth_or_space(ctx: OpContext) -> tuple[int, int, int, int, int]:
    shape, block = ctx.shape(0), ctx.attrs["blocksize"]
    if len(shape) != 4:
        raise ctx.error("needs an input of rank 4 [N, C, H, W]")
    if block < 1:
        raise ctx.error(f"blocksize {block} must be at least 1")
    if ctx.attrs["mode"] not in ("DCR", "CRD"):
        raise ctx.error(f"mode {ctx.attrs['mode']!r} is neither 'DCR' nor 'CRD'")
    return (*shape, block)


def _depth_to_space_infer(ctx: OpContext) -> Specs:
    n, c, h, w, b = _depth_or_space(ctx)
    if c % (b * b):
        raise ctx.error(f"{c} channels are not a multiple of blocksize² = {b * b}")
    return spec_of(ctx, (n, c // (b * b), h * b, w * b))


def _depth_to_space_regions(ctx: OpContext) -> list[Region]:
    n, c, h, w, b = _depth_or_space(ctx)
    depth = c // (b * b)
    steps = (b * depth, depth, 1) if ctx.attrs["mode"] == "DCR" else (b, 1, b * b)
    row, column, channel = (s * h * w for s in steps)
    size = (n, depth, h, b, w, b)
    return [copy(size, (c * h * w, channel, w, row, 1, column), row_major(size))]


@transform(
    "DepthToSpace",
    infer=_depth_to_space_infer,
    regions=_depth_to_space_regions,
    samples=(
        Sample(((1, 8, 2, 3),), {"blocksize": 2}),
        Sample(((1, 8, 2, 3),), {"blocksize": 2, "mode": "CRD"}),
    ),
)
def depth_to_space(input: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    """Moves blocks of channels into blocksize × blocksize squares of space."""
    n, c, h, w = input.shape
    b, depth = blocksize, c // (blocksize * blocksize)
    if mode == "DCR":
        moved = np.transpose(np.reshape(input, (n, b, b, depth, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        moved = np.transpose(np.reshape(input, (n, depth, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return np.reshape(moved, (n, depth, h * b, w * b))


def _space_to_depth_infer(ctx: OpContext) -> Specs:
    n, c, h, w, b = _depth_or_space(ctx)
    if h % b or w % b:
        raise ctx.error(f"height {h} and width {w} must be multiples of blocksize {b}")
    return spec_of(ctx, (n, c * b * b, h // b, w // b))


def _space_to_depth_regions(ctx: OpContext) -> list[Region]:
    n, c, h, w, b = _depth_or_space(ctx)
    plane = (h // b) * (w // b)
    steps = (b * c, c, 1) if ctx.attrs["mode"] == "DCR" else (b, 1, b * b)
    row, column, channel = (s * plane for s in steps)
    size = (n, c, h // b, b, w // b, b)
    dst = (c * b * b * plane, channel, w // b, row, 1, column)
    return [copy(size, row_major(size), dst)]


@transform(
    "SpaceToDepth",
    infer=_space_to_depth_infer,
    regions=_space_to_depth_regions,
    samples=(
        Sample(((1, 2, 4, 6),), {"blocksize": 2}),
        Sample(((1, 2, 4, 6),), {"blocksize": 2, "mode": "CRD"}),
    ),
)
def space_to_depth(input: Any, *, blocksize: int, mode: str = "DCR") -> Any:
    """Moves blocksize × blocksize squares of space into channels; the inverse of DepthToSpace."""
    n, c, h, w = input.shape
    b = blocksize
    split = np.reshape(input, (n, c, h // b, b, w // b, b))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return np.reshape(np.transpose(split, order), (n, c * b * b, h // b, w // b))
