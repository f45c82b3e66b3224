"""Kernels by name. Arrays need this module and nothing else of the backends: it imports neither rules nor attrs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native import Kernel, Tensor, load_table


class Kernels:
    """Rows of one or more kernel tables, first table wins (an ISA's own row, else the portable one)."""

    def __init__(self, capsules: Sequence[Any]) -> None:
        self._rows: dict[tuple[str, str, str], Kernel] = {}
        self._numbers: dict[tuple[str, str], tuple[int, ...]] = {}
        self.lanes = 1
        self.isa = ""
        self.isas: list[str] = []
        for capsule in capsules:
            rows = load_table(capsule)
            self.isas += [row.isa for row in rows[:1]]
            if rows and not self.isa:
                self.isa, self.lanes = rows[0].isa, rows[0].lanes
            for row in rows:
                self._rows.setdefault((row.family, row.op, row.dtype), row)

    def kernel(self, family: str, op: str, dtype: str = "float32") -> Kernel | None:
        """The row, or None."""
        return self._rows.get((family, op, dtype))

    def numbers(self, family: str, op: str, count: int) -> tuple[int, ...]:
        """What a row without operands says of its ISA: the shape of a tile, for example."""
        if (family, op) not in self._numbers:
            said = Tensor((count,), "int64")
            self._rows[family, op, "int64"]([said])
            self._numbers[family, op] = tuple(said.tolist())
        return self._numbers[family, op]

    def rows(self) -> list[Kernel]:
        """All rows."""
        return list(self._rows.values())
