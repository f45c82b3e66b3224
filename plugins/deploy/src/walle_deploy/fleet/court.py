"""Judges what devices were told once it is known where the release stood before and after."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from walle_deploy.fleet.rules import Moment, Rules


class Court:
    """Keeps what was told until a moment after it is known.

    Args:
        rules: that hold.
        slack: seconds for which a server may still act on what it knew before a change.
    """

    def __init__(self, rules: Rules, slack: float = 0.0) -> None:
        self.rules, self._slack = rules, slack
        self._moments: deque[tuple[float, Moment]] = deque()
        self._cases: deque[tuple[float, str, str | None, str | None]] = deque()

    def hear(self, device: str, had: Mapping[str, str], told: Mapping[str, str], at: float) -> None:
        """A device was told to have other tasks."""
        task = self.rules.task
        self._cases.append((at, device, had.get(task), told.get(task)))

    def look(self, at: float, moment: Moment) -> None:
        """The release stood so at this time; judges what is older. Raises BrokenRuleError."""
        self._moments.append((at, moment))
        last = None
        while self._cases and self._cases[0][0] <= at:
            told_at, device, had, told = self._cases.popleft()
            if told_at != last:
                last = told_at
                while len(self._moments) > 1 and self._moments[1][0] < told_at - self._slack:
                    self._moments.popleft()
                before = self._moments[0][1]
                after = next(known for when, known in self._moments if when >= told_at)
            self.rules.judge(device, had, told, before, after)

    @property
    def waiting(self) -> int:
        """Cases that are not judged yet."""
        return len(self._cases)
