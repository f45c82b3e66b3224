"""Versions as tuples that compare: 12.9 < 12.10, 12 = 12.0, 2.0-beta < 2.0."""

from __future__ import annotations

import re
from functools import lru_cache

Version = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...]]

_PATTERN = re.compile(
    r"[vV]?([0-9]{1,18}(?:\.[0-9]{1,18}){0,15})(?:[-_.]?([A-Za-z][0-9A-Za-z.-]{0,63}))?(?:\+[0-9A-Za-z.-]{0,63})?"
)
_RELEASE = ((2, 0, ""),)


@lru_cache(maxsize=8192)
def version(text: str) -> Version | None:
    """(numbers, what follows them) of ``12.1.3``, ``v2``, ``2.0-beta.1``, ``1.2+build``; None if `text` is no version.

    Zeros at the end and what follows a plus do not count. What follows the numbers makes a version smaller.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    if found[2] is None:
        return tuple(numbers), _RELEASE
    parts = re.findall(r"[0-9]{1,18}|[a-z]+", found[2].lower())
    return tuple(numbers), tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts)
