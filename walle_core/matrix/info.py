"""What this namespace offers: `__array_namespace_info__` of the array API standard."""

from __future__ import annotations

from typing import Any

from walle_core.matrix.dtypes import TYPES, isdtype
from walle_core.dtypes import DType


class _Info:
    """Capabilities, default dtypes and devices."""

    def capabilities(self) -> dict[str, Any]:
        """Optional behaviours: masks and results whose shape depends on values are offered."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 12}

    def default_device(self) -> str:
        """``cpu``."""
        return "cpu"

    def devices(self) -> list[str]:
        """``cpu`` only."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """Dtypes of results where nothing else decides."""
        return {
            "real floating": TYPES[10], "complex floating": TYPES[12], "integral": TYPES[4], "indexing": TYPES[4],
        }  # fmt: skip

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """Dtypes by name, of one kind or several if given (as `isdtype` takes them)."""
        return {t.name: t for t in TYPES if kind is None or isdtype(t, kind)}


def __array_namespace_info__() -> _Info:  # noqa: N807 - the standard's name
    """The namespace's capabilities, devices and dtypes."""
    return _Info()
