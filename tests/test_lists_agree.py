"""Two languages, two lists: rows of the elementwise kernels and atomic elementwise operators."""

from __future__ import annotations

import pytest

from walle_core._native import load_table, scalar_table
from walle_core.ops import catalogue

ROWS = load_table(scalar_table())
# Kernels that a composite operator is compiled to as a whole; their definitions are compositions.
FUSED = {op.name for op in catalogue().values() if op.kind == "composite"}
# Rows that an operator reaches by an attribute.
ALIASES = {"GeluTanh": "Gelu", "Fmod": "Mod", "BitShiftLeft": "BitShift", "BitShiftRight": "BitShift"}


@pytest.mark.parametrize("family", ["unary", "binary"])
def test_every_atomic_operator_has_a_row_and_every_row_an_operator(family: str) -> None:
    operators = {op.name for op in catalogue().values() if op.kind == "atomic" and op.family == family}
    rows = {ALIASES.get(row.op, row.op) for row in ROWS if row.family == family}
    assert operators, "no operators"
    assert not operators - rows, f"operators without a row in kernels/{family}.hpp"
    assert not rows - operators - FUSED, f"rows in kernels/{family}.hpp without an operator"


def test_rows_are_unique_and_named() -> None:
    keys = [(row.family, row.op, row.dtype) for row in ROWS]
    assert len(keys) == len(set(keys))
    assert all(family and op for family, op, _ in keys)
