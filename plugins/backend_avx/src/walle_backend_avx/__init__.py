"""x86 compute backend: kernel tables for AVX2+FMA and AVX-512, and for their dot products of 8-bit integers and bfloat16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walle_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from walle_core.protocols import Backend
    from walle_core.registry import Registry

__all__ = ["tables", "targets", "usable", "walle_register_backends"]


def tables(isa: str = "") -> list[object]:
    """Capsules of the kernel tables of one ISA: its own, then those that it extends.

    Args:
        isa: which; default: ``WALLE_ISA`` (scalar, avx2, avxvnni, avx512, avx512vnni, avx512bf16), else the best one that
            this CPU can run.

    Raises:
        PluginError: it is unknown or cannot run here.
    """
    from walle_backend_avx import _tables
    from walle_core.backends.table.isas import tables_of

    return tables_of(_tables, isa)


def usable() -> list[str]:
    """Instruction sets that this CPU can run, best first."""
    from walle_backend_avx import _tables

    return list(_tables.usable())


def targets() -> list[str]:
    """Instruction sets that this build has kernels for, best first."""
    from walle_backend_avx import _tables

    return _tables.compiled()


@hookimpl
def walle_register_backends(registry: Registry[Backend]) -> None:
    """Registers the backend ``avx``, unless this machine can run none of its tables."""
    from walle_core.backends.table import TableBackend
    from walle_core.installed import version_of

    backend = TableBackend(
        name="avx", version=version_of("walle-backend-avx"), tables=tables, targets=targets
    )
    if backend.devices():  # also checks the ABI of the tables
        registry.add(backend)
