"""Does a new version fail more often than the old one beside it? A test that may be looked at after every report.

Reports of the two arms are gathered into blocks; within a block, given how many reports failed in all, how many of them
are the treatment's depends on the odds ratio alone (Fisher's noncentral hypergeometric law), whatever the base rate is.
The likelihood ratio of a mixture of odds ratios against the largest harmless one is a martingale while the release is
harmless, so it ever reaches 1 / alpha with probability at most alpha (Ville): Robbins 1970, "Statistical methods related
to the law of the iterated logarithm"; Johari, Koomen, Pekelis and Walsh 2017, "Peeking at A/B tests"; blocks as in
Turner, Ly and Grünwald 2021, "Generic e-variables for exact sequential k-sample tests". A larger odds ratio only makes more
of the failures the treatment's, so the guarantee holds for every ratio up to the margin.

A block ends when both arms have BLOCK reports in it, which must not depend on the outcomes: devices are assigned to arms
at random, and an arm's reports may be late but not by their outcome alone.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Self

import msgspec

BLOCK = 4  # reports of the smaller arm in a block: few delay the decision less, many waste less when arms are uneven
PER_DOUBLING = 4
RATIOS = tuple(2.0 ** (step / PER_DOUBLING) for step in range(-5 * PER_DOUBLING, 6 * PER_DOUBLING + 1))
_CENTRE, _WIDTH = (
    math.log(5.0),
    0.8,
)  # of the bets on log odds ratios: a broken task, not a subtle one, is met first
_NEVER = -math.inf


@functools.lru_cache
def bets(margin: float) -> tuple[float, ...]:
    """Logarithm of the stake on each of RATIOS; only on those above the margin."""
    raw = [
        -((math.log(ratio / margin) - _CENTRE) ** 2) / (2 * _WIDTH**2) if ratio > margin * 1.05 else _NEVER
        for ratio in RATIOS
    ]
    total = log_sum(raw)
    return tuple(stake - total for stake in raw)


def log_sum(terms: list[float]) -> float:
    """Logarithm of the sum of exponentials."""
    top = max(terms)
    return top + math.log(math.fsum(math.exp(term - top) for term in terms)) if top > _NEVER else _NEVER


def log_likelihood(ratio: float, treated: int, failed: int, control: int, control_failed: int) -> float:
    """Of `failed` among a block's `failed + control_failed` failures being the treatment's, up to a term without ratio."""
    every, log_ratio = failed + control_failed, math.log(ratio)
    fewest, most = max(0, every - control), min(every, treated)
    if fewest == most:
        return 0.0
    weights = [
        math.log(math.comb(treated, mine)) + math.log(math.comb(control, every - mine)) + mine * log_ratio
        for mine in range(fewest, most + 1)
    ]
    return weights[failed - fewest] - log_sum(weights)


class Arm(msgspec.Struct, frozen=True, array_like=True):
    """How many reports of an arm there are, and how many say that the task failed."""

    reports: int = 0
    failed: int = 0

    def add(self, failed: bool) -> Arm:
        """One more report."""
        return Arm(self.reports + 1, self.failed + failed)


class Evidence:
    """What an always-valid test says, from `log_e`, the logarithm of its e-value, and `peak`, the largest that it was."""

    __slots__ = ()
    if TYPE_CHECKING:
        log_e: float
        peak: float

    @property
    def e_value(self) -> float:
        """Evidence that the treatment is worse by more than the margin: 1 says nothing, 100 refutes at 1 %."""
        return math.exp(min(self.log_e, 700.0))

    @property
    def p_value(self) -> float:
        """Always valid: at most alpha with probability at most alpha, ever, while the release is harmless."""
        return math.exp(-self.peak)

    def worse(self, alpha: float) -> bool:
        """Whether the release is refuted at `alpha`; once it is, it stays so."""
        return self.peak >= -math.log(alpha)


class Failures(Evidence, msgspec.Struct, frozen=True, array_like=True):
    """What all reports so far say; its size does not grow with them.

    Args:
        margin: the odds ratio up to which a release is harmless.
        treatment: counts of the new version, in all.
        control: counts of the old one.
        block: counts since the last block ended, of treatment and control.
        logs: log likelihood of each of RATIOS.
        null: log likelihood of the margin.
        log_e: logarithm of the evidence against "harmless", now.
        peak: the largest that it was.
    """

    margin: float = 1.0
    treatment: Arm = Arm()
    control: Arm = Arm()
    block: tuple[Arm, Arm] = (Arm(), Arm())
    logs: tuple[float, ...] = (0.0,) * len(RATIOS)
    null: float = 0.0
    log_e: float = 0.0
    peak: float = 0.0

    def add(self, *, treated: bool, failed: bool) -> Self:
        """One more report: constant time, and next to nothing for a block without failures."""
        mine, other = self.block
        mine, other = (mine.add(failed), other) if treated else (mine, other.add(failed))
        treatment = self.treatment.add(failed) if treated else self.treatment
        control = self.control if treated else self.control.add(failed)
        counted = msgspec.structs.replace(self, treatment=treatment, control=control, block=(mine, other))
        return counted if min(mine.reports, other.reports) < BLOCK else counted._ended()

    def _ended(self) -> Self:
        mine, other = self.block
        if mine.failed + other.failed in {0, mine.reports + other.reports}:
            return msgspec.structs.replace(self, block=(Arm(), Arm()))
        counts = mine.reports, mine.failed, other.reports, other.failed
        logs = tuple(
            log + log_likelihood(ratio, *counts) for log, ratio in zip(self.logs, RATIOS, strict=True)
        )
        null = self.null + log_likelihood(self.margin, *counts)
        log_e = log_sum([stake + log for stake, log in zip(bets(self.margin), logs, strict=True)]) - null
        return msgspec.structs.replace(
            self,
            block=(Arm(), Arm()),
            logs=logs,
            null=null,
            log_e=log_e,
            peak=max(self.peak, log_e),
        )

    def interval(self, alpha: float) -> tuple[float, float]:
        """Odds ratios not refuted: covers the true one at all times at once with probability 1 - alpha.

        On the grid of RATIOS and rounded outward; an end beyond the grid is 0 or infinity.
        """
        mixture = log_sum(list(self.logs)) - math.log(len(RATIOS))
        inside = [at for at, log in enumerate(self.logs) if mixture - log < -math.log(alpha)]
        low, high = min(inside) - 1, max(inside) + 1
        return (RATIOS[low] if low >= 0 else 0.0, RATIOS[high] if high < len(RATIOS) else math.inf)
