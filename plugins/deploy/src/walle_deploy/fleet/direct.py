"""A fleet and a platform in one process, on a simulated clock: hours pass as fast as the questions are answered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np

from walle_deploy.fleet.fleet import Fleet, Numbers
from walle_deploy.fleet.own import Clock
from walle_deploy.profile import DIGEST_BYTES, Profile
from walle_deploy.server.checks import Begun
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.types import DeviceReport

RETRY_S = 60.0
TOGETHER = 256  # profiles that are handed over at once


class Asked(Protocol):
    """What a fleet asks of `server.platform.Platform`."""

    def check_digests(self, digests: Sequence[bytes]) -> list[bool]: ...  # noqa: D102
    def begin_checks(self, asked: Sequence[tuple[Profile, bytes]]) -> Sequence[Begun]: ...  # noqa: D102
    def begin_report(self, device: str, reports: Sequence[DeviceReport]) -> Future[None]: ...  # noqa: D102
    def refresh(self) -> None: ...  # noqa: D102
    def tick(self) -> float: ...  # noqa: D102


class Direct:
    """Lets a fleet ask a platform, one device after the other.

    Args:
        platform: that is asked; its clock is `clock`.
        clock: that is advanced from what it shows.
        fleet: of devices.
    """

    def __init__(self, platform: Asked, clock: Clock, fleet: Fleet) -> None:
        self._platform, self._clock, self._fleet = platform, clock, fleet
        self._start = clock.now

    def advance(self, until: float) -> None:
        """All that happens until this time, in seconds since the beginning."""
        fleet = self._fleet
        self._clock.now = self._start + until
        self._platform.tick()
        self._platform.refresh()
        asking = fleet.begin(until)
        self._check(asking, until)
        fleet.installed(until)
        fleet.run(asking, until)
        self._report(until)

    def _check(self, asking: Numbers, now: float) -> None:
        fleet, tally = self._fleet, self._fleet.tally
        known = self._platform.check_digests(fleet.devices.digests(asking))
        new = asking[~np.array(known, np.bool_)].tolist()
        waiting: list[tuple[int, Future[bytes | None]]] = []
        for start in range(0, len(new), TOGETHER):
            waiting += self._describe(new[start : start + TOGETHER], now)
        if waiting:
            self._platform.refresh()  # those that are told to go back wait for a look
        for number, future in waiting:
            self._answered(number, future.result(), now)
        tally.digests += len(asking)
        tally.quiet += len(asking) - len(new)
        tally.up += DIGEST_BYTES * len(asking)

    def _describe(self, some: list[int], now: float) -> list[tuple[int, Future[bytes | None]]]:
        """Devices for which something may be new send their whole profile; returns those whose answers are not made yet."""
        fleet, tally = self._fleet, self._fleet.tally
        profiles = [fleet.devices.canonical(number) for number in some]
        found = self._platform.begin_checks([(Profile.read(each), b"") for each in profiles])
        waiting: list[tuple[int, Future[bytes | None]]] = []
        for number, wire in zip(some, found, strict=True):
            if isinstance(wire, Future):
                waiting.append((number, wire))
            elif isinstance(wire, BusyError):
                tally.busy += 1
                fleet.calendar.due[number] = now + RETRY_S
            elif isinstance(wire, Exception):
                raise wire
            else:
                self._answered(number, wire, now)
        tally.profiles += len(some)
        tally.up += sum(map(len, profiles))
        return waiting

    def _answered(self, number: int, wire: bytes | None, now: float) -> None:
        if wire is not None:
            self._fleet.tally.down += len(wire)
            self._fleet.answered(number, wire, now, self._clock.now)

    def _report(self, now: float) -> None:
        fleet, begin = self._fleet, self._platform.begin_report
        name = fleet.population.id
        waiting: list[Future[None]] = []
        for letter in fleet.mail.arrived(now):
            device, number, _, _, failed = letter
            task, version = fleet.task(letter)
            why = "the run ended with an error" if failed else ""
            waiting.append(begin(name(device), (DeviceReport(number, task, version, bool(failed), {}, why),)))
        for future in waiting:
            future.result()
        fleet.tally.reports += len(waiting)
