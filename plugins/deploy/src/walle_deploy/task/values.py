"""The words that walle.toml is made of: names, paths, shapes, times."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct

NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
TASK_NAME = r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$"

Name = Annotated[str, Meta(pattern=NAME, description="a Python name of at most 64 characters")]
TaskName = Annotated[str, Meta(pattern=TASK_NAME)]
Text = Annotated[str, Meta(max_length=4096)]
Dim = Annotated[int, Meta(ge=0, le=1 << 40)] | Annotated[str, Meta(pattern=NAME)]
Shape = Annotated[list[Dim], Meta(max_length=16)]

DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool",
)  # fmt: skip
EVENTS, JSON = (
    "events",
    "json",
)  # inputs that are no tensors: the events that started the task; any plain value
FEATURE_TYPES = {
    "int": int,
    "float": float,
    "text": str,
    "bool": bool,
    "bytes": bytes,
    "list": list,
    "table": dict,
}

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


class Value(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What a tensor must be; a text in its shape is a size that may vary, and equal texts mean equal sizes."""

    dtype: str
    shape: Shape | None = None

    def __post_init__(self) -> None:
        if self.dtype not in (*DTYPES, EVENTS, JSON):
            raise ValueError(
                f"wanted one of {', '.join((*DTYPES, EVENTS, JSON))} as dtype, not {self.dtype!r}"
            )
        if (self.shape is None) != (self.dtype in (EVENTS, JSON)):
            raise ValueError("a tensor needs a shape, for example [1, 3]; events and json have none")

    @property
    def is_tensor(self) -> bool:
        """Whether it has a shape."""
        return self.shape is not None

    def __str__(self) -> str:
        return self.dtype if self.shape is None else f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def milliseconds(text: str | float) -> int | None:
    """``10`` and ``"10s"`` are 10,000; ``"500ms"``, ``"10m"``, ``"2h"``, ``"1d"`` too; ``"unbounded"`` is None.

    Raises ValueError.
    """
    if text == "unbounded":
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|min|h|d)", text) if isinstance(text, str) else None
    if found is None and not isinstance(text, (int, float)):
        raise ValueError(f"wanted seconds, or a time like '500ms', '10m', '2h', or 'unbounded', not {text!r}")
    number = float(found[1]) * _UNITS[found[2]] if found else float(text) * 1000
    if not 0.5 < number < 1 << 53:
        raise ValueError(f"the time {text!r} must be positive, and less than 2**53 ms")
    return round(number)


def relative(path: str) -> str:
    """The path itself, of a file in the task's folder. Raises ValueError for any other."""
    parts = path.split("/")
    if (
        not path
        or len(path) > 1024
        or "\\" in path
        or "\0" in path
        or any(p in ("", ".", "..") for p in parts)
    ):
        raise ValueError(f"wanted the path of a file in the task's folder, with '/', not {path!r}")
    return path
