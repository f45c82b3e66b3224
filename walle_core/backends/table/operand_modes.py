"""How the expression kernel (walle/kernels/expression.hpp) reads an operand, and its limits; matrix uses it without the planner."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

MAX_REGISTERS, MAX_OPERANDS = 8, 16  # Chain::kRegisters, kOperands
DENSE, SCALAR, ROW, COLUMN = range(4)  # Chain::Mode


def operand_mode(out: Sequence[int], shape: Sequence[int]) -> tuple[int, int] | None:
    """(mode, inner) of an operand broadcast to the shape `out`; None for a pattern that the kernel does not have."""
    if prod(shape) == 1:
        return (SCALAR, 1)
    padded = [1] * (len(out) - len(shape)) + list(shape)
    if padded == list(out):
        return (DENSE, 1)
    first = next(i for i, d in enumerate(padded) if d != 1)
    if padded[first:] == list(out[first:]):
        return (ROW, prod(padded))
    last = len(padded) - next(i for i, d in enumerate(reversed(padded)) if d != 1)
    if padded[:last] == list(out[:last]):
        return (COLUMN, prod(out[last:]))
    return None
