"""Pieces of graph that decompositions share; `g` is the Builder they append to."""

from __future__ import annotations

from collections.abc import Callable
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


def like(g: Any, y: str, x: str) -> str:
    """Appends the conversion of y to the dtype of x, if they differ."""
    return y if g.dtype(y) == g.dtype(x) else str(g.CastLike(y, x))


def wider(g: Any, x: str) -> str:
    """Appends the conversion of a 16-bit float to float32."""
    return str(g.Cast(x, to=1)) if g.dtype(x).kind == "f" and g.dtype(x).itemsize < 4 else x


def in_float32(g: Any, x: str, compute: Callable[[str], str]) -> str:
    """`compute` on x, in float32 if x is a 16-bit float, and rounded once."""
    return like(g, compute(wider(g, x)), x)
