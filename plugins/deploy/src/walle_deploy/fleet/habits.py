"""When the devices of a fleet ask: by time of day, with periods offline, and with some that come late or leave for ever."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from walle_deploy.fleet.population import Population

HOUR = 3600.0
# Activity by local hour, from midnight; the mean is 1.
DAY = np.array([0.4, 0.25, 0.18, 0.15, 0.15, 0.25, 0.5, 0.8, 1.0, 1.1, 1.15, 1.25,
                1.4, 1.25, 1.15, 1.15, 1.2, 1.3, 1.45, 1.6, 1.75, 1.8, 1.5, 0.9])  # fmt: skip
DAY = DAY / DAY.mean()
_RATES, _SHARES = (2.0, 1.0, 0.5), (0.15, 0.6, 0.25)  # heavy, usual and light users

Times = NDArray[np.float64]
Numbers = NDArray[np.int64]


@attrs.frozen(kw_only=True)
class Habits:
    """How devices behave.

    Attributes:
        per_hour: checks of a usual device in an hour of mean activity.
        start: hour of the day, UTC, at which the simulation begins.
        spell: share of checks after which a device is offline for some time.
        spell_hours: median of these periods.
        away: share of devices that are offline at the beginning, for up to twice `spell_hours`.
        late: share of devices that come new, at any time within `late_hours`.
        late_hours: hours.
        leaving: share of checks after which a device is gone for ever.
        first: hours in which all ask for the first time, evenly; None: as if they had asked before.
    """

    per_hour: float = 1.0
    start: float = 8.0
    spell: float = 0.02
    spell_hours: float = 1.5
    away: float = 0.05
    late: float = 0.02
    late_hours: float = 4.0
    leaving: float = 0.0005
    first: float | None = None

    @classmethod
    def eager(cls, seconds: float) -> Habits:
        """Of devices that ask every so many seconds, day and night, and stay."""
        return cls(per_hour=HOUR / seconds, spell=0.0, away=0.0, late=0.0, leaving=0.0, start=-1.0)


class Calendar:
    """When each device asks next: seconds since the beginning, infinity for never."""

    def __init__(self, population: Population, habits: Habits, seed: Sequence[int] = (0,)) -> None:
        self._habits, self._rng = habits, np.random.default_rng([*seed, 1])
        size, rng = len(population), self._rng
        flat = habits.start < 0
        self._rate = (habits.per_hour * rng.choice(_RATES, size=size, p=_SHARES)).astype(np.float32)
        if flat:
            self._rate[:] = habits.per_hour
        self._local = (
            np.zeros(size, np.float32) if flat else (population.zones + habits.start + 24).astype(np.float32)
        )
        self._done = np.concatenate([[0.0], np.cumsum(np.tile(np.ones(24) if flat else DAY, 60))])  # 60 days
        self._hours = np.arange(len(self._done), dtype=np.float64)
        everyone = np.arange(size)
        self.due: Times = np.zeros(size)
        first = self._wait(everyone, 0.0) if habits.first is None else habits.first * HOUR
        self.due[:] = first * rng.random(size)
        away = rng.random(size) < habits.away
        self.due[away] += rng.random(int(away.sum())) * 2 * habits.spell_hours * HOUR
        self.late: NDArray[np.bool_] = rng.random(size) < habits.late
        self.due[self.late] = rng.random(int(self.late.sum())) * habits.late_hours * HOUR

    def ready(self, until: float) -> Numbers:
        """The devices that ask before `until`, in the order in which they do."""
        found = np.flatnonzero(self.due < until)
        return found[np.argsort(self.due[found], kind="stable")]

    def asked(self, devices: Numbers, now: float) -> None:
        """Says when these devices, which have asked now, ask again."""
        habits, rng, size = self._habits, self._rng, len(devices)
        due = now + self._wait(devices, now)
        if habits.spell:
            some = np.flatnonzero(rng.random(size) < habits.spell)
            due[some] += rng.lognormal(np.log(habits.spell_hours), 0.8, len(some)) * HOUR
        if habits.leaving:
            due[rng.random(size) < habits.leaving] = np.inf
        self.due[devices] = due

    def again(self, devices: Numbers, at: Times | float) -> None:
        """These devices ask at `at`, whatever was said before."""
        self.due[devices] = at

    @property
    def gone(self) -> int:
        """Devices that never come back."""
        return int(np.isinf(self.due).sum())

    def _wait(self, devices: Numbers, now: float) -> Times:
        """Seconds: half to one and a half of the usual time, longer at night."""
        local = now / HOUR + self._local[devices]
        activity = self._rng.uniform(0.5, 1.5, len(devices)) / self._rate[devices]
        then = np.interp(np.interp(local, self._hours, self._done) + activity, self._done, self._hours)
        waits: Times = (then - local) * HOUR
        return waits
