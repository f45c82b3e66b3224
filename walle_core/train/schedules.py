"""Learning-rate schedules: a factor of the optimiser's rate for every step, counted from 0."""

from __future__ import annotations

import math
from typing import Protocol

import attrs

from walle_core.errors import InputError


class Schedule(Protocol):
    """What a schedule must offer."""

    def __call__(self, step: int) -> float:
        """The factor of step 0, 1, 2, ..."""


def _count(_self: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1:
        raise InputError(f"{attribute.name} must be at least 1, not {value}")


@attrs.frozen
class Constant:
    """Always 1, after a linear rise over `warmup` steps."""

    warmup: int = 0

    def __call__(self, step: int) -> float:
        """The factor."""
        return min(1.0, (step + 1) / (self.warmup + 1))


@attrs.frozen
class Steps:
    """Multiplied by `factor` every `every` steps."""

    every: int = attrs.field(validator=_count)
    factor: float = 0.1

    def __call__(self, step: int) -> float:
        """The factor."""
        return float(self.factor ** (step // self.every))


@attrs.frozen
class Exponential:
    """Multiplied by `factor` at each step."""

    factor: float

    def __call__(self, step: int) -> float:
        """The factor."""
        return float(self.factor**step)


@attrs.frozen
class Cosine:
    """Rises linearly over `warmup` steps, then falls as half a cosine to `floor` at step `total`."""

    total: int = attrs.field(validator=_count)
    warmup: int = 0
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        """The factor."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        done = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))
