"""Finds the kernel rows of the installed backends that large float32 arrays are worked on with."""

from __future__ import annotations

from typing import Any

from walle_core.matrix.operators import BINARY, ENGINE_BINARY, ENGINE_UNARY, UNARY


def kernels() -> Any:
    """Rows of the first installed backend that is made of kernel tables and runs here with wide vectors; else the portable ones.

    It does not matter which backend: each table's rows mean the same. Loads the plugins.
    """
    from walle_core.backends.table import TableBackend
    from walle_core.plugins import load_plugins

    found = [b for b in load_plugins().backends.values() if isinstance(b, TableBackend) and b.devices()]
    return max((b.kernels for b in found), key=lambda k: k.lanes, default=None)


def rows() -> tuple[dict[int, int], dict[int, int], dict[int, int], Any]:
    """(unary operator -> address, binary operator -> address, reduction -> address, what must stay alive), by number."""
    table = kernels()
    if table is None or table.lanes < 4:
        return {}, {}, {}, None
    one = {UNARY[name]: table.kernel("unary", op) for name, op in ENGINE_UNARY.items()}
    fold = {2: table.kernel("reduce", "Max"), 3: table.kernel("reduce", "Min")}
    two = {BINARY[name]: table.kernel("binary", op) for name, op in ENGINE_BINARY.items()}
    return (
        {number: row.address for number, row in one.items() if row is not None},
        {number: row.address for number, row in two.items() if row is not None},
        {number: row.address for number, row in fold.items() if row is not None},
        table,
    )
