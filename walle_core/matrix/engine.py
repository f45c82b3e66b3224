"""Finds the kernel rows of the installed backends that large float32 arrays and chains are worked on with."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from walle_core.matrix.dtypes import FLOAT32
from walle_core.matrix.operators import BINARY, BINARY_NAMES, ENGINE_BINARY, ENGINE_UNARY, UNARY, UNARY_NAMES
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


def chain_program(
    steps: Sequence[tuple[Any, ...]],
    registers: int,
    shapes: Sequence[tuple[int, ...]],
    shape: tuple[int, ...],
) -> tuple[int, bytes, tuple[bool, ...], Any] | None:
    """A chain for the engine's expression kernel, which keeps what is between cheap operators in vector registers.

    Args:
        steps, registers: as `_array.Chain` takes them.
        shapes: of the operands.
        shape: of the result.

    Returns:
        (address of the kernel, its arguments, which operands must first be repeated to the result's shape, what must stay
        alive), or None where a step or the chain is not the engine's.
    """
    from walle_core.backends.table.operand_modes import DENSE, MAX_OPERANDS, MAX_REGISTERS, operand_mode

    table = kernels()
    if table is None or table.lanes < 4:
        return None
    chain = table.kernel("expression", "Chain")
    if chain is None or registers > MAX_REGISTERS or len(shapes) > MAX_OPERANDS:
        return None
    found = [operand_mode(shape, s) for s in shapes]
    args = [len(steps), len(shapes), *(v for mode in found for v in mode or (DENSE, 1))]
    for kind, op, target, a, b, given, code, fast in steps:
        if not fast or given != FLOAT32 or code != FLOAT32:
            return None
        if kind == "two":
            row, arity = table.kernel("binary", ENGINE_BINARY.get(BINARY_NAMES[op], "")), 2
        elif kind == "one" and UNARY_NAMES[op] == "square":
            row, arity, b = table.kernel("binary", "Mul"), 2, a
        elif kind == "one":
            row, arity, b = table.kernel("unary", ENGINE_UNARY.get(UNARY_NAMES[op], "")), 1, 0
        else:
            return None
        if row is None:
            return None
        args += [row.address, arity, max(target, 0), a, b, 0]
    return chain.address, struct.pack(f"={len(args)}q", *args), tuple(m is None for m in found), table
