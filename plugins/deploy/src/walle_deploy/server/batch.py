"""One transaction of devices' writes: reports, admissions and descriptions of many devices together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import attrs
from sqlalchemy.engine import Connection

from walle_deploy.profile import Profile
from walle_deploy.release.gates import GateRegistry
from walle_deploy.server import reports
from walle_deploy.server.admissions import admit
from walle_deploy.server.auditing import offers_changed
from walle_deploy.server.database import Database
from walle_deploy.server.inputs import is_task
from walle_deploy.server.profiles import Described, Known, lock_devices, write_devices
from walle_deploy.server.schema import releases
from walle_deploy.server.snapshot import Snapshot
from walle_deploy.server.stepping import ACTIVE, Live, lock, save
from walle_deploy.server.types import DeviceReport


@attrs.frozen
class Reports:
    """Reports of one device, and what ends when they are durable."""

    device: str
    reports: Sequence[DeviceReport]
    done: Future[Any] = attrs.field(factory=Future)


@attrs.frozen
class Admission:
    """A device that asks releases (by task) for an admission; `done` gives what it gets and what it has to wait for."""

    profile: Profile
    releases: dict[str, int]
    done: Future[Any] = attrs.field(factory=Future)


Job = Described | Reports | Admission


class Batch:
    """Writes jobs.

    Args:
        database: to write to.
        gates: kinds of gates.
        clock: Unix seconds.
        snapshot: the worker's, now.
    """

    def __init__(
        self,
        database: Database,
        gates: GateRegistry,
        clock: Callable[[], float],
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self._database, self._gates, self._clock, self._snapshot = database, gates, clock, snapshot

    def write(self, jobs: Sequence[Job]) -> list[Any]:
        """Writes all of them durably, and returns the result of each. Raises DeployError; nothing is written then."""
        results, replaced = self._database.write(lambda found: self._write(found, jobs))
        self._snapshot().quiet.difference_update(replaced)
        return results

    def _write(self, found: Connection, jobs: Sequence[Job]) -> tuple[list[Any], set[bytes]]:
        """The result of each job, and digests that devices had before: one that comes again has to be written again."""
        database, gates, snapshot = self._database, self._gates, self._snapshot()
        reported = [job for job in jobs if isinstance(job, Reports)]
        asking = [job for job in jobs if isinstance(job, Admission)]
        described: dict[str, Described] = {}
        replaced = set()
        for job in jobs:
            if not isinstance(job, Reports):
                new = job if isinstance(job, Described) else _described(job.profile)
                old = described.setdefault(new.id, new)
                if old.digest != new.digest:
                    replaced.add(old.digest)
                    described[new.id] = new
        lives = self._locked(found, reported, asking)
        active = {live.task: live for live in lives if live.state.active}
        judged = reports.devices_to_know(reported, active)
        known = lock_devices(found, database, {*described, *judged})
        now = self._clock()
        newest = ((device, (described.get(device) or known[device]).profile) for device in judged)
        profiles = {device: profile for device, profile in newest if profile}
        reports.take(reported, active, profiles, snapshot, now)
        results, granted = self._admitted(jobs, lives, known, snapshot, now)
        replaced |= write_devices(found, database, known, described, granted, now, snapshot.names)
        moved = [live for live in lives if live.state is not live.before or live.heard != live.row["heard"]]
        offers_changed(found, save(found, database, moved, now, gates))
        return results, replaced

    def _locked(
        self, found: Connection, reported: Sequence[Reports], asking: Sequence[Admission]
    ) -> list[Live]:
        """The releases that are reported of or asked, locked in the order of their ids."""
        names = {each.task for job in reported for each in job.reports if is_task(each.task)}
        ids = {release for job in asking for release in job.releases.values()}
        active = releases.c.task.in_(sorted(names)) & releases.c.status.in_(ACTIVE)
        if names and ids:
            return lock(found, active | releases.c.id.in_(sorted(ids)), self._gates)
        if names or ids:
            return lock(found, active if names else releases.c.id.in_(sorted(ids)), self._gates)
        return []

    def _admitted(
        self,
        jobs: Sequence[Job],
        lives: Sequence[Live],
        known: Mapping[str, Known],
        snapshot: Snapshot,
        now: float,
    ) -> tuple[list[Any], dict[str, list[int]]]:
        """The result of each job, and device -> releases that admitted it just now."""
        by_id = {live.id: live for live in lives}
        results: list[Any] = []
        granted: dict[str, list[int]] = {}
        for job in jobs:
            if not isinstance(job, Admission):
                results.append(None)
                continue
            mine = granted.setdefault(job.profile.id, [])
            held = [*known[job.profile.id].granted, *mine]
            given, new, waits = admit(job, by_id, held, snapshot, now)
            mine += new
            results.append((given, waits))
        return results, granted


def _described(profile: Profile) -> Described:
    return Described(profile.id, profile.digest, profile.canonical, profile.installed)
