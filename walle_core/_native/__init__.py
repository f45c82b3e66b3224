"""Compiled parts: Tensor, and the flat native program with its thread pool. They load in several interpreters at once."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from walle_core._native.program import Kernel, Program, load_table, pool_threads, scalar_table
    from walle_core._native.tensor import Tensor, storage_stats

__all__ = ["Kernel", "Program", "Tensor", "load_table", "pool_threads", "scalar_table", "storage_stats"]

_TENSOR = {"Tensor", "storage_stats"}


def __getattr__(name: str) -> Any:  # who needs a Tensor alone does not wait for the kernels
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{'tensor' if name in _TENSOR else 'program'}")
    value = globals()[name] = getattr(module, name)
    return value
