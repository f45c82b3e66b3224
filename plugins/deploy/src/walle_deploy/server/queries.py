"""What is asked about tasks, releases, devices and changes; every list is cut by a key and read from an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from walle_deploy.profile import Profile
from walle_deploy.release.explain import explain
from walle_deploy.release.gates import GateRegistry
from walle_deploy.release.state import decode
from walle_deploy.server.curves import POINTS
from walle_deploy.server.database import Database
from walle_deploy.server.inputs import plain, task_name
from walle_deploy.server.profiles import ALL
from walle_deploy.server.refusals import MissingError
from walle_deploy.server.schema import (
    audit,
    devices,
    failures,
    installed,
    manifests,
    points,
    releases,
    tasks,
    versions,
)
from walle_deploy.server.stepping import ACTIVE
from walle_deploy.server.tasks import known_segments, version_row
from walle_deploy.server.types import (
    AuditLine,
    Changed,
    DeviceInfo,
    FailureLine,
    Point,
    ReleaseInfo,
    TaskInfo,
    VersionInfo,
)

MOST = 1000  # rows of one answer
SEARCHED = 20_000  # lines of the audit log that one search looks at
LATELY = 50  # releases, beside those that go on, of which `changed` tells
_STATES = [releases.c[name] for name in releases.c.keys() if name not in {"plan"}]  # noqa: SIM118


class Queries:
    """Answers questions. Arguments as in Tasks."""

    def __init__(self, database: Database, gates: GateRegistry) -> None:
        self._database, self._gates = database, gates

    # tasks

    def tasks(self, limit: int, after: str) -> list[TaskInfo]:
        """See Platform.tasks."""
        query = _tasks().where(tasks.c.name > plain(after)).order_by(tasks.c.name).limit(_most(limit))
        with self._database.read() as found:
            return [_task(row) for row in found.execute(query).mappings()]

    def task(self, name: str) -> TaskInfo:
        """See Platform.task."""
        mine = _versions().where(versions.c.task == name).order_by(versions.c.number.desc()).limit(MOST)
        with self._database.read() as found:
            row = found.execute(_tasks().where(tasks.c.name == task_name(name))).mappings().one_or_none()
            if row is None:
                raise MissingError(f"there is no task {name!r}; see the tasks")
            return _task(row, tuple(_version(each) for each in found.execute(mine).mappings()))

    def version(self, task: str, number: int) -> VersionInfo:
        """A version that is there."""
        query = _versions().where(versions.c.task == task, versions.c.number == number)
        with self._database.read() as found:
            return _version(found.execute(query).mappings().one())

    def unpublished(self) -> list[tuple[str, int]]:
        """See Platform.unpublished."""
        query = sa.select(versions.c.task, versions.c.number).where(~versions.c.published)
        with self._database.read() as found:
            return [(task, number) for task, number in found.execute(query)]

    def manifest(self, task: str, number: int) -> bytes:
        """See Platform.manifest."""
        with self._database.read() as found:
            row = version_row(found, task, number)
            if row is None:
                raise MissingError(f"{task} has no version {number}; see its versions")
            query = sa.select(manifests.c.content).where(manifests.c.digest == row["manifest"])
            return bytes(found.execute(query).scalar_one())

    def segments(self) -> dict[str, Any]:
        """See Platform.segments."""
        with self._database.read() as found:
            return known_segments(found)

    # releases

    def releases(self, task: str | None, limit: int, before: int | None) -> list[ReleaseInfo]:
        """See Platform.releases."""
        query = _releases().order_by(releases.c.id.desc()).limit(_most(limit))
        if task is not None:
            query = query.where(releases.c.task == task_name(task))
        if before is not None:
            query = query.where(releases.c.id < _number(before))
        with self._database.read() as found:
            return [self._release(row) for row in found.execute(query).mappings()]

    def release(self, release: int) -> ReleaseInfo:
        """See Platform.release."""
        with self._database.read() as found:
            query = _releases(releases.c.plan).where(releases.c.id == _number(release))
            row = found.execute(query).mappings().one_or_none()
            if row is None:
                raise MissingError(f"there is no release {release!r:.40}; see the releases")
            history = sa.select(audit).where(audit.c.what == f"release/{release}")
            reasons = sa.select(failures).where(failures.c.release == release)
            newest = found.execute(history.order_by(audit.c.id.desc()).limit(MOST)).mappings()
            kept = found.execute(reasons.order_by(failures.c.number.desc()).limit(100)).mappings()
            return self._release(
                row,
                plan=msgspec.json.decode(row["plan"]),
                history=tuple(AuditLine(**each) for each in newest)[::-1],
                failures=tuple(_failure(each) for each in kept),
            )

    def curve(self, release: int) -> list[Point]:
        """See Platform.curve."""
        names = Point.__struct_fields__
        query = sa.select(*(points.c[name] for name in names)).where(points.c.release == _number(release))
        with self._database.read() as found:
            if not found.execute(sa.select(releases.c.id).where(releases.c.id == _number(release))).first():
                raise MissingError(f"there is no release {release!r:.40}; see the releases")
            rows = found.execute(query.order_by(points.c.number).limit(POINTS))
            return [Point(**dict(zip(names, row, strict=True))) for row in rows]

    def changed(self, known: Mapping[int, int]) -> list[Changed]:
        """See Platform.changed."""
        brief = sa.select(releases.c.id, releases.c.revision)
        with self._database.read() as found:
            newest = brief.order_by(releases.c.id.desc()).limit(LATELY)
            going = brief.where(releases.c.status.in_(ACTIVE)).limit(MOST)
            rows = {*found.execute(newest), *found.execute(going)}
            asked = brief.where(releases.c.id.in_(sorted(known)[-MOST:]))
            rows |= set(found.execute(asked))
            some = sorted(release for release, revision in rows if known.get(release) != revision)
            query = _releases().where(releases.c.id.in_(some[-MOST:])).order_by(releases.c.id)
            made = [self._release(row) for row in found.execute(query).mappings()]
        return [
            Changed(
                release=each.id,
                task=each.task,
                status=each.status,
                revision=each.revision,
                line=each.standing.line,
            )
            for each in made
        ]

    def _release(self, row: RowMapping, **more: Any) -> ReleaseInfo:
        names = ("id", "task", "version", "previous", "status", "created", "changed", "revision", "heard")
        standing = explain(decode(row["state"]), self._gates)
        reached = max(0, row["reached"] or 0)
        return ReleaseInfo(**{name: row[name] for name in names}, reached=reached, standing=standing, **more)

    # devices

    def devices(self, prefix: str, after: str, limit: int) -> list[DeviceInfo]:
        """See Platform.devices."""
        start, beyond = plain(prefix), plain(after)
        first = (
            devices.c.id > beyond if beyond >= start else devices.c.id >= start
        )  # of two, SQLite takes any
        query = sa.select(devices).where(first, devices.c.digest != b"")
        if prefix:
            query = query.where(devices.c.id < start + "\U0010ffff")
        with self._database.read() as found:
            rows = found.execute(query.order_by(devices.c.id).limit(_most(limit))).mappings()
            return [_device(row) for row in rows]

    def device(self, device: str) -> DeviceInfo:
        """See Platform.device."""
        found = self.profile(device)
        if found is None:
            raise MissingError(f"device {device!r:.140} has not described itself; see the devices")
        return found[0]

    def profile(self, device: str) -> tuple[DeviceInfo, Profile, list[int]] | None:
        """A device as it is shown, as policies see it, and the releases that admitted it; None if it is not known."""
        query = sa.select(devices).where(devices.c.id == plain(device), devices.c.digest != b"")
        with self._database.read() as found:
            row = found.execute(query).mappings().one_or_none()
        if row is None:
            return None
        granted = msgspec.msgpack.decode(row["granted"]) if row["granted"] else []
        return _device(row), Profile.read(row["profile"]), granted

    # the whole

    def audit(self, limit: int, before: int | None, text: str, what: str) -> list[AuditLine]:
        """See Platform.audit."""
        query = sa.select(audit).order_by(audit.c.id.desc())
        if before is not None:
            query = query.where(audit.c.id < _number(before))
        if what:
            query = query.where(audit.c.what == plain(what))
        if text:
            some = query.limit(SEARCHED).subquery()
            words = plain(text)
            hit = [
                some.c[name].icontains(words, autoescape=True) for name in ("who", "action", "what", "text")
            ]
            query = sa.select(some).where(sa.or_(*hit)).order_by(some.c.id.desc())
        with self._database.read() as found:
            return [AuditLine(**row) for row in found.execute(query.limit(_most(limit))).mappings()]

    def numbers(self) -> tuple[int, int, dict[str, int]]:
        """Devices, tasks, and releases by status."""
        count = sa.func.count()
        by_status = sa.select(releases.c.status, count).group_by(releases.c.status)
        with self._database.read() as found:
            alive = found.execute(sa.select(count).select_from(tasks).where(~tasks.c.retired)).scalar_one()
            every = found.execute(sa.select(installed.c.count).where(installed.c.task == ALL)).scalar() or 0
            return every, alive, dict(found.execute(by_status).all())


def _most(limit: int) -> int:
    return max(1, min(MOST, limit))


def _number(value: int) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else 0


def _tasks() -> sa.Select[Any]:
    going = sa.and_(releases.c.id == tasks.c.release, releases.c.status.in_(ACTIVE))
    return sa.select(tasks, releases.c.id.label("going")).outerjoin(releases, going)


def _task(row: RowMapping, found: tuple[VersionInfo, ...] = ()) -> TaskInfo:
    return TaskInfo(
        name=row["name"],
        policy=msgspec.json.decode(row["policy"]),
        stable=row["stable"],
        release=row["going"],
        retired=row["retired"],
        created=row["created"],
        versions=found,
    )


def _versions() -> sa.Select[Any]:
    counted = (installed.c.task == versions.c.task) & (installed.c.number == versions.c.number)
    return sa.select(versions, installed.c.count).outerjoin(installed, counted)


def _version(row: RowMapping) -> VersionInfo:
    names = [name for name in VersionInfo.__struct_fields__ if name != "devices"]
    return VersionInfo(**{name: row[name] for name in names}, devices=max(0, row["count"] or 0))


def _releases(*more: Any) -> sa.Select[Any]:
    counted = (installed.c.task == releases.c.task) & (installed.c.number == releases.c.version)
    query = sa.select(*_STATES, *more, installed.c.count.label("reached"))
    return query.outerjoin(installed, counted)


def _failure(row: RowMapping) -> FailureLine:
    return FailureLine(**{name: row[name] for name in FailureLine.__struct_fields__})


def _device(row: RowMapping) -> DeviceInfo:
    profile = Profile.read(row["profile"])
    return DeviceInfo(
        id=profile.id,
        seen=float(row["seen"]),
        digest=bytes(row["digest"]).hex(),
        device=profile.device,
        user=profile.user,
        installed=profile.installed,
    )
