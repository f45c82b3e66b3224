"""Sums over many values whose size does not grow with them, and which can be added: of times, sizes and outputs."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Self

import attrs

_LEAST = 1e-12  # smaller magnitudes are counted as this
_STEP = math.log(1.02)
WORDS = 32  # different texts that are counted each by itself
OTHER = "(others)"


@attrs.define
class Histogram:
    """How often values came, in classes 2 % wide, so that a quantile is right within 1 %."""

    counts: Counter[int] = attrs.field(factory=Counter)

    def add(self, value: float) -> None:
        """One more finite value."""
        size = abs(value)
        number = max(1, round(math.log(size / _LEAST) / _STEP)) if size else 0
        self.counts[-number if value < 0 else number] += 1

    def merge(self, other: Histogram) -> None:
        """Adds another's values."""
        self.counts.update(other.counts)

    def __len__(self) -> int:
        return self.counts.total()

    def quantile(self, share: float) -> float:
        """The value that `share` of all do not exceed; NaN without values."""
        wanted, seen = max(1, math.ceil(share * len(self))), 0
        for number, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return self.middle(number)
        return math.nan

    @staticmethod
    def middle(number: int) -> float:
        """The value in the middle of a class."""
        return math.copysign(_LEAST * math.exp(abs(number) * _STEP), number) if number else 0.0


@attrs.define
class Moments:
    """Count, mean and spread of values."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared distances from the mean
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float) -> None:
        """One more finite value."""
        self.count += 1
        away = value - self.mean
        self.mean += away / self.count
        self.squares += away * (value - self.mean)
        self.low, self.high = min(self.low, value), max(self.high, value)

    def merge(self, other: Moments) -> None:
        """Adds another's values."""
        count = self.count + other.count
        if other.count:
            away = other.mean - self.mean
            self.squares += other.squares + away * away * self.count * other.count / count
            self.mean += away * other.count / count
            self.count = count
            self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def deviation(self) -> float:
        """Standard deviation; 0 for less than two values."""
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


@attrs.define
class Distribution:
    """What values an output has: numbers, those that are not finite, texts, and anything else by its type."""

    moments: Moments = attrs.field(factory=Moments)
    histogram: Histogram = attrs.field(factory=Histogram)
    odd: int = 0
    words: Counter[str] = attrs.field(factory=Counter)

    def add(self, value: Any) -> None:
        """One more value."""
        if isinstance(value, (int, float)):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                self.moments.add(number)
                self.histogram.add(number)
            else:
                self.odd += 1
        else:
            self._count(repr(value)[:40] if isinstance(value, str) else type(value).__name__, 1)

    def merge(self, other: Self) -> None:
        """Adds another's values."""
        self.moments.merge(other.moments)
        self.histogram.merge(other.histogram)
        self.odd += other.odd
        for word, count in other.words.items():
            self._count(word, count)

    def _count(self, word: str, count: int) -> None:
        known = word in self.words or len(self.words) < WORDS
        self.words[word if known else OTHER] += count

    def plain(self) -> dict[str, Any]:
        """As values of JSON."""
        made: dict[str, Any] = {}
        if self.moments.count:
            made = {
                "values": self.moments.count,
                "mean": self.moments.mean,
                "deviation": self.moments.deviation,
                "least": self.moments.low,
                "most": self.moments.high,
            }
            made |= {f"p{share}": self.histogram.quantile(share / 100) for share in (5, 50, 95)}
        return made | {
            name: value for name, value in (("odd", self.odd), ("words", dict(self.words))) if value
        }

    def __str__(self) -> str:
        parts = []
        if self.moments.count:
            ends = f"{self.moments.low:.4g} to {self.moments.high:.4g}"
            parts.append(f"{self.moments.mean:.4g} ± {self.moments.deviation:.2g}, {ends}")
        if self.odd:
            parts.append(f"{self.odd} not finite")
        parts += [f"{word} {count}" for word, count in self.words.most_common(3)]
        return "; ".join(parts) or "none"
