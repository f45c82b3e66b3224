"""Reports on their way: most arrive at once, some late, some twice, and so in another order than they were made in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Letter = tuple[
    int, int, int, int, bool
]  # device, number of the report, its set of tasks, which of them, failed


@attrs.frozen(kw_only=True)
class Post:
    """How reports travel.

    Attributes:
        late: share that comes late.
        late_s: by so many seconds on average.
        twice: share that comes a second time, at any moment within `late_s`.
    """

    late: float = 0.05
    late_s: float = 1800.0
    twice: float = 0.02


class Mail:
    """What is on its way; days are `step` seconds long."""

    def __init__(self, post: Post, step: float, seed: Sequence[int] = (0,)) -> None:
        self._post, self._step = post, step
        self._days: dict[int, list[tuple[Numbers, ...]]] = defaultdict(list)
        self._rng = np.random.default_rng([*seed, 3])
        self.sent = 0

    def send(self, now: float, *letters: Numbers) -> None:
        """Posts reports: columns of what a Letter is."""
        size, rng, post = len(letters[0]), self._rng, self._post
        self.sent += size
        at = np.full(size, now)
        late = rng.random(size) < post.late
        at[late] += rng.exponential(post.late_s, int(late.sum()))
        self._put(at, letters)
        twice = rng.random(size) < post.twice
        if twice.any():
            self._put(
                now + rng.random(int(twice.sum())) * post.late_s, tuple(column[twice] for column in letters)
            )

    def arrived(self, now: float) -> Iterator[Letter]:
        """Takes what arrives by now."""
        for day in sorted(day for day in self._days if day * self._step <= now):
            for letters in self._days.pop(day):
                yield from zip(*(column.tolist() for column in letters), strict=True)

    def _put(self, at: NDArray[np.float64], letters: tuple[Numbers, ...]) -> None:
        days = np.ceil(at / self._step).astype(np.int64)
        for day in np.unique(days).tolist():
            here = days == day
            self._days[day].append(tuple(column[here] for column in letters))
