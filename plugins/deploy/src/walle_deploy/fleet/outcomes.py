"""How runs of a version go on devices: the share that fails, where that depends on what a device is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from walle_deploy.fleet.kinds import KINDS, kinds
from walle_deploy.fleet.population import Population
from walle_deploy.policies.compiling import compile_policy
from walle_deploy.profile import Profile

Numbers = NDArray[np.int64]


@attrs.frozen
class Failing:
    """A share of runs that fails.

    Attributes:
        share: of runs.
        where: policy that asks for attributes of devices only, and is met where this holds; None: everywhere.
    """

    share: float
    where: Mapping[str, Any] | None = None


Shares = Mapping[str, float | Sequence[Failing]]


class Outcomes:
    """Draws how runs go.

    Args:
        population: whose devices run.
        versions: ``v2``, or ``task v2`` -> share of runs that fails; of several for the same device, the largest.
        seed: of what is drawn.
        usual: share for versions that are not named.
    """

    def __init__(
        self, population: Population, versions: Shares, seed: Sequence[int] = (0,), usual: float = 0.01
    ) -> None:
        self._kinds = population.device
        self._shares = {version: _shares(given) for version, given in versions.items()}
        self._usual = np.full(KINDS, usual)
        self._rng = np.random.default_rng([*seed, 2])

    def failed(self, devices: Numbers, task: str, version: str) -> NDArray[np.bool_]:
        """Which of these devices' runs of a version fail."""
        shares = self._shares.get(f"{task} {version}", self._shares.get(version, self._usual))
        found: NDArray[np.bool_] = self._rng.random(len(devices)) < shares[self._kinds[devices]]
        return found


def _shares(given: float | Sequence[Failing]) -> NDArray[np.float64]:
    """Of each kind of device."""
    found = np.zeros(KINDS)
    for each in [Failing(given)] if isinstance(given, int | float) else given:
        if each.where is None:
            meets = np.full(KINDS, True)
        else:
            rule = compile_policy(each.where, name="failing.where")
            meets = np.array([rule.verdict(Profile("kind", device)) is True for device in kinds().devices])
        found[meets] = np.maximum(found[meets], each.share)
    return found
