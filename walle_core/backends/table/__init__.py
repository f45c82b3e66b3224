"""TableBackend: any CPU backend that is made of compiled kernel tables (walle/abi.h)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from walle_core.backends.table.backend import TableBackend

__all__ = ["TableBackend"]


def __getattr__(
    name: str,
) -> Any:  # a process that only restores a stored plan needs no rule of how plans are made
    if name != "TableBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from walle_core.backends.table.backend import TableBackend

    return TableBackend
