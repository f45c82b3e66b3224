"""The operator catalogue: name -> OpDef, filled by importing the definition modules of this package."""

from __future__ import annotations

import importlib
import pkgutil

from walle_core.ops.define import CATALOGUE, OpDef

__all__ = ["CATALOGUE", "OpDef", "find"]

_SUPPORT = {"define", "numpy_lazy", "rules"}  # modules of this package that define no operator
_loaded = False


def _load() -> None:
    global _loaded
    if not _loaded:
        _loaded = True
        for module in pkgutil.iter_modules(__path__):
            if module.name not in _SUPPORT:
                importlib.import_module(f"{__name__}.{module.name}")


def find(name: str) -> OpDef | None:
    """The definition called `name`, or None."""
    _load()
    return CATALOGUE.get(name)


def catalogue() -> dict[str, OpDef]:
    """All definitions by name."""
    _load()
    return CATALOGUE
