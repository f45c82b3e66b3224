"""What devices said of themselves and is not written yet, because they may say something newer in a moment."""

from __future__ import annotations

import math
from collections import deque
from itertools import takewhile

from walle_deploy.server.profiles import Described


class Lingering:
    """Descriptions that wait for newer ones: a device's newest, and before it those that it replaced.

    A device keeps the place of its oldest description, so that none waits the longer for being replaced.
    """

    def __init__(self) -> None:
        self._newest: dict[
            str, tuple[float, Described]
        ] = {}  # in the order in which devices came; since when
        self._older: dict[str, list[Described]] = {}
        self._number = 0
        self._ripe: deque[str] = deque()  # devices whose descriptions have waited, in the order of their ids

    def __len__(self) -> int:
        return self._number

    @property
    def since(self) -> float | None:
        """When the first one came; None if there is none."""
        if self._ripe:
            return -math.inf
        return next(iter(self._newest.values()))[0] if self._newest else None

    def add(self, described: Described, now: float) -> bool:
        """Adds one; whether it is the first."""
        device = described.id
        before = self._newest.get(device)
        if before is not None and before[1].digest == described.digest:
            return False
        if before is not None:
            self._older.setdefault(device, []).append(before[1])
        self._newest[device] = (now if before is None else before[0], described)
        self._number += 1
        return self._number == 1

    def of(self, device: str) -> list[Described]:
        """Takes those of a device."""
        newest = self._newest.pop(device, None)
        if newest is None:
            return []
        made = [*self._older.pop(device, ()), newest[1]]
        self._number -= len(made)
        return made

    def take(self, number: int, until: float) -> list[Described]:
        """Takes those that came by `until`, device by device, some more than `number` where one has several.

        They are taken in the order of ids, in which a database writes the most of them into one page.
        """
        if not self._ripe:
            self._ripe.extend(sorted(takewhile(lambda each: self._newest[each][0] <= until, self._newest)))
        made: list[Described] = []
        while self._ripe and len(made) < number:
            made += self.of(self._ripe.popleft())
        return made
