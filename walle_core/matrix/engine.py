"""Finds the kernel rows of the installed backends that large float32 arrays are worked on with."""

from __future__ import annotations

from typing import Any

from walle_core.matrix.operators import BINARY, ENGINE_BINARY, ENGINE_UNARY, UNARY
from walle_core.matrix.tables import kernels


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
