"""Transforms that grow a tensor: Pad in its four modes, CenterCropPad."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from walle_core.ops.define import OpContext, Region, Sample, transform
from walle_core.ops.numpy_lazy import np
from walle_core.ops.strided import axes_of, copy, row_major, spec_of
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None
Run = tuple[
    int, int, int, int
]  # start in the result, count, start in the input, step in the input (0 repeats)
MODES = ("constant", "reflect", "edge", "wrap")


def _pads(ctx: OpContext) -> list[tuple[int, int]] | None:
    """(before, after) per axis, or None if they are not constant."""
    pads, shape = ctx.ints(1), ctx.shape(0)
    if pads is None or (ctx.has(3) and not ctx.constant(3)):
        return None
    if ctx.attrs["mode"] not in MODES:
        raise ctx.error(f"mode {ctx.attrs['mode']!r} is none of {', '.join(MODES)}")
    axes = axes_of(ctx, ctx.ints(3) or [], len(shape)) if ctx.has(3) else list(range(len(shape)))
    if len(pads) != 2 * len(axes):
        raise ctx.error(f"pads {pads} must hold a start and an end for each of {len(axes)} axes")
    found = [(0, 0)] * len(shape)
    for i, axis in enumerate(axes):
        found[axis] = (pads[i], pads[i + len(axes)])
    for (before, after), d in zip(found, shape, strict=True):
        kept = d + min(before, 0) + min(after, 0)
        if kept < 0:
            raise ctx.error(f"pads ({before}, {after}) crop more than the {d} elements of an axis")
        if ctx.attrs["mode"] != "constant" and kept == 0 and (before > 0 or after > 0):
            raise ctx.error(f"mode {ctx.attrs['mode']!r} has nothing to repeat on an empty axis")
    return found


def runs(size: int, before: int, after: int, mode: str) -> list[Run]:
    """The stretches of a padded axis that read the input in steps of 1, 0 or -1. Negative pads crop first."""
    low, n = max(0, -before), size + min(before, 0) + min(after, 0)
    lead, end = max(before, 0), n + max(after, 0)
    if n <= 0:
        return []
    if mode == "constant":
        return [(lead, n, low, 1)]
    if mode == "edge" or (mode == "reflect" and n == 1):
        ends = [(0, lead, low, 0), (lead, n, low, 1), (lead + n, end - n, low + n - 1, 0)]
        return [r for r in ends if r[1]]
    found: list[Run] = []
    at = -lead
    while at < end:
        phase = at % (n if mode == "wrap" else 2 * (n - 1))
        if phase < n:
            count, first, step = n - phase, phase, 1
        else:
            first, step = 2 * (n - 1) - phase, -1
            count = first
        count = min(count, end - at)
        found.append((at + lead, count, low + first, step))
        at += count
    return found


def _pad_infer(ctx: OpContext) -> Specs:
    pads = _pads(ctx)
    if pads is None:
        return None
    return spec_of(ctx, [d + a + b for d, (a, b) in zip(ctx.shape(0), pads, strict=True)])


def padded_regions(shape: Sequence[int], pads: Sequence[tuple[int, int]], mode: str) -> list[Region]:
    """Regions that copy a tensor of `shape` into its padded result; in constant mode the padding stays unwritten."""
    src = row_major(shape)
    dst = row_major([d + a + b for d, (a, b) in zip(shape, pads, strict=True)])
    return [
        copy(
            [count for _, count, _, _ in boxes],
            [step * s for (_, _, _, step), s in zip(boxes, src, strict=True)],
            dst,
            sum(first * s for (_, _, first, _), s in zip(boxes, src, strict=True)),
            sum(start * d for (start, _, _, _), d in zip(boxes, dst, strict=True)),
        )
        for boxes in product(*(runs(d, a, b, mode) for d, (a, b) in zip(shape, pads, strict=True)))
    ]


def _margins(shape: Sequence[int], pads: Sequence[tuple[int, int]], origin: int) -> list[Region]:
    """Regions that write the padding itself from the single element of input `origin`."""
    out = [d + a + b for d, (a, b) in zip(shape, pads, strict=True)]
    dst = row_major(out)
    found: list[Region] = []
    low, size = [0] * len(out), list(out)
    for axis, (a, b) in enumerate(pads):
        before, after = min(max(a, 0), out[axis]), max(b, 0)
        for start, count in ((0, before), (max(before, out[axis] - after), min(after, out[axis] - before))):
            if count:
                first = sum(o * s for o, s in zip(low, dst, strict=True)) + start * dst[axis]
                found.append(
                    copy([*size[:axis], count, *size[axis + 1 :]], [0] * len(out), dst, 0, first, origin)
                )
        low[axis], size[axis] = before, out[axis] - before - min(after, out[axis] - before)
    return found


def _pad_regions(ctx: OpContext) -> list[Region] | None:
    pads = _pads(ctx)
    if pads is None:
        return None
    found = padded_regions(ctx.shape(0), pads, ctx.attrs["mode"])
    if ctx.attrs["mode"] == "constant" and ctx.has(2) and not ctx.constant(2):
        found += _margins(ctx.shape(0), pads, 2)
    return found


def _pad_fill(ctx: OpContext) -> Any:
    if ctx.attrs["mode"] != "constant" or (ctx.has(2) and not ctx.constant(2)):
        return None
    if not ctx.has(2):
        return 0
    value = ctx.values[2].tolist()
    while isinstance(value, list):
        value = value[0]
    return value


@transform(
    "Pad",
    infer=_pad_infer,
    regions=_pad_regions,
    fill=_pad_fill,
    samples=(
        Sample(((2, 3), [1, 0, 0, 2])),
        Sample(((3, 4), [2, 3, 1, 4]), {"mode": "reflect"}),
        Sample(((3, 4), [1, 2, 1, 0]), {"mode": "edge"}),
        Sample(((3, 4), [1, 5, 1, 0]), {"mode": "wrap"}),
        Sample(((3, 4), [-1, 1, 0, -2])),
    ),
)
def pad(data: Any, pads: Any, constant_value: Any = None, axes: Any = None, *, mode: str = "constant") -> Any:
    """Adds elements at both ends of axes: a constant, or reflected, repeated or wrapped ones; negative pads crop."""
    axes = list(range(data.ndim)) if axes is None else [int(a) % data.ndim for a in axes]
    width = [(0, 0)] * data.ndim
    for i, axis in enumerate(axes):
        width[axis] = (int(pads[i]), int(pads[i + len(axes)]))
    crop = tuple(slice(max(0, -a), d - max(0, -b)) for d, (a, b) in zip(data.shape, width, strict=True))
    grow = [(max(0, a), max(0, b)) for a, b in width]
    if mode != "constant":
        return np.pad(data[crop], grow, mode=mode)
    empty = "" if data.dtype == object else 0
    value = empty if constant_value is None else np.reshape(constant_value, -1)[0]
    result = np.full([d + a + b for d, (a, b) in zip(data.shape, width, strict=True)], value, data.dtype)
    inner = tuple(slice(a, d - b) for d, (a, b) in zip(result.shape, grow, strict=True))
    result[inner] = data[crop]
    return result


def _center_pads(ctx: OpContext) -> list[tuple[int, int]] | None:
    target, shape = ctx.ints(1), ctx.shape(0)
    if target is None:
        return None
    wanted = ctx.attrs["axes"]
    axes = list(range(len(shape))) if wanted is None else axes_of(ctx, wanted, len(shape))
    if len(target) != len(axes) or any(t < 0 for t in target):
        raise ctx.error(f"shape {target} must hold a size for each of {len(axes)} axes")
    pads = [(0, 0)] * len(shape)
    for axis, size in zip(axes, target, strict=True):
        pads[axis] = centred(shape[axis], size)
    return pads


def centred(size: int, target: int) -> tuple[int, int]:
    """Pads (negative: crop) that bring an axis to `target`, the odd element of a crop or pad at the end."""
    extra = target - size
    before = extra // 2 if extra >= 0 else -(-extra // 2)
    return before, extra - before


def _center_infer(ctx: OpContext) -> Specs:
    pads = _center_pads(ctx)
    return (
        None
        if pads is None
        else spec_of(ctx, [d + a + b for d, (a, b) in zip(ctx.shape(0), pads, strict=True)])
    )


def _center_regions(ctx: OpContext) -> list[Region] | None:
    pads = _center_pads(ctx)
    return None if pads is None else padded_regions(ctx.shape(0), pads, "constant")


@transform(
    "CenterCropPad",
    infer=_center_infer,
    regions=_center_regions,
    fill=lambda _ctx: 0,
    samples=(Sample(((5, 4), [3, 7])), Sample(((2, 5, 4), [4, 4]), {"axes": (1, 2)})),
)
def center_crop_pad(input_data: Any, shape: Any, *, axes: Sequence[int] | None = None) -> Any:
    """Crops or zero-pads axes around their centre to the given sizes."""
    axes = list(range(input_data.ndim)) if axes is None else [a % input_data.ndim for a in axes]
    pads = [(0, 0)] * input_data.ndim
    for axis, size in zip(axes, shape, strict=True):
        pads[axis] = centred(input_data.shape[axis], int(size))
    return pad(input_data, [a for a, _ in pads] + [b for _, b in pads])
