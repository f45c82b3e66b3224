"""Windows as columns: Im2Col (a transform) and its adjoint Col2Im (sums of rasters)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from walle_core.errors import ShapeError
from walle_core.ops.define import OpContext, Region, Sample, composite, transform
from walle_core.ops.numpy_lazy import np
from walle_core.ops.strided import copy, row_major, spec_of
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None
Ints = Sequence[int]


def window_counts(size: Ints, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints) -> list[int]:
    """How many windows fit along each axis; `pads` holds all begins, then all ends. Below 1: none fits."""
    n = len(size)
    spans = [size[i] + pads[i] + pads[i + n] - (dilations[i] * (kernel[i] - 1) + 1) for i in range(n)]
    return [span // strides[i] + 1 if span >= 0 else 0 for i, span in enumerate(spans)]


def windows(attrs: Any, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """kernel, strides, pads, dilations with defaults. Raises ValueError when lengths or signs are wrong."""
    kernel = list(attrs["kernel_shape"])
    strides = list(attrs["strides"] or [1] * rank)
    pads = list(attrs["pads"] or [0] * (2 * rank))
    dilations = list(attrs["dilations"] or [1] * rank)
    if not (len(kernel) == len(strides) == len(dilations) == rank and len(pads) == 2 * rank):
        raise ValueError(f"kernel_shape, strides, pads and dilations must fit {rank} spatial axes")
    if min((*kernel, *strides, *dilations), default=1) < 1 or min(pads, default=0) < 0:
        raise ValueError("kernel_shape, strides and dilations must be positive, pads not negative")
    return kernel, strides, pads, dilations


def _geometry(ctx: OpContext) -> tuple[list[int], list[int], list[int], list[int], list[int], list[int]]:
    shape = ctx.shape(0)
    if len(shape) < 3:
        raise ctx.error("needs an input of rank 3 or more [N, C, spatial...]")
    if ctx.attrs["layout"] not in ("NCHW", "NHWC"):
        raise ctx.error(f"layout {ctx.attrs['layout']!r} is neither 'NCHW' nor 'NHWC'")
    size = list(shape[2:] if ctx.attrs["layout"] == "NCHW" else shape[1:-1])
    try:
        kernel, strides, pads, dilations = windows(ctx.attrs, len(size))
    except ValueError as error:
        raise ctx.error(str(error)) from None
    counts = window_counts(size, kernel, strides, pads, dilations)
    if any(c < 1 for c in counts):
        raise ctx.error(f"no window of {kernel} (dilations {dilations}, pads {pads}) fits into {size}")
    return size, kernel, strides, pads, dilations, counts


def _im2col_infer(ctx: OpContext) -> Specs:
    _, kernel, _, _, _, counts = _geometry(ctx)
    shape = ctx.shape(0)
    if ctx.attrs["layout"] == "NCHW":
        return spec_of(ctx, (shape[0], shape[1], prod(kernel), prod(counts)))
    return spec_of(ctx, (shape[0], prod(counts), prod(kernel), shape[-1]))


def valid_windows(
    size: int, kernel: int, stride: int, pad: int, dilation: int, count: int
) -> list[tuple[int, int, int, int]]:
    """(first tap, taps, first window, windows): blocks in which every tap of every window is inside the axis."""
    found: list[tuple[int, int, int, int]] = []
    for tap in range(kernel):
        first = max(0, -(-(pad - tap * dilation) // stride))
        last = min(count, (size - 1 + pad - tap * dilation) // stride + 1)
        if last <= first:
            continue
        if found and found[-1][0] + found[-1][1] == tap and found[-1][2:] == (first, last - first):
            found[-1] = (found[-1][0], found[-1][1] + 1, first, last - first)
        else:
            found.append((tap, 1, first, last - first))
    return found


def _im2col_regions(ctx: OpContext) -> list[Region]:
    size, kernel, strides, pads, dilations, counts = _geometry(ctx)
    shape, rank = ctx.shape(0), len(size)
    planar = ctx.attrs["layout"] == "NCHW"
    source = row_major(shape)
    space = source[2:] if planar else source[1:-1]
    batch, channels = shape[0], shape[1] if planar else shape[-1]
    taps, columns = prod(kernel), prod(counts)
    tap_step, column_step, channel_step = (
        (columns, 1, taps * columns) if planar else (channels, taps * channels, 1)
    )
    tap_strides = [s * tap_step for s in row_major(kernel)]
    column_strides = [s * column_step for s in row_major(counts)]
    blocks = [
        valid_windows(size[i], kernel[i], strides[i], pads[i], dilations[i], counts[i]) for i in range(rank)
    ]
    found = []
    for block in product(*blocks):
        start = [w * strides[i] - pads[i] + t * dilations[i] for i, (t, _, w, _) in enumerate(block)]
        found.append(
            copy(
                (batch, channels, *(n for _, n, _, _ in block), *(n for _, _, _, n in block)),
                (
                    source[0],
                    source[1] if planar else 1,
                    *(d * s for d, s in zip(dilations, space, strict=True)),
                    *(d * s for d, s in zip(strides, space, strict=True)),
                ),
                (channels * taps * columns, channel_step, *tap_strides, *column_strides),
                sum(a * s for a, s in zip(start, space, strict=True)),
                sum(b[0] * tap_strides[i] + b[2] * column_strides[i] for i, b in enumerate(block)),
            )
        )
    return found


@transform(
    "Im2Col",
    infer=_im2col_infer,
    regions=_im2col_regions,
    fill=lambda ctx: ctx.attrs["fill"],
    samples=(
        Sample(((1, 2, 5, 6),), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}),
        Sample(((2, 5, 6, 3),), {"kernel_shape": (2, 3), "strides": (2, 1), "layout": "NHWC"}),
        Sample(((1, 2, 9),), {"kernel_shape": (3,), "dilations": (2,), "pads": (2, 1), "fill": -1.0}),
    ),
)
def im2col(
    x: Any,
    *,
    kernel_shape: Ints,
    strides: Ints | None = None,
    pads: Ints | None = None,
    dilations: Ints | None = None,
    layout: str = "NCHW",
    fill: float = 0.0,
) -> Any:
    """Lays out sliding windows as columns, [N, C, taps, windows]; for channels-last [N, windows, taps, C]."""
    space = list(range(2, x.ndim)) if layout == "NCHW" else list(range(1, x.ndim - 1))
    given = {"kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations}
    kernel, steps, margins, dilate = windows(given, len(space))
    grow = [(0, 0)] * x.ndim
    for i, axis in enumerate(space):
        grow[axis] = (margins[i], margins[i + len(space)])
    padded = np.pad(x, grow, constant_values=fill)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilate, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=tuple(space))
    index: list[Any] = [slice(None)] * view.ndim
    for i, axis in enumerate(space):
        index[axis] = slice(None, None, steps[i])
        index[x.ndim + i] = slice(None, None, dilate[i])
    view = view[tuple(index)]
    taps = list(range(x.ndim, x.ndim + len(space)))
    columns = prod(view.shape[axis] for axis in space)
    if layout == "NCHW":
        return np.transpose(view, (0, 1, *taps, *space)).reshape(
            x.shape[0], x.shape[1], prod(kernel), columns
        )
    return np.transpose(view, (0, *space, *taps, x.ndim - 1)).reshape(
        x.shape[0], columns, prod(kernel), x.shape[-1]
    )


def _col2im_infer(ctx: OpContext) -> Specs:
    image, block, shape = ctx.ints(1), ctx.ints(2), ctx.shape(0)
    if image is None or block is None:
        return None
    try:
        kernel, strides, pads, dilations = windows({**ctx.attrs, "kernel_shape": block}, len(image))
    except ValueError as error:
        raise ctx.error(str(error)) from None
    if len(shape) != 3 or shape[1] % prod(kernel):
        raise ctx.error(f"needs an input [N, C * {prod(kernel)}, windows]")
    columns = prod(window_counts(image, kernel, strides, pads, dilations))
    if columns != shape[2]:
        raise ctx.error(f"image {image} has {columns} windows, not {shape[2]}")
    return spec_of(ctx, (shape[0], shape[1] // prod(kernel), *image))


def _col2im_reference(
    input: Any,
    image_shape: Any,
    block_shape: Any,
    *,
    strides: Ints | None = None,
    pads: Ints | None = None,
    dilations: Ints | None = None,
) -> Any:
    image = [int(d) for d in image_shape]
    given = {
        "kernel_shape": [int(d) for d in block_shape],
        "strides": strides,
        "pads": pads,
        "dilations": dilations,
    }
    kernel, steps, margins, dilate = windows(given, len(image))
    counts = window_counts(image, kernel, steps, margins, dilate)
    n, rank = input.shape[0], len(image)
    columns = np.reshape(input, (n, input.shape[1] // prod(kernel), *kernel, *counts))
    grown = [d + margins[i] + margins[i + rank] for i, d in enumerate(image)]
    result = np.zeros((n, columns.shape[1], *grown), input.dtype)
    for tap in product(*(range(k) for k in kernel)):
        where = tuple(
            slice(t * dilate[i], t * dilate[i] + (counts[i] - 1) * steps[i] + 1, steps[i])
            for i, t in enumerate(tap)
        )
        result[(slice(None), slice(None), *where)] += columns[(slice(None), slice(None), *tap)]
    return result[
        (slice(None), slice(None), *(slice(margins[i], margins[i] + d) for i, d in enumerate(image)))
    ]


def _groups(kernel: int, stride: int, dilation: int) -> list[list[int]]:
    """Taps of one axis, grouped so that no two of a group ever write the same element."""
    groups: list[list[int]] = []
    for tap in range(kernel):
        residue = tap * dilation % stride
        for group in groups:
            if all(t * dilation % stride != residue for t in group):
                group.append(tap)
                break
        else:
            groups.append([tap])
    return groups


@composite(
    "Col2Im",
    "movement",
    infer=_col2im_infer,
    reference=_col2im_reference,
    samples=(
        Sample(((1, 18, 20), [4, 5], [3, 3]), {"pads": (1, 1, 1, 1)}),
        Sample(((2, 12, 4), [4, 4], [2, 2]), {"strides": (2, 2)}),
    ),
)
def col2im(
    g: Any,
    input: str,
    image_shape: str,
    block_shape: str,
    *,
    strides: Ints | None = None,
    pads: Ints | None = None,
    dilations: Ints | None = None,
) -> str:
    """Adds windows laid out as columns [N, C * taps, windows] back into an image; the adjoint of Im2Col."""
    image, block = g.ints(image_shape), g.ints(block_shape)
    given = {"kernel_shape": block, "strides": strides, "pads": pads, "dilations": dilations}
    kernel, steps, margins, dilate = windows(given, len(image))
    counts = window_counts(image, kernel, steps, margins, dilate)
    n, c = g.shape(input)[0], g.shape(input)[1] // prod(kernel)
    columns, tap_step, image_step = prod(counts), row_major(kernel), row_major(image)
    count_step, dtype = row_major(counts), g.dtype(input).name
    total = ""
    for group in product(*(_groups(*axis) for axis in zip(kernel, steps, dilate, strict=True))):
        regions = []
        for tap in product(*group):
            blocks = [
                valid_windows(image[i], 1, steps[i], margins[i] - t * dilate[i], 1, counts[i])
                for i, t in enumerate(tap)
            ]
            if not all(blocks):
                continue
            first, size = [b[0][2] for b in blocks], [b[0][3] for b in blocks]
            start = [
                f * s - margins[i] + tap[i] * dilate[i]
                for i, (f, s) in enumerate(zip(first, steps, strict=True))
            ]
            regions.append(
                copy(
                    (n, c, *size),
                    (c * prod(kernel) * columns, prod(kernel) * columns, *count_step),
                    (c * prod(image), prod(image), *(s * d for s, d in zip(steps, image_step, strict=True))),
                    sum(t * s for t, s in zip(tap, tap_step, strict=True)) * columns
                    + sum(f * s for f, s in zip(first, count_step, strict=True)),
                    sum(a * s for a, s in zip(start, image_step, strict=True)),
                )
            )
        part = g.op("Raster", input, regions=tuple(regions), shape=(n, c, *image), dtype=dtype, fill=0)
        total = g.Add(total, part) if total else part
    if not total:
        raise ShapeError("Col2Im has no tap")
    return total
