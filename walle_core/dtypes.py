"""Element types. All that a Tensor needs to import: neither NumPy nor attrs, which take longer to load than Tensor itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn


class DType:
    """An element type; one object each (`DTYPES`), so equality and hash are identity. Immutable.

    Attributes:
        name: the field's name for it, for example ``float32``.
        itemsize: bytes per element in memory (sub-byte types are held unpacked, one per byte).
        kind: one of ``f`` float, ``i`` signed, ``u`` unsigned, ``b`` bool, ``c`` complex, ``s`` string.
        format: the buffer protocol's format, or None where that protocol has none.
        bits: significant bits per element.
    """

    __slots__ = ("bits", "format", "itemsize", "kind", "name")
    name: str
    itemsize: int
    kind: str
    format: str | None
    bits: int

    def __init__(self, name: str, itemsize: int, kind: str, format: str | None, bits: int) -> None:
        for field, value in (
            ("name", name), ("itemsize", itemsize), ("kind", kind), ("format", format), ("bits", bits),
        ):  # fmt: skip
            object.__setattr__(self, field, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"dtype {self.name} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return dtype, (self.name,)  # a copy is the same object

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<dtype {self.name}>"


def _rows() -> dict[str, DType]:
    rows = [
        ("float32", 4, "f", "f", 32), ("float64", 8, "f", "d", 64), ("float16", 2, "f", "e", 16),
        ("int8", 1, "i", "b", 8), ("int16", 2, "i", "h", 16), ("int32", 4, "i", "i", 32), ("int64", 8, "i", "q", 64),
        ("uint8", 1, "u", "B", 8), ("uint16", 2, "u", "H", 16), ("uint32", 4, "u", "I", 32), ("uint64", 8, "u", "Q", 64),
        ("bool", 1, "b", "?", 8), ("complex64", 8, "c", "Zf", 64), ("complex128", 16, "c", "Zd", 128),
        ("bfloat16", 2, "f", None, 16), ("float8_e4m3fn", 1, "f", None, 8), ("float8_e4m3fnuz", 1, "f", None, 8),
        ("float8_e5m2", 1, "f", None, 8), ("float8_e5m2fnuz", 1, "f", None, 8), ("float8_e8m0fnu", 1, "f", None, 8),
        ("float4_e2m1fn", 1, "f", None, 4), ("int4", 1, "i", None, 4), ("uint4", 1, "u", None, 4),
        ("int2", 1, "i", None, 2), ("uint2", 1, "u", None, 2), ("string", 0, "s", None, 0),
    ]  # fmt: skip
    return {row[0]: DType(*row) for row in rows}


DTYPES: Mapping[str, DType] = _rows()


def dtype(name: str | DType) -> DType:
    """The DType called `name`. Raises KeyError with the known names if there is none."""
    if isinstance(name, DType):
        return name
    try:
        return DTYPES[name]
    except KeyError:
        raise KeyError(f"no dtype {name!r}; known: {', '.join(DTYPES)}") from None
