"""`np`: NumPy, imported at first use, so that operator definitions load where NumPy cannot be imported."""

from __future__ import annotations

import importlib
from typing import Any


class _LazyModule:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value


np: Any = _LazyModule("numpy")
