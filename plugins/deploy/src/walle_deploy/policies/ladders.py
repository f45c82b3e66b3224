"""Many bounds on one value, and which of them it fails, without asking each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

STEP = 64  # bounds between two sums that are kept


def bits(slots: Iterable[int], size: int) -> int:
    """An integer with the bits of `slots`."""
    made = bytearray((size >> 3) + 1)
    for slot in slots:
        made[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(made, "little")


class Ladder:
    """Clauses that compare a value with bounds of their own by one sign.

    Args:
        sign: one of ``<``, ``<=``, ``>``, ``>=``.
        rungs: (bound, clauses) pairs.
        size: how many clauses there are in all.
    """

    def __init__(self, sign: str, rungs: Iterable[tuple[Any, Sequence[int]]], size: int) -> None:
        self.size = size
        self.below = sign in ("<", "<=")
        self.bisect = bisect_right if sign in ("<", ">=") else bisect_left
        merged: dict[Any, list[int]] = {}
        for bound, slots in rungs:
            merged.setdefault(bound, []).extend(slots)
        self.bounds = sorted(merged)
        rising = [merged[bound] for bound in self.bounds]
        self.slots = rising if self.below else rising[::-1]  # in the order in which a value fails them
        self.sums = [0]
        for start in range(0, len(self.slots), STEP):
            some = (slot for slots in self.slots[start : start + STEP] for slot in slots)
            self.sums.append(self.sums[-1] | bits(some, size))

    def failed(self, value: Any) -> int:
        """The clauses whose comparison `value` fails."""
        place = self.bisect(self.bounds, value)
        count = place if self.below else len(self.bounds) - place
        whole = count // STEP
        rest = (slot for slots in self.slots[whole * STEP : count] for slot in slots)
        return self.sums[whole] | bits(rest, self.size) if count % STEP else self.sums[whole]
