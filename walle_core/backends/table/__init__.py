"""TableBackend: any CPU backend that is made of compiled kernel tables (walle/abi.h)."""

from walle_core.backends.table.backend import TableBackend

__all__ = ["TableBackend"]
