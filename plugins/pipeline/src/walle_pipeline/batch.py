"""Batches: what flows between operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

Function = Callable[[Any], Any]


@attrs.define
class Batch:
    """Items in order of time, as three lists of one length.

    Attributes:
        values: what the user's functions see.
        times: event time of each, milliseconds.
        keys: key of each: that of the event, until a ``key_by``.
    """

    values: list[Any]
    times: list[int]
    keys: list[Any]

    def __len__(self) -> int:
        return len(self.values)

    def without(self, indices: list[int]) -> Batch:
        """The batch less the items at `indices`."""
        gone = set(indices)
        keep = [i for i in range(len(self.values)) if i not in gone]
        return Batch(
            [self.values[i] for i in keep], [self.times[i] for i in keep], [self.keys[i] for i in keep]
        )

    def part(self, first: int, last: int) -> Batch:
        """Items number `first` to before `last`."""
        return Batch(self.values[first:last], self.times[first:last], self.keys[first:last])


EMPTY = Batch([], [], [])
