"""Pooling over regions of interest, and the inverse of max pooling: RoiAlign, MaxRoiPool, MaxUnpool."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, prod
from typing import Any

from walle_core.ops.define import OpContext, Sample, atomic, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import widened
from walle_core.ops.rules import rule, text
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None
Ints = Sequence[int]


@rule
def _roi_align_infer(ctx: OpContext) -> Specs:
    image, rois = ctx.shape(0), ctx.shape(1)
    if len(image) != 4 or len(rois) != 2 or rois[1] != 4 or ctx.shape(2) != rois[:1]:
        raise ValueError("needs X [N, C, H, W], rois [R, 4] and batch_indices [R]")
    if text(ctx.attrs["mode"]) not in ("avg", "max"):
        raise ValueError(f"mode {ctx.attrs['mode']!r} is neither 'avg' nor 'max'")
    out = (ctx.attrs["output_height"], ctx.attrs["output_width"])
    if min(out) < 1 or ctx.attrs["sampling_ratio"] < 0:
        raise ValueError("output_height and output_width must be at least 1, sampling_ratio at least 0")
    return [TensorSpec(ctx.dtype(0), (rois[0], image[1], *out))]


def _bilinear(x: Any, size: int) -> tuple[Any, Any, Any, Any]:
    """(low index, high index, weight of low, weight of high); both weights are 0 more than one pixel outside."""
    valid = (x >= -1) & (x <= size)
    x = np.clip(x, 0, size - 1)
    low = np.floor(x).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    part = x - low
    return low, high, np.where(valid, 1 - part, 0), np.where(valid, part, 0)


@atomic(
    "RoiAlign",
    "roi",
    infer=_roi_align_infer,
    ulp=64,
    samples=(
        Sample(
            ((1, 2, 8, 8), [[0.0, 0.0, 6.0, 5.0], [1.5, 2.0, 7.0, 7.5]], [0, 0]),
            {"output_height": 3, "output_width": 2, "sampling_ratio": 2},
        ),
    ),
)
@widened
def roi_align(
    X: Any,
    rois: Any,
    batch_indices: Any,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    coordinate_transformation_mode: str = "half_pixel",
) -> Any:
    """Averages (or takes the maximum of) bilinear samples in the bins of each region (Mask R-CNN, ICCV 2017, section 3)."""
    half = text(coordinate_transformation_mode) == "half_pixel"
    result = np.zeros((len(rois), X.shape[1], output_height, output_width), X.dtype)
    for r, (roi, batch) in enumerate(zip(rois, batch_indices, strict=True)):
        x1, y1, x2, y2 = (float(v) * spatial_scale - (0.5 if half else 0.0) for v in roi)
        spans = (y2 - y1, x2 - x1) if half else (max(y2 - y1, 1.0), max(x2 - x1, 1.0))
        sampled, counts = [], []
        for start, span, bins, size in zip((y1, x1), spans, result.shape[2:], X.shape[2:], strict=True):
            count = sampling_ratio if sampling_ratio > 0 else max(ceil(span / bins), 1)
            at = start + (np.arange(bins * count) + 0.5) * span / (bins * count)
            sampled.append(_bilinear(at, size))
            counts.append(count)
        (top, bottom, wt, wb), (left, right, wl, wr) = sampled
        image = X[int(batch)]
        corners = [
            image[:, row[:, None], column] * (wy[:, None] * wx)
            for row, wy in ((top, wt), (bottom, wb))
            for column, wx in ((left, wl), (right, wr))
        ]
        split = (X.shape[1], output_height, counts[0], output_width, counts[1])
        if text(mode) == "avg":
            result[r] = np.reshape(sum(corners), split).mean((2, 4))
        else:
            result[r] = np.reshape(np.maximum.reduce(corners), split).max((2, 4))
    return result


@rule
def _max_roi_pool_infer(ctx: OpContext) -> Specs:
    image, rois = ctx.shape(0), ctx.shape(1)
    pooled = tuple(ctx.attrs["pooled_shape"])
    if len(image) != 4 or len(rois) != 2 or rois[1] != 5 or len(pooled) != 2 or min(pooled) < 1:
        raise ValueError("needs X [N, C, H, W], rois [R, 5] and a positive pooled_shape of two sizes")
    return [TensorSpec(ctx.dtype(0), (rois[0], image[1], *pooled))]


@atomic(
    "MaxRoiPool",
    "roi",
    infer=_max_roi_pool_infer,
    samples=(
        Sample(
            ((1, 2, 6, 6), [[0.0, 1.0, 1.0, 4.0, 5.0], [0.0, 0.0, 0.0, 2.0, 2.0]]), {"pooled_shape": (2, 3)}
        ),
    ),
)
def max_roi_pool(X: Any, rois: Any, *, pooled_shape: Ints, spatial_scale: float = 1.0) -> Any:
    """Maximum in the bins of each region (batch, x1, y1, x2, y2) (Fast R-CNN, ICCV 2015, section 2.1)."""
    result = np.zeros((len(rois), X.shape[1], *pooled_shape), X.dtype)
    for r, roi in enumerate(rois):
        x1, y1, x2, y2 = (floor(float(v) * spatial_scale + 0.5) for v in roi[1:])
        edges = []
        for start, end, bins, size in zip((y1, x1), (y2, x2), pooled_shape, X.shape[2:], strict=True):
            step = max(end - start + 1, 1) / bins
            edges.append(
                [
                    (
                        min(max(floor(i * step) + start, 0), size),
                        min(max(ceil((i + 1) * step) + start, 0), size),
                    )
                    for i in range(bins)
                ]
            )
        for i, (top, bottom) in enumerate(edges[0]):
            for j, (left, right) in enumerate(edges[1]):
                if bottom > top and right > left:
                    result[r, :, i, j] = X[int(roi[0]), :, top:bottom, left:right].max((1, 2))
    return result


def _unpooled(shape: Ints, kernel: Ints, strides: Ints | None, pads: Ints | None) -> list[int]:
    rank = len(shape) - 2
    steps, margins = strides or [1] * rank, pads or [0] * (2 * rank)
    if not len(kernel) == len(steps) == rank == len(margins) // 2:
        raise ValueError(f"kernel_shape, strides and pads must fit {rank} spatial axes")
    grown = [(d - 1) * steps[i] + kernel[i] - margins[i] - margins[i + rank] for i, d in enumerate(shape[2:])]
    return [*shape[:2], *grown]


@rule
def _max_unpool_infer(ctx: OpContext) -> Specs:
    shape = ctx.shape(0)
    if len(shape) < 3 or ctx.shape(1) != shape:
        raise ValueError("needs X [N, C, spatial...] and indices of the same shape")
    out = _unpooled(shape, ctx.attrs["kernel_shape"], ctx.attrs["strides"], ctx.attrs["pads"])
    if ctx.has(2):
        wanted = ctx.ints(2)
        if wanted is None:
            return None
        if len(wanted) != len(out) or any(w < d for w, d in zip(wanted, out, strict=True)):
            raise ValueError(f"output_shape {wanted} is smaller than the unpooled {out}")
        out = wanted
    return [TensorSpec(ctx.dtype(0), tuple(out))]


def _max_unpool_reference(
    X: Any,
    I: Any,
    output_shape: Any = None,
    *,
    kernel_shape: Ints,
    strides: Ints | None = None,
    pads: Ints | None = None,
) -> Any:
    shape = _unpooled(X.shape, kernel_shape, strides, pads)
    flat = np.zeros(prod(shape), X.dtype)
    flat[np.reshape(I, -1)] = np.reshape(X, -1)
    dense = np.reshape(flat, shape)
    if output_shape is None:
        return dense
    return np.pad(dense, [(0, int(w) - d) for w, d in zip(output_shape, shape, strict=True)])


@composite(
    "MaxUnpool",
    "roi",
    infer=_max_unpool_infer,
    reference=_max_unpool_reference,
    samples=(
        Sample(((1, 1, 2, 2), [[[[0, 3], [10, 13]]]]), {"kernel_shape": (2, 2), "strides": (2, 2)}),
        Sample(
            ((1, 1, 2, 2), [[[[5, 7], [13, 15]]]], [1, 1, 5, 5]), {"kernel_shape": (2, 2), "strides": (2, 2)}
        ),
    ),
)
def max_unpool(
    g: Any,
    X: str,
    I: str,
    output_shape: str | None = None,
    *,
    kernel_shape: Ints,
    strides: Ints | None = None,
    pads: Ints | None = None,
) -> Any:
    """Puts pooled values back where MaxPool's indices say, zeros elsewhere."""
    shape = _unpooled(g.shape(X), kernel_shape, strides, pads)
    zeros = g.Expand(g.const(0, like=X), g.const([prod(shape)], "int64"))
    flat = [g.Reshape(v, g.const([-1], "int64")) for v in (I, X)]
    dense = g.Reshape(g.ScatterElements(zeros, *flat), g.const(shape, "int64"))
    if output_shape is None:
        return dense
    after = [w - d for w, d in zip(g.ints(output_shape), shape, strict=True)]
    return g.Pad(dense, g.const([0] * len(shape) + after, "int64"))
