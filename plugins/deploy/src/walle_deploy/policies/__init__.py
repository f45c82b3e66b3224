"""Policies: which devices a release is for, and which of many policies match one device.

Importing this module is cheap; the names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_NAMES = {
    "compiling": ("Compiler", "compile_policy", "policy_schema", "installed_kinds"),
    "contract": ("Place", "Policy", "PolicyKind", "Rule", "Verdict"),
    "index": ("Index",),
    "matcher": ("Matcher",),
    "explaining": ("Explained", "explain"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = [*_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
