"""A fleet and a platform in one process, on a simulated clock: hours pass as fast as the questions are answered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from walle_deploy.fleet.fleet import Fleet
from walle_deploy.fleet.own import Clock
from walle_deploy.profile import DIGEST_BYTES, Profile
from walle_deploy.server.refusals import BusyError
from walle_deploy.server.types import DeviceReport

RETRY_S = 60.0


class Asked(Protocol):
    """What a fleet asks of `server.platform.Platform`."""

    def check_digest(self, digest: bytes) -> bool: ...  # noqa: D102
    def begin_check(self, profile: Profile, nonce: bytes = b"") -> bytes | Future[bytes | None] | None: ...  # noqa: D102
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
        self._check(asking.tolist(), until)
        fleet.installed(until)
        fleet.run(asking, until)
        self._report(until)

    def _check(self, asking: list[int], now: float) -> None:
        fleet, clock = self._fleet, self._clock.now
        devices, tally = fleet.devices, fleet.tally
        known, begin = self._platform.check_digest, self._platform.begin_check
        waiting: list[tuple[int, Future[bytes | None]]] = []
        busy: list[int] = []
        quiet = profiles = up = down = 0
        for number in asking:
            try:
                if known(devices.digest(number)):
                    quiet += 1
                    continue
                data = devices.canonical(number)
                profiles += 1
                up += len(data)
                wire = begin(Profile.read(data))
            except BusyError:
                busy.append(number)
                continue
            if wire is None:
                continue
            if isinstance(wire, Future):
                waiting.append((number, wire))
            else:
                down += len(wire)
                fleet.answered(number, wire, now, clock)
        if waiting:
            self._platform.refresh()  # those that are told to go back wait for a look
        for number, future in waiting:
            if (found := future.result()) is not None:
                down += len(found)
                fleet.answered(number, found, now, clock)
        tally.digests += len(asking)
        tally.quiet += quiet
        tally.profiles += profiles
        tally.busy += len(busy)
        tally.up += up + DIGEST_BYTES * len(asking)
        tally.down += down
        for number in busy:
            fleet.calendar.due[number] = now + RETRY_S

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
