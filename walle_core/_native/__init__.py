"""Compiled parts: Tensor, and the flat native program with its thread pool. They load in several interpreters at once."""

from walle_core._native.program import Kernel, Program, load_table, pool_threads, scalar_table
from walle_core._native.tensor import Tensor, storage_stats

__all__ = ["Kernel", "Program", "Tensor", "load_table", "pool_threads", "scalar_table", "storage_stats"]
