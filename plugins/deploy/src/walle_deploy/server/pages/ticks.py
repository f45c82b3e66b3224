"""Where an axis has its marks: round numbers, and round times."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
DAY = 86400


def numbers(most: float, wanted: int = 4) -> list[float]:
    """From 0 to the first mark that is not below `most`, about `wanted` steps of 1, 2 or 5 times a power of ten."""
    if not math.isfinite(most) or most <= 0:
        most = 1.0
    raw = most / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(many * power for many in (1, 2, 5, 10) if many * power >= raw * 0.999999)
    return [at * step for at in range(math.ceil(most / step - 1e-9) + 1)]


def times(start: float, end: float, wanted: int = 5) -> list[tuple[float, str]]:
    """Round times (UTC) from `start` to `end` with their labels, at most `wanted` of them."""
    length = max(end - start, 1.0)
    step = next((step for step in _TIMES if length / step <= wanted), DAY * math.ceil(length / DAY / wanted))
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < DAY else "%d %b"
    first = math.ceil(start / step) * step
    found: list[tuple[float, str]] = []
    while first <= end and len(found) < wanted:
        found.append((first, f"{datetime.fromtimestamp(first, UTC):{form}}"))
        first += step
    return found
