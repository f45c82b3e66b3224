"""Devices as they described themselves, and how many have which version: both change in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from walle_deploy.server.database import Database
from walle_deploy.server.inputs import is_task
from walle_deploy.server.schema import devices, installed, tasks
from walle_deploy.server.snapshot import number

AGAIN_S = 3600  # an unchanged description is written anew, for its time, after so long
GRANTS = 16  # releases that are remembered to have admitted a device
ALL = ""  # task under which all devices are counted
_UNKNOWN = 500  # names of unknown tasks that one transaction looks for

_bound = sa.bindparam


class Described(msgspec.Struct, frozen=True):
    """A device's profile as it is written; `tasks`: those that are installed, if they are at hand."""

    id: str
    digest: bytes
    profile: bytes
    tasks: Mapping[str, str] | None = None

    @property
    def installed(self) -> Mapping[str, str]:
        """Task -> version."""
        return _parts(self.profile)[3] if self.tasks is None else self.tasks


class Known(msgspec.Struct):
    """What the database has of a device; without a digest, only its place."""

    digest: bytes = b""
    profile: bytes = b""
    seen: int = 0
    granted: list[int] = []

    @property
    def installed(self) -> dict[str, str]:
        """Task -> version."""
        return _parts(self.profile)[3] if self.profile else {}


_parts = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw, msgspec.Raw, dict[str, str]]).decode
_grants = msgspec.msgpack.Decoder(list[int]).decode
_encode = msgspec.msgpack.encode
_COUNT = (
    sa.update(installed)
    .where(installed.c.task == _bound("of"), installed.c.number == _bound("version"))
    .values(count=installed.c.count + _bound("more"))
)


def lock_devices(found: Connection, database: Database, ids: Iterable[str]) -> dict[str, Known]:
    """What is known of devices, none of which another transaction changes until this one ends."""
    wanted = sorted(set(ids))
    made = _selected(found, database, wanted)
    missing = [device for device in wanted if device not in made]
    if missing and database.postgres:  # two that describe a new device at once must see each other
        places = [{"id": device, "digest": b"", "profile": b"", "seen": 0} for device in missing]
        found.execute(database.upsert(devices, ()), places)
        made |= _selected(found, database, missing)
    return {device: made.get(device) or Known() for device in wanted}


def write_devices(
    found: Connection,
    database: Database,
    known: Mapping[str, Known],
    described: Mapping[str, Described],
    granted: Mapping[str, Sequence[int]],
    now: float,
    names: frozenset[str],
) -> set[bytes]:
    """Writes descriptions and grants, counts versions, and returns the digests that were replaced.

    `known`: of all that are described; `names`: tasks that are known to be there.
    """
    replaced = set()
    rows: list[tuple[Any, ...]] = []
    came: Counter[tuple[str, str]] = Counter()
    gone: Counter[tuple[str, str]] = Counter()
    fresh = 0
    for device, old in known.items():
        new = described.get(device)
        if new is None:
            continue
        grants = old.granted
        if device in granted:
            grants = [*grants, *granted[device]][-GRANTS:]
        same = new.digest == old.digest
        if same and grants == old.granted and 0 <= now - old.seen < AGAIN_S:
            continue
        rows.append((device, new.digest, new.profile, int(now), _encode(grants) if grants else None))
        if same:
            continue
        has = new.installed
        if old.digest:
            replaced.add(old.digest)
            had = old.installed
            if had != has:
                came.update(has.items() - had.items())
                gone.update(had.items() - has.items())
        else:
            fresh += 1
            came.update(has.items())
    if rows:
        database.replace(found, devices, rows)
    _count(found, _numbered(came, gone, fresh), names)
    return replaced


def _selected(found: Connection, database: Database, wanted: Sequence[str]) -> dict[str, Known]:
    return {
        device: Known(digest, profile, seen, _grants(granted) if granted else [])
        for device, digest, profile, seen, granted in database.locked(found, devices, wanted)
    }


def _numbered(
    came: Counter[tuple[str, str]], gone: Counter[tuple[str, str]], fresh: int
) -> dict[tuple[str, int], int]:
    """By task and number of the version: how many devices have it now more than before."""
    counts = {(ALL, 0): fresh}
    came.subtract(gone)
    for (task, version), more in came.items():
        key = task, number(version)
        counts[key] = counts.get(key, 0) + more
    return counts


def _count(found: Connection, counts: Mapping[tuple[str, int], int], names: frozenset[str]) -> None:
    """Adds to the rows that `add_version` made; versions that nobody added are not counted."""
    strange = sorted({task for task, _ in counts if task not in names and is_task(task)})
    if strange:
        query = sa.select(tasks.c.name).where(tasks.c.name.in_(strange[:_UNKNOWN]))
        names |= set(found.execute(query).scalars())
    rows = [
        {"of": task, "version": version, "more": more}
        for (task, version), more in sorted(counts.items())
        if more and (version or not task) and (not task or task in names)
    ]
    if rows:
        found.execute(_COUNT, rows)
