"""How arrays print."""

from __future__ import annotations

from typing import Any

from walle_core.matrix._array import Array

LIMIT, EDGE = 1000, 3  # elements shown whole; else so many at each edge


def _nested(x: Array, indent: str) -> str:
    if x.ndim == 0:
        value: Any = x.item()
        return f"{value:.8g}" if x.dtype.kind == "f" else str(value)
    n = x.shape[0]
    picked: list[int | None] = list(range(n))
    if x.size > LIMIT and n > 2 * EDGE:
        picked = [*range(EDGE), None, *range(n - EDGE, n)]
    parts = ["..." if i is None else _nested(x[i], indent + " ") for i in picked]
    return "[" + (", " if x.ndim == 1 else ",\n" + indent + " ").join(parts) + "]"


def shown(x: Array) -> str:
    """``Array([...], dtype=...)``, with the middle of long dimensions left out."""
    if x.size > LIMIT:
        corner = tuple(slice(None) for _ in x.shape)
        x = x[corner]
    return f"Array({_nested(x, '      ')}, dtype={x.dtype})"
