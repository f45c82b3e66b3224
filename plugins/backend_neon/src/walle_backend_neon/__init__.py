"""AArch64 compute backend: kernel tables for NEON, and for its dot products of 8-bit integers and bfloat16."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from walle_core.errors import PluginError
from walle_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from walle_core.protocols import Backend
    from walle_core.registry import Registry

__all__ = ["tables", "targets", "usable", "walle_register_backends"]


def tables(isa: str = "") -> list[object]:
    """Capsules of the kernel tables of one ISA: its own, then those that it extends.

    Args:
        isa: which; default: ``WALLE_ISA`` (scalar, neon, neondot, neonbf16, neoni8mm), else the best one that
            this CPU can run.

    Raises:
        PluginError: it is unknown or cannot run here.
    """
    from walle_backend_neon import _tables

    found, behind = _tables.usable(), _tables.extends()
    forced = isa or os.environ.get("WALLE_ISA", "") or next(iter(found), "")
    if not forced:
        return []
    if forced == "scalar":
        from walle_core._native import scalar_table

        return [scalar_table()]
    if forced not in found:
        have = ", ".join([*found, "scalar"])
        why = (
            "this CPU cannot run it" if forced in _tables.compiled() else "there is no such ISA in this build"
        )
        raise PluginError(f"WALLE_ISA={forced}: {why}; choose one of: {have}")
    chosen = [forced]
    while chosen[-1] in behind:
        chosen.append(behind[chosen[-1]])
    return [found[name] for name in chosen]


def usable() -> list[str]:
    """Instruction sets that this CPU can run, best first."""
    from walle_backend_neon import _tables

    return list(_tables.usable())


def targets() -> list[str]:
    """Instruction sets that this build has kernels for, best first."""
    from walle_backend_neon import _tables

    return _tables.compiled()


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Registers the backend ``neon``, unless this machine can run none of its tables."""
    from walle_core.backends.table import TableBackend

    backend = TableBackend(name="neon", version=_version(), tables=tables, targets=targets)
    if backend.devices():  # also checks the ABI of the tables
        registry.add(backend)


def _version() -> str:
    from importlib.metadata import (  # here: slow to import, and a stored plan needs none
        PackageNotFoundError,
        version,
    )

    try:
        return version("walle-backend-neon")
    except PackageNotFoundError:  # imported from a source folder
        return "0"
