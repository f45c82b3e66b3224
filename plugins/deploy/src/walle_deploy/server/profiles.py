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
_PART, _UNKNOWN = 500, 500  # ids in one query; names of unknown tasks that one transaction looks for

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
_COLUMNS = ("id", "digest", "profile", "seen", "granted")


def lock_devices(found: Connection, database: Database, ids: Iterable[str]) -> dict[str, Known]:
    """What is known of devices, none of which another transaction changes until this one ends."""
    wanted = sorted(set(ids))
    made = _selected(found, wanted)
    missing = [device for device in wanted if device not in made]
    if missing and database.postgres:  # two that describe a new device at once must see each other
        places = [{"id": device, "digest": b"", "profile": b"", "seen": 0} for device in missing]
        found.execute(database.upsert(devices, ()), places)
        made |= _selected(found, missing)
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

    `names`: tasks that are known to be there.
    """
    replaced = set()
    rows: list[dict[str, Any]] = []
    counts: Counter[tuple[str, int]] = Counter()
    for device in sorted(described):
        new, old = described[device], known[device]
        grants = [*old.granted, *granted.get(device, ())][-GRANTS:]
        same = new.digest == old.digest
        if same and grants == old.granted and 0 <= now - old.seen < AGAIN_S:
            continue
        rows.append(
            {
                "id": device,
                "digest": new.digest,
                "profile": new.profile,
                "seen": int(now),
                "granted": _encode(grants) if grants else None,
            }
        )
        if not same:
            replaced.add(old.digest)
            _difference(counts, old.installed, new.installed)
            if not old.digest:
                counts[ALL, 0] += 1
    if rows:
        found.execute(database.upsert(devices, _COLUMNS[1:]), rows)
    _count(found, counts, names)
    return replaced


def _selected(found: Connection, wanted: Sequence[str]) -> dict[str, Known]:
    made = {}
    for start in range(0, len(wanted), _PART):
        query = (
            sa.select(*(devices.c[name] for name in _COLUMNS))
            .where(devices.c.id.in_(wanted[start : start + _PART]))
            .order_by(devices.c.id)
            .with_for_update()
        )
        for device, digest, profile, seen, granted in found.execute(query):
            made[device] = Known(digest, profile, seen, _grants(granted) if granted else [])
    return made


def _difference(counts: Counter[tuple[str, int]], old: Mapping[str, str], new: Mapping[str, str]) -> None:
    came, gone = (new.items() - old.items(), old.items() - new.items()) if old else (new.items(), ())
    counts.update([(task, number(version)) for task, version in came])
    if gone:
        counts.subtract([(task, number(version)) for task, version in gone])


def _count(found: Connection, counts: Counter[tuple[str, int]], names: frozenset[str]) -> None:
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
