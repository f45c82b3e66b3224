"""The devices of a fleet at work, whatever way their questions take: what they do when nothing or something is new."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import attrs
import numpy as np
from numpy.typing import NDArray

from walle_deploy.errors import DeployError
from walle_deploy.fleet.court import Court
from walle_deploy.fleet.devices import Devices
from walle_deploy.fleet.habits import Calendar, Habits
from walle_deploy.fleet.mail import Letter, Mail, Post
from walle_deploy.fleet.outcomes import Outcomes, Shares
from walle_deploy.fleet.population import Population
from walle_deploy.trust.answer import Director

Numbers = NDArray[np.int64]
COUNTED = 50_000  # devices up to which those are counted that keep the version before
INSTALL_S = (5.0, 60.0)  # seconds from an answer to the check after its installation


@attrs.frozen(kw_only=True)
class Nature:
    """What a fleet is like.

    Attributes:
        seed: of everything that is drawn.
        start: task -> version that devices have at the beginning.
        failing: shares of runs that fail; see `Outcomes`.
        habits: when devices ask.
        post: how reports travel.
        reporting: share of devices that report their runs: the first one of what they have installed,
        again: and this share of later ones.
        verify: share of devices that verify signatures.
        install_s: seconds from an answer to the check after its installation, between two bounds.
    """

    seed: int = 0
    start: Mapping[str, str] = attrs.field(factory=dict)
    failing: Shares = attrs.field(factory=dict)
    habits: Habits = attrs.field(factory=Habits)
    post: Post = attrs.field(factory=Post)
    reporting: float = 1.0
    again: float = 0.1
    verify: float = 0.01
    install_s: tuple[float, float] = INSTALL_S


@attrs.define
class Tally:
    """What was done.

    Attributes:
        digests: checks by digest.
        quiet: of these, those to which nothing was new.
        profiles: checks by the whole profile.
        answers: to these, that said something new.
        installs: of what answers said.
        reports: that the server has taken.
        busy: questions that have to be asked again.
        up: bytes that devices sent.
        down: bytes that they received.
    """

    digests: int = 0
    quiet: int = 0
    profiles: int = 0
    answers: int = 0
    installs: int = 0
    reports: int = 0
    busy: int = 0
    up: int = 0
    down: int = 0

    @property
    def checks(self) -> int:
        """Questions of both kinds."""
        return self.digests + self.profiles


class Fleet:
    """Devices with their habits. Times are seconds since the fleet's beginning.

    Args:
        population: the devices.
        nature: what they are like.
        director: whose answers they believe; None: they verify no signatures.
        court: judges what they are told; None: nobody does.
        step: seconds; the time at which reports arrive is a multiple of it.
    """

    def __init__(
        self,
        population: Population,
        nature: Nature,
        director: Director | None = None,
        court: Court | None = None,
        step: float = 10.0,
    ) -> None:
        size, seed = len(population), [nature.seed, population.first]
        self.population, self.nature, self.court = population, nature, court
        self.calendar = Calendar(population, nature.habits, seed)
        self.devices = Devices(population, nature.start, self.calendar.late, director, nature.verify)
        self.outcomes = Outcomes(population, nature.failing, seed)
        self.mail = Mail(nature.post, step, seed)
        self.tally = Tally()
        self._rng = np.random.default_rng([*seed, 4])
        self._reports = self._rng.random(size) < nature.reporting
        self._numbers = np.zeros(size, np.int64)
        self._told = np.full(size, -1, np.int32)  # the set of tasks of which the device has reported a run
        self._changed: list[int] = []

    def begin(self, until: float) -> Numbers:
        """The devices that ask before `until`; each of them asks again later."""
        found = self.calendar.ready(until)
        self.calendar.asked(found, until)
        return found

    def answered(self, number: int, wire: bytes, now: float, clock: float) -> None:
        """A device got an answer, which it installs.

        Args:
            number: of the device.
            wire: the answer.
            now: time.
            clock: likewise, in Unix seconds.
        """
        devices = self.devices
        had, told = devices.now(number), devices.told(number, wire, clock)
        self.tally.answers += 1
        if told == had:
            return
        if self.court is not None:
            self.court.hear(devices.population.id(number), devices.sets[had], devices.sets[told], now)
        devices.install(number, told)
        self.tally.installs += 1
        self._changed.append(number)

    def installed(self, now: float) -> None:
        """Those that have installed something ask again soon, as what they have is new for the server."""
        if self._changed:
            some = np.array(self._changed)
            self._changed.clear()
            self.calendar.again(some, now + self._rng.uniform(*self.nature.install_s, len(some)))

    def run(self, devices: Numbers, now: float) -> None:
        """Lets these devices run each task that they have, and report how it went."""
        some = devices[self._reports[devices]]
        has = self.devices.has[some]
        wanted = (self._told[some] != has) | (self._rng.random(len(some)) < self.nature.again)
        some, has = some[wanted], has[wanted]
        self._told[some] = has
        for tasks in np.unique(has).tolist():
            those = some[has == tasks]
            for order, (task, version) in enumerate(self.devices.sets[tasks].items()):
                failed = self.outcomes.failed(those, task, version)
                self._numbers[those] += 1
                columns = (
                    those,
                    self._numbers[those],
                    np.full(len(those), tasks),
                    np.full(len(those), order),
                )
                self.mail.send(now, *columns, failed.astype(np.int64))

    def task(self, letter: Letter) -> tuple[str, str]:
        """The task and the version that a report is about."""
        _, _, tasks, order, _ = letter
        return list(self.devices.sets[tasks].items())[order]

    def having(self, task: str, version: str) -> int:
        """Devices that have a version of a task, but for those that are gone."""
        holding = np.zeros(len(self.devices.sets), np.bool_)
        holding[self.devices.holding(task, version)] = True
        return int(np.count_nonzero(holding[self.devices.has] & (self.calendar.due < np.inf)))

    @cached_property
    def kept(self) -> int:
        """Devices that keep the version before until the release that the court judges is finished; many are estimated."""
        if self.court is None:
            return 0
        rules, size, name = self.court.rules, len(self.population), self.population.id
        if size > COUNTED:
            return round(size * rules.plan.stages[-1].control)
        return sum(rules.keeps(name(number)) for number in range(size))

    @property
    def living(self) -> int:
        """Devices that have come and are not gone."""
        absent = self.calendar.late & (self.devices.has == 0) | (self.calendar.due == np.inf)
        return len(self.population) - int(np.count_nonzero(absent))


def add(tallies: list[Tally]) -> Tally:
    """All of them as one. Raises DeployError if there is none."""
    if not tallies:
        raise DeployError("no fleet has told what it did")
    rows = [attrs.astuple(tally) for tally in tallies]
    return Tally(*map(sum, zip(*rows, strict=True)))
