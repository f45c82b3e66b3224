"""Sampling at given coordinates: GridSample, AffineGrid."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, atomic, composite
from walle_core.ops.interpolation import KEYS_A, keys_kernel
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import widened
from walle_core.ops.rules import rule, text
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None
MODES = {"linear": "linear", "bilinear": "linear", "nearest": "nearest", "cubic": "cubic", "bicubic": "cubic"}
PADDINGS = ("zeros", "border", "reflection")


@rule
def _grid_sample_infer(ctx: OpContext) -> Specs:
    image, grid = ctx.shape(0), ctx.shape(1)
    if len(image) < 3 or len(grid) != len(image) or grid[-1] != len(image) - 2 or grid[0] != image[0]:
        raise ValueError("needs X [N, C, spatial...] and grid [N, out spatial..., number of spatial axes]")
    if 0 in image[2:]:
        raise ValueError("cannot sample an empty image")
    if text(ctx.attrs["mode"]) not in MODES or text(ctx.attrs["padding_mode"]) not in PADDINGS:
        raise ValueError(
            f"mode {ctx.attrs['mode']!r} or padding_mode {ctx.attrs['padding_mode']!r} is not known"
        )
    return [TensorSpec(ctx.dtype(0), (*image[:2], *grid[1:-1]))]


def _reflect(x: Any, low: float, high: float) -> Any:
    """Mirrors coordinates at both borders as often as needed."""
    span = high - low
    if span <= 0:
        return np.zeros_like(x)
    phase = np.mod(x - low, 2 * span)
    return low + np.minimum(phase, 2 * span - phase)


def _taps(x: Any, mode: str) -> list[tuple[Any, Any]]:
    """(index, weight) pairs that make the value at coordinates x of one axis."""
    if mode == "nearest":
        return [(x, np.ones_like(x))]
    base = np.floor(x)
    offsets = (0, 1) if mode == "linear" else (-1, 0, 1, 2)
    weigh = (
        (lambda t: 1 - np.abs(t))
        if mode == "linear"
        else np.vectorize(lambda t: keys_kernel(t, KEYS_A), otypes=[x.dtype])
    )
    return [(base + k, weigh(x - base - k)) for k in offsets]


@atomic(
    "GridSample",
    "grid",
    infer=_grid_sample_infer,
    domain=(-1.3, 1.3),
    ulp=64,
    flops=lambda _ctx, outs: 8.0 * outs[0].size,
    samples=(
        Sample(((1, 2, 4, 5), (1, 3, 3, 2))),
        Sample(((1, 2, 4, 5), (1, 3, 3, 2)), {"mode": "nearest", "padding_mode": "border"}),
        Sample(
            ((1, 1, 4, 5), (1, 3, 3, 2)), {"mode": "cubic", "padding_mode": "reflection", "align_corners": 1}
        ),
        Sample(((1, 1, 3, 4, 5), (1, 2, 2, 2, 3))),
    ),
)
@widened
def grid_sample(
    X: Any, grid: Any, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
) -> Any:
    """Samples an image at coordinates in [-1, 1], given innermost axis first."""
    how, padding = MODES[text(mode)], text(padding_mode)
    n, c, *space = X.shape
    taps = []
    for axis, size in enumerate(space):
        x = np.reshape(grid[..., len(space) - 1 - axis], (n, -1)).astype(
            np.promote_types(grid.dtype, np.float32)
        )
        x = (x + 1) / 2 * (size - 1) if align_corners else ((x + 1) * size - 1) / 2
        if how == "nearest":
            x = np.rint(x)
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        if padding == "border":
            x = np.clip(x, 0, size - 1)
        elif padding == "reflection":
            x = _reflect(x, low, high)
        axis_taps = []
        for k, w in _taps(x, how):
            if padding == "zeros":
                w = np.where((k >= 0) & (k <= size - 1), w, 0)
            elif padding == "reflection":
                k = np.rint(_reflect(k, low, high))
            axis_taps.append((np.clip(np.nan_to_num(k), 0, size - 1).astype(np.int64), w))
        taps.append(axis_taps)
    flat = np.reshape(X, (n, c, prod(space)))
    total: Any = 0
    for chosen in product(*taps):
        index, weight = (
            np.zeros(chosen[0][0].shape, np.int64),
            np.ones(chosen[0][0].shape, chosen[0][1].dtype),
        )
        for (k, w), size in zip(chosen, space, strict=True):
            index, weight = index * size + k, weight * w
        total = total + np.take_along_axis(flat, index[:, None, :], 2) * weight[:, None, :]
    return np.reshape(total, (n, c, *grid.shape[1:-1])).astype(X.dtype)


@rule
def _affine_grid_infer(ctx: OpContext) -> Specs:
    size = ctx.ints(1)
    if size is None:
        return None
    rank = len(size) - 2
    if rank not in (2, 3) or ctx.shape(0) != (size[0], rank, rank + 1) or min(size) < 0:
        raise ValueError(f"size {size} must be [N, C, (D,) H, W] and theta [N, rank, rank + 1]")
    return [TensorSpec(ctx.dtype(0), (size[0], *size[2:], rank))]


def _positions(count: int, align_corners: int) -> list[float]:
    """Pixel centres of an axis in [-1, 1]; with align_corners the outermost ones are at the ends."""
    if align_corners:
        return [-1.0 + 2.0 * i / (count - 1) if count > 1 else 0.0 for i in range(count)]
    return [(2 * i + 1) / count - 1 for i in range(count)]


def _base_grid(space: list[int], align_corners: int) -> list[list[float]]:
    axes = [_positions(d, align_corners) for d in space]
    return [[*reversed(point), 1.0] for point in product(*axes)]


def _affine_grid_reference(theta: Any, size: Any, *, align_corners: int = 0) -> Any:
    space = [int(d) for d in size[2:]]
    wide = theta.astype(np.promote_types(theta.dtype, np.float32))
    base = np.array(_base_grid(space, align_corners), wide.dtype).reshape(-1, len(space) + 1)
    return np.reshape(base @ np.swapaxes(wide, 1, 2), (theta.shape[0], *space, len(space))).astype(
        theta.dtype
    )


@composite(
    "AffineGrid",
    "grid",
    infer=_affine_grid_infer,
    reference=_affine_grid_reference,
    ulp=16,
    samples=(Sample(((2, 2, 3), [2, 1, 3, 4])), Sample(((1, 3, 4), [1, 1, 2, 3, 2]), {"align_corners": 1})),
)
def affine_grid(g: Any, theta: str, size: str, *, align_corners: int = 0) -> Any:
    """Coordinates of every output pixel under an affine map, for GridSample."""
    n, _, *space = g.ints(size)
    base = g.const(_base_grid(space, align_corners), like=theta)
    points = g.MatMul(base, g.Transpose(theta, perm=(0, 2, 1)))
    return g.Reshape(points, g.const([n, *space, len(space)], "int64"))
