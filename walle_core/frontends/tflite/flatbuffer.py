"""A reader of flatbuffers that follows no offset before it has been checked against the buffer.

A table begins with the distance back to its vtable; the vtable holds its own size, the table's, and per field the distance
from the table's start (0: absent, the default stands). Tables, strings and vectors are referred to by unsigned distances
forward, so a file can neither point outside itself nor make a cycle; what remains is sharing, which `budget` bounds.
"""

from __future__ import annotations

import struct
from typing import Any

CODES = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}


class DamagedError(ValueError):
    """An offset or size that leads outside the file; the caller adds where."""


class Bytes:
    """A whole file, and how many tables may still be read from it.

    Args:
        data: the file.
        budget: tables at most; one table referred to often counts each time.
    """

    def __init__(self, data: memoryview, budget: int) -> None:
        self.data, self.budget = data, budget

    def number(self, code: str, at: int) -> Any:
        """A little-endian number at a position. Raises DamagedError."""
        if at < 0 or at + CODES[code] > len(self.data):
            raise DamagedError(f"a number at byte {at} of {len(self.data)}")
        return struct.unpack_from(f"<{code}", self.data, at)[0]

    def follow(self, at: int) -> int:
        """The position that the offset at a position refers to. Raises DamagedError."""
        distance = int(self.number("I", at))
        if distance < 4 or at + distance + 4 > len(self.data):
            raise DamagedError(
                f"an offset at byte {at} leads {distance} bytes on, the file has {len(self.data)}"
            )
        return at + distance

    def root(self) -> Table:
        """The table that the file begins with."""
        return Table(self, self.follow(0))


class Table:
    """One table; fields are read by slot, the number that the schema gives them."""

    def __init__(self, file: Bytes, at: int) -> None:
        file.budget -= 1
        if file.budget < 0:
            raise DamagedError("more tables than any model has")
        self.file, self.at = file, at
        self.vtable = at - file.number("i", at)
        size = file.number("H", self.vtable)
        if size < 4 or size % 2 or self.vtable + size > len(file.data):
            raise DamagedError(f"a vtable of {size} bytes at byte {self.vtable}")
        self.slots = (size - 4) // 2

    def _place(self, slot: int) -> int:
        """Where a field lies; 0 if it is absent."""
        if slot >= self.slots:
            return 0
        distance = self.file.number("H", self.vtable + 4 + 2 * slot)
        return self.at + distance if distance else 0

    def get(self, slot: int, code: str, default: Any = 0) -> Any:
        """A number or truth value."""
        at = self._place(slot)
        return self.file.number(code, at) if at else default

    def table(self, slot: int) -> Table | None:
        """A table, None if absent."""
        at = self._place(slot)
        return Table(self.file, self.file.follow(at)) if at else None

    def view(self, slot: int, code: str) -> memoryview | None:
        """The bytes of a vector of numbers; None if absent."""
        at = self._place(slot)
        if not at:
            return None
        start = self.file.follow(at)
        size = self.file.number("I", start) * CODES[code]
        if size > len(self.file.data) - start - 4:
            raise DamagedError(
                f"a vector at byte {start} with {size} bytes, the file has {len(self.file.data)}"
            )
        return self.file.data[start + 4 : start + 4 + size]

    def numbers(self, slot: int, code: str) -> tuple[Any, ...]:
        """A vector of numbers; empty if absent."""
        view = self.view(slot, code)
        return () if view is None else struct.unpack(f"<{len(view) // CODES[code]}{code}", view)

    def text(self, slot: int) -> str:
        """A string; what is not UTF-8 in it is replaced."""
        view = self.view(slot, "B")
        return "" if view is None else str(view, "utf-8", "replace")

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty if absent."""
        at = self._place(slot)
        if not at:
            return []
        start = self.file.follow(at)
        count = self.file.number("I", start)
        if count > min(self.file.budget, (len(self.file.data) - start - 4) // 4):
            raise DamagedError(f"a vector of {count} tables at byte {start}")
        return [Table(self.file, self.file.follow(start + 4 + 4 * i)) for i in range(count)]
