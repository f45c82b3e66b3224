"""Finds the kernel tables that large float32 arrays are worked on with, without loading all plugins."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from walle_core._native.program import scalar_table, share_tables, shared_tables
from walle_core.backends.table.kernels import Kernels
from walle_core.errors import PluginError

GROUP = "walle.kernels"  # entry points of functions that give the capsules of a plugin's kernel tables


def kernels() -> Kernels | None:
    """Rows of the installed tables with the widest vectors that this processor runs, before the portable ones.

    It does not matter whose they are: each table's rows mean the same. Only plugins that declare tables are imported, and by
    one interpreter of a process. None if there are no such tables.
    """
    return _kernels(os.environ.get("WALLE_ISA", ""), os.environ.get("WALLE_PLUGINS_BLOCK", ""))


@cache
def _kernels(isa: str, blocked: str) -> Kernels | None:
    key = f"{isa}\0{blocked}".encode()
    capsules = shared_tables(key)
    if capsules is None:
        capsules = _widest()
        share_tables(key, capsules)
    return Kernels([*capsules, scalar_table()]) if capsules else None


def _widest() -> list[Any]:
    from walle_core.installed import blocked_plugins, entry_points, strict_plugins  # once per process

    best: list[Any] = []
    lanes = 0
    for entry in entry_points(GROUP):
        if entry.name in blocked_plugins():
            continue
        try:
            capsules = list(entry.load()())
            width = Kernels(capsules).lanes  # which checks the ABI
        except Exception as error:
            if strict_plugins():
                raise PluginError(f"kernel tables of {entry.name!r} ({entry.value}): {error}") from error
            continue  # `walle plugins` says why
        if capsules and width > lanes:
            best, lanes = capsules, width
    return best
