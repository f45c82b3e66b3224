"""Exact tests of pairs: the same match by two versions."""

from __future__ import annotations

import math


def tail(hits: int, trials: int, chance: float = 0.5) -> float:
    """How probable so many hits or more are, in independent trials that each hit with `chance` (exact binomial)."""
    if hits <= 0:
        return 1.0
    if hits > trials or chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    hit, miss, every = math.log(chance), math.log1p(-chance), math.lgamma(trials + 1)
    terms = (
        math.exp(every - math.lgamma(n + 1) - math.lgamma(trials - n + 1) + n * hit + (trials - n) * miss)
        for n in range(hits, trials + 1)
    )
    return min(1.0, math.fsum(terms))


def worse(new: int, old: int) -> float:
    """p-value of "the new version fails no more than the old one" (McNemar's exact test, one-sided).

    Args:
        new: pairs in which only the new version failed.
        old: pairs in which only the old one did.
    """
    return tail(new, new + old)


def differs(higher: int, lower: int) -> float:
    """p-value of "as often higher as lower" (sign test, two-sided); pairs that are equal do not count."""
    return min(1.0, 2 * tail(max(higher, lower), higher + lower))
