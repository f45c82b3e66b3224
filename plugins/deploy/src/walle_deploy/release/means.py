"""Is a measured value, a latency or a business metric, worse by more than a margin? A test that may be looked at always.

The means of both arms in a block differ by at most the range of the value; bets against "the expected difference is at
most the margin" multiply a capital that stays small while that is true: Waudby-Smith and Ramdas 2024, "Estimating means of
bounded random variables by betting" (a mixture of constant bets; for the interval, their predictable plug-in empirical
Bernstein sequence). Values outside the range are cut to it.
"""

from __future__ import annotations

import math
from typing import Self

import msgspec

from walle_deploy.release.sequential import BLOCK, Evidence, log_sum

LARGEST = 0.9  # weight in the interval; values vary little within their range, so it is near 1
BETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95)  # shares of the largest bet that cannot lose all


class Sum(msgspec.Struct, frozen=True, array_like=True):
    """How many values there are, and their sum."""

    reports: int = 0
    total: float = 0.0

    def add(self, value: float) -> Sum:
        """One more value."""
        return Sum(self.reports + 1, self.total + value)

    @property
    def mean(self) -> float:
        """Mean value; NaN without values."""
        return self.total / self.reports if self.reports else math.nan


class Interval(msgspec.Struct, frozen=True, array_like=True):
    """Sums of the empirical Bernstein sequence for values in [0, 1]."""

    alpha: float
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    weights: float = 0.0
    weighted: float = 0.0
    penalty: float = 0.0

    def add(self, value: float) -> Interval:
        """One more value; its weight depends on those before it only."""
        variance = (0.25 + self.squares) / (self.count + 1)
        number = self.count + 1
        weight = min(
            LARGEST, math.sqrt(2 * math.log(2 / self.alpha) / (variance * number * math.log1p(number)))
        )
        off = (value - (0.5 + self.total) / (self.count + 1)) ** 2
        total = self.total + value
        return Interval(
            self.alpha,
            number,
            total,
            self.squares + (value - (0.5 + total) / (number + 1)) ** 2,
            self.weights + weight,
            self.weighted + weight * value,
            self.penalty + off * (-math.log1p(-weight) - weight),
        )

    def ends(self) -> tuple[float, float]:
        """Covers the mean at all times at once with probability 1 - alpha."""
        if not self.count:
            return 0.0, 1.0
        centre = self.weighted / self.weights
        width = (math.log(2 / self.alpha) + self.penalty) / self.weights
        return max(0.0, centre - width), min(1.0, centre + width)


class Means(Evidence, msgspec.Struct, frozen=True, array_like=True):
    """What all values so far say; its size does not grow with them.

    Args:
        low: the least value.
        high: the largest.
        margin: how much worse, in units of the value, is harmless.
        sign: 1 if higher is worse, -1 if lower is.
        interval: sums for the interval of the difference.
        treatment: of the new version, in all.
        control: of the old one.
        block: since the last block ended, of treatment and control, scaled to [0, 1].
        capitals: logarithm of what each of BETS has become.
        log_e: logarithm of the evidence against "harmless", now.
        peak: the largest that it was.
    """

    low: float
    high: float
    margin: float
    sign: int
    interval: Interval
    treatment: Sum = Sum()
    control: Sum = Sum()
    block: tuple[Sum, Sum] = (Sum(), Sum())
    capitals: tuple[float, ...] = (0.0,) * len(BETS)
    log_e: float = 0.0
    peak: float = 0.0

    def add(self, value: float, *, treated: bool) -> Self:
        """One more value, in constant time."""
        value = min(max(value, self.low), self.high)
        scaled = (value - self.low) / (self.high - self.low)
        mine, other = self.block
        mine, other = (mine.add(scaled), other) if treated else (mine, other.add(scaled))
        counted = msgspec.structs.replace(
            self,
            treatment=self.treatment.add(value) if treated else self.treatment,
            control=self.control if treated else self.control.add(value),
            block=(mine, other),
        )
        return counted if min(mine.reports, other.reports) < BLOCK else counted._ended()

    def _ended(self) -> Self:
        worse = self.sign * (self.block[0].mean - self.block[1].mean)
        margin = self.margin / (self.high - self.low)
        capitals = tuple(
            log + math.log1p(bet / (1 + margin) * (worse - margin))
            for log, bet in zip(self.capitals, BETS, strict=True)
        )
        log_e = log_sum(list(capitals)) - math.log(len(BETS))
        return msgspec.structs.replace(
            self,
            block=(Sum(), Sum()),
            interval=self.interval.add((worse + 1) / 2),
            capitals=capitals,
            log_e=log_e,
            peak=max(self.peak, log_e),
        )

    def by(self) -> tuple[float, float]:
        """How much worse the treatment is, in units of the value; covers it always with probability 1 - alpha."""
        low, high = self.interval.ends()
        return (2 * low - 1) * (self.high - self.low), (2 * high - 1) * (self.high - self.low)
