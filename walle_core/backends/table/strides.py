"""Broadcast strides of dense operands, with dimensions fused where every operand allows it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod


def dense_strides(shape: Sequence[int]) -> list[int]:
    """Row-major strides in elements."""
    strides, step = [0] * len(shape), 1
    for i in range(len(shape) - 1, -1, -1):
        strides[i] = step
        step *= shape[i]
    return strides


def broadcast_strides(out: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Strides of a dense operand of `shape` broadcast to `out`: 0 where it is repeated."""
    own = dense_strides(shape)
    lead = len(out) - len(shape)
    return [0] * lead + [0 if size == 1 else stride for size, stride in zip(shape, own, strict=True)]


def collapse(out: Sequence[int], operands: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """(sizes, strides per operand) of a broadcast over the result shape `out`, with as few dimensions as possible."""
    strides = [broadcast_strides(out, shape) for shape in operands]
    sizes: list[int] = []
    fused: list[list[int]] = [[] for _ in operands]
    for axis, size in enumerate(out):
        if size == 1:
            continue
        steps = [s[axis] for s in strides]
        if sizes and all(f[-1] == step * size for f, step in zip(fused, steps, strict=True)):
            sizes[-1] *= size
            for f, step in zip(fused, steps, strict=True):
                f[-1] = step
        else:
            sizes.append(size)
            for f, step in zip(fused, steps, strict=True):
                f.append(step)
    if not sizes:
        return [1], [[0] for _ in operands]
    return sizes, fused


def split_at(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, int, int] | None:
    """(outer, n, inner) when `axes` are adjacent; None when they are not and the tensor must be transposed first."""
    axes = sorted(axes)
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return None
    return prod(shape[: axes[0]]), prod(shape[axes[0] : axes[-1] + 1]), prod(shape[axes[-1] + 1 :])
