"""How soon would a release be rolled back? Many simulated ones at once, looked at after every report.

The same test as `sequential.Failures`, with an array in place of each number. For choosing a plan's shares and sample sizes.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from walle_deploy.release.sequential import BLOCK, RATIOS, bets

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@attrs.frozen(eq=False)
class Stops:
    """Of each simulated release, how many reports each arm had when it was rolled back; -1 if it never was."""

    treatment: Ints
    control: Ints

    @property
    def share(self) -> float:
        """Of releases that were rolled back."""
        return float((self.treatment >= 0).mean())

    def quantile(self, part: float) -> float:
        """Reports of the smaller arm after which `part` of the releases were rolled back; infinity if fewer were."""
        smaller = np.minimum(self.treatment, self.control).astype(np.float64)
        smaller[self.treatment < 0] = np.inf
        return float(np.quantile(smaller, part, method="higher"))


class Arrays:
    """Tests of many releases.

    Args:
        runs: how many.
        margin: the odds ratio up to which a release is harmless.
    """

    def __init__(self, runs: int, margin: float = 1.0) -> None:
        stakes = np.array(bets(margin))
        self._used = np.isfinite(stakes)
        self._stakes = stakes[self._used]
        self._ratios = np.log(np.append(np.array(RATIOS)[self._used], margin))
        self.block = np.zeros((4, runs), dtype=np.int64)  # treatment, its failures, control, its failures
        self.totals = np.zeros((4, runs), dtype=np.int64)
        self.logs = np.zeros((runs, len(self._ratios)))
        self.log_e = np.zeros(runs)
        self._factorials = np.array([0.0])

    def add(self, at: Ints, treated: NDArray[np.bool_], failed: NDArray[np.bool_]) -> Ints:
        """One report for each of the releases `at`; returns those whose evidence has changed."""
        counts = np.stack([treated, treated & failed, ~treated, ~treated & failed]).astype(np.int64)
        self.block[:, at] += counts
        self.totals[:, at] += counts
        ended: Ints = at[np.minimum(self.block[0, at], self.block[2, at]) >= BLOCK]
        counts = self.block[:, ended]
        self.block[:, ended] = 0
        some = (counts[1] + counts[3] > 0) & (counts[1] + counts[3] < counts[0] + counts[2])
        changed: Ints = ended[some]
        if len(changed):
            self.logs[changed] += self._likelihood(*counts[:, some])
            gains = self.logs[changed, :-1] - self.logs[changed, -1:] + self._stakes
            self.log_e[changed] = _log_sum(gains)
        return changed

    def _likelihood(self, treated: Ints, failed: Ints, control: Ints, control_failed: Ints) -> Floats:
        every = failed + control_failed
        fewest, most = np.maximum(0, every - control), np.minimum(every, treated)
        mine = fewest[:, None] + np.arange(int((most - fewest).max()) + 1)
        possible, mine = mine <= most[:, None], np.minimum(mine, most[:, None])
        ways = self._choose(treated[:, None], mine) + self._choose(control[:, None], every[:, None] - mine)
        ways = np.where(possible, ways, -np.inf)
        weights = ways[:, None, :] + mine[:, None, :] * self._ratios[:, None]
        own = self._choose(treated, failed) + self._choose(control, control_failed)
        found: Floats = own[:, None] + failed[:, None] * self._ratios - _log_sum(weights)
        return found

    def _choose(self, among: Ints, some: Ints) -> Floats:
        most = int(among.max())
        if most >= len(self._factorials):
            self._factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 2 * most + 1)))])
        f = self._factorials
        found: Floats = f[among] - f[some] - f[among - some]
        return found


def _log_sum(terms: Floats) -> Floats:
    top = terms.max(axis=-1, keepdims=True)
    found: Floats = top[..., 0] + np.log(np.exp(terms - top).sum(axis=-1))
    return found


def simulate(
    treatment: float,
    control: float,
    *,
    reports: int = 20_000,
    runs: int = 2_000,
    share: float | None = None,
    alpha: float = 0.007,
    margin: float = 1.0,
    seed: int = 0,
) -> Stops:
    """Releases whose tasks fail at these rates.

    Args:
        treatment: failures of the new version, as a share of its reports.
        control: of the old one.
        reports: of both arms together, after which a release is left alone, halved: so many per arm.
        runs: simulated releases.
        share: of reports that are the treatment's, in random order; None for one of each arm in turn.
        alpha: the level of the plan.
        margin: the harmless odds ratio of the plan.
        seed: of the random numbers.
    """
    rng: Any = np.random.default_rng(seed)
    tests, live = Arrays(runs, margin), np.arange(runs)
    stops = np.full((2, runs), -1)
    for number in range(2 * reports):
        treated = np.full(len(live), number % 2 == 0) if share is None else rng.random(len(live)) < share
        failed = rng.random(len(live)) < np.where(treated, treatment, control)
        changed = tests.add(live, treated, failed)
        if len(changed) and len(over := changed[tests.log_e[changed] >= -math.log(alpha)]):
            stops[:, over] = tests.totals[::2, over]
            live = live[stops[0, live] < 0]
            if not len(live):
                break
    return Stops(stops[0], stops[1])
