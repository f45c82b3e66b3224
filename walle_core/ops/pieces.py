"""Pieces of graph that decompositions share; `g` is the Builder they append to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walle_core.ops.rules import first_perm, last_perm, text


def first(g: Any, x: str, layout: str | bytes) -> str:
    """Appends the transform from `layout` to NCHW."""
    return x if text(layout) == "NCHW" else str(g.Transpose(x, perm=first_perm(len(g.shape(x)))))


def stored(g: Any, x: str, layout: str | bytes) -> str:
    """Appends the transform from NCHW to `layout`."""
    return x if text(layout) == "NCHW" else str(g.Transpose(x, perm=last_perm(len(g.shape(x)))))


def reshape(g: Any, x: str, *sizes: int) -> str:
    """Appends a Reshape to constant sizes."""
    return str(g.Reshape(x, g.const(list(sizes), "int64"), allowzero=int(0 in sizes)))


def summed_to(g: Any, x: str, shape: Sequence[int]) -> str:
    """Appends the sum of x over the axes along which a tensor of `shape` was repeated to give x's shape."""
    sizes = g.shape(x)
    if tuple(sizes) == tuple(shape):
        return x
    lead = len(sizes) - len(shape)
    axes = [i for i, n in enumerate(sizes) if i < lead or (shape[i - lead] == 1 and n != 1)]
    total = g.ReduceSum(x, g.const(axes, "int64"), keepdims=0) if axes else x
    return reshape(g, total, *shape)


def zeros(g: Any, like: str) -> str:
    """Appends a tensor of zeros with the shape and dtype of a value."""
    return str(g.Expand(g.const(0, like=like), g.const(list(g.shape(like)), "int64")))


def like(g: Any, y: str, x: str) -> str:
    """Appends the conversion of y to the dtype of x, if they differ."""
    return y if g.dtype(y) == g.dtype(x) else str(g.CastLike(y, x))


def wider(g: Any, x: str) -> str:
    """Appends the conversion of a 16-bit float to float32."""
    return str(g.Cast(x, to=1)) if g.dtype(x).kind == "f" and g.dtype(x).itemsize < 4 else x


def in_float32(g: Any, x: str, compute: Callable[[str], str]) -> str:
    """`compute` on x, in float32 if x is a 16-bit float, and rounded once."""
    return like(g, compute(wider(g, x)), x)
