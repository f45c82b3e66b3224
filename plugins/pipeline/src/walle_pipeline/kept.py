"""State of operators as values that MessagePack has, and back without loss."""

from __future__ import annotations

from typing import Any

_PLAIN = (str, int, float, bool, bytes, type(None))


def plain(value: Any) -> Any:
    """`value` for a snapshot. Raises TypeError for what would not come back as it was, naming it."""
    if type(value) in _PLAIN:
        return value
    if type(value) is list:
        return [plain(v) for v in value]
    if type(value) is tuple:
        return {"tuple": [plain(v) for v in value]}
    if type(value) is dict:  # its keys may be anything, and their order counts
        return {"dict": [[plain(k), plain(v)] for k, v in value.items()]}
    name = type(value).__name__
    raise TypeError(
        f"{name} cannot be kept in a snapshot; map it to plain values before a window, join or dedupe"
    )


def again(value: Any) -> Any:
    """What `plain` was given. Raises ValueError for a damaged snapshot."""
    if type(value) is list:
        return [again(v) for v in value]
    if type(value) is not dict:
        return value
    ((kind, items),) = value.items()
    if kind == "tuple":
        return tuple(again(v) for v in items)
    if kind == "dict":
        return {again(k): again(v) for k, v in items}
    raise ValueError(f"damaged snapshot: {kind!r}")
