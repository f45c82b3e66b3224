"""Writes plain values as TOML; the standard library only reads it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(values: Mapping[str, Any]) -> str:
    """TOML that reads as `values`: tables of texts, numbers, booleans, lists and tables. Raises TypeError for others."""
    return "\n".join(_table(values, ())).strip("\n") + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    tables = {name: part for name, part in values.items() if isinstance(part, Mapping)}
    deep = len(path) < 2
    if path and (len(tables) < len(values) or not values or not deep):
        yield f"[{'.'.join(map(_key, path))}]"
    for name, part in values.items():
        if name not in tables or not deep:
            yield f"{_key(name)} = {_value(part)}"
    if path and len(tables) < len(values):
        yield ""
    for name, part in tables.items() if deep else ():
        yield from _table(part, (*path, name))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_value(part)}" for name, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"TOML has no {type(value).__name__}")
