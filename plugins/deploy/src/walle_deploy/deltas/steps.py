"""Changes that many numbers have in common: all by one amount, as by a step of training, or all by one factor, as by decay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Step = tuple[bool, float]  # whether it is a factor; the amount or factor, a float32
Floats = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]

MAX_STEPS = 15
_LEAST = 64  # numbers that a step must explain
_PART = 16  # one of so many of those that are left, too
_LOOKED_AT = 1 << 15


def find_steps(old: Floats, new: Floats) -> list[Step]:
    """Steps that explain most of the changes, those that explain more first; none if only noise could be explained."""
    usable = np.flatnonzero(np.isfinite(old) & np.isfinite(new) & (old != new))
    left = usable[:: max(1, len(usable) // _LOOKED_AT)]
    found: list[Step] = []
    while len(found) < MAX_STEPS and len(left) >= _LEAST:
        rest = [(left[taken(old[left], step) != new[left]], step) for step in _likely(old[left], new[left])]
        after, best = min(rest, key=lambda pair: len(pair[0]), default=(left, None))
        if best is None or len(left) - len(after) < max(_LEAST, len(left) // _PART):
            break
        found.append(best)
        left = after
    return found


def taken(old: Floats, step: Step) -> Floats:
    """The numbers after a step, rounded as float32 is everywhere."""
    factor, value = step
    with np.errstate(all="ignore"):
        return old * np.float32(value) if factor else old + np.float32(value)


def which(old: Floats, new: Floats, steps: list[Step]) -> npt.NDArray[np.uint8]:
    """For each number the step that explains it, from 1; 0 if none does."""
    made = np.zeros(len(old), np.uint8)
    bits = new.view(np.uint32)
    for number, step in reversed(list(enumerate(steps, 1))):
        made[taken(old, step).view(np.uint32) == bits] = number
    return made


def _likely(old: Floats, new: Floats) -> list[Step]:
    """The amount and the factor that explain the most numbers."""
    exact, wanted = old.astype(np.float64), new.astype(np.float64)
    with np.errstate(all="ignore"):
        low = (wanted + np.nextafter(new, np.float32(-np.inf))) / 2
        high = (wanted + np.nextafter(new, np.float32(np.inf))) / 2
        ends = low / exact, high / exact
    amounts = _most(low - exact, high - exact)
    whole = np.isfinite(ends[0]) & np.isfinite(ends[1])
    factors = _most(np.minimum(*ends)[whole], np.maximum(*ends)[whole])
    return [(False, value) for value in amounts] + [(True, value) for value in factors]


def _most(low: Exact, high: Exact) -> list[float]:
    """A float32 that lies in as many of the intervals as any; nothing where there are none."""
    if not len(low):
        return []
    ends = np.concatenate([low, high])
    order = np.argsort(ends, kind="stable")
    depth = np.cumsum(np.where(order < len(low), 1, -1))
    at = int(depth.argmax())
    middle = (ends[order[at]] + ends[order[min(at + 1, len(order) - 1)]]) / 2
    with np.errstate(over="ignore"):
        value = float(np.float32(middle))
    return [value] if np.isfinite(value) else []
