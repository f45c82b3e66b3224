"""What operators do with tasks, their versions, and segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from walle_deploy.manifest import Manifest
from walle_deploy.policies.compiling import Compiler
from walle_deploy.release.events import Rollback
from walle_deploy.release.gates import GateRegistry
from walle_deploy.release.state import decode
from walle_deploy.server.auditing import note, offers_changed, raise_epoch
from walle_deploy.server.database import Database
from walle_deploy.server.inputs import (
    MESSAGE,
    POLICY,
    WHO,
    as_json,
    segment_name,
    task_name,
    version_number,
    words,
)
from walle_deploy.server.refusals import ConflictError, MissingError
from walle_deploy.server.schema import installed, manifests, releases, segments, tasks, versions
from walle_deploy.server.stepping import ACTIVE, lock, save

SEGMENTS, TASKS = 1000, 20_000  # on one server


class Tasks:
    """Changes tasks, each method in one transaction.

    Args:
        database: where they are.
        clock: Unix seconds.
        gates: kinds of gates.
        kinds: of policies.
        exclusive: whether versions may have exclusive files.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        gates: GateRegistry,
        kinds: Any,
        *,
        exclusive: bool = False,
    ) -> None:
        self._database, self._clock, self._gates = database, clock, gates
        self._kinds = kinds
        self._exclusive = exclusive

    def add(self, name: str, policy: Mapping[str, Any], who: str) -> None:
        """See Platform.add_task."""
        task_name(name)
        kept = as_json(f"policy of {name}", policy, POLICY)

        def work(found: Connection) -> None:
            self._database.alone(found)
            if found.execute(sa.select(tasks.c.name).where(tasks.c.name == name)).one_or_none():
                raise ConflictError(
                    f"there is a task {name!r} already, or was; give the new one another name"
                )
            if found.execute(sa.select(sa.func.count()).select_from(tasks)).scalar_one() >= TASKS:
                raise ConflictError(f"there are {TASKS} tasks; use another server for more")
            self._compile(found, name, policy)
            now = self._clock()
            row = {"name": name, "policy": kept, "retired": False, "created": now, "epoch": 0}
            inserted = found.execute(self._database.upsert(tasks, ()), row)
            if not inserted.rowcount:
                raise ConflictError(f"there is a task {name!r} already; give the new one another name")
            note(found, now, words("who", who, WHO), "add", f"task/{name}", kept)
            offers_changed(found, {name})

        self._database.write(work)

    def set_policy(self, name: str, policy: Mapping[str, Any], who: str) -> None:
        """See Platform.set_policy."""
        kept = as_json(f"policy of {name!r:.70}", policy, POLICY)

        def work(found: Connection) -> None:
            self._database.alone(found)
            locked(found, name)
            self._compile(found, name, policy)
            found.execute(sa.update(tasks).where(tasks.c.name == name).values(policy=kept))
            note(found, self._clock(), words("who", who, WHO), "set policy", f"task/{name}", kept)
            offers_changed(found, {name})

        self._database.write(work)

    def retire(self, name: str, who: str) -> None:
        """See Platform.retire."""
        words("who", who, WHO)

        def work(found: Connection) -> None:
            active = (releases.c.task == task_name(name)) & releases.c.status.in_(ACTIVE)
            lives = lock(found, active, self._gates)
            locked(found, name)
            now = self._clock()
            for live in lives:
                live.send(Rollback(at=live.at(now), who=who or "operator", why=f"task {name} was retired"))
            save(found, self._database, lives, now, self._gates, who)
            found.execute(sa.update(tasks).where(tasks.c.name == name).values(retired=True, release=None))
            note(found, now, who, "retire", f"task/{name}")
            offers_changed(found, {name})

        self._database.write(work)

    def set_segment(self, name: str, policy: Mapping[str, Any] | None, who: str) -> None:
        """See Platform.set_segment."""
        segment_name(name)
        kept = None if policy is None else as_json(f"segment {name}", policy, POLICY)

        def work(found: Connection) -> None:
            self._database.alone(found)
            known = known_segments(found)
            if kept is None:
                self._unused(found, name, known)
                known.pop(name, None)
            else:
                known[name] = msgspec.json.decode(kept)
                if len(known) > SEGMENTS:
                    raise ConflictError(f"there are {SEGMENTS} segments; take one away first")
            compiler = Compiler(known, self._kinds)
            compiler.check()
            using = tasks.c.policy.contains('"segment"') & ~tasks.c.retired
            for task, each in found.execute(sa.select(tasks.c.name, tasks.c.policy).where(using)):
                compiler.compile(msgspec.json.decode(each), task)
            action = "set" if kept is not None else "take away"
            note(found, self._clock(), words("who", who, WHO), action, f"segment/{name}", kept or "")
            row = {"name": name, "policy": kept, "epoch": raise_epoch(found)}
            found.execute(self._database.upsert(segments, ["policy", "epoch"]), row)

        self._database.write(work)

    def add_version(
        self, task: str, number: int, *, commit: str, message: str, signer: str, manifest: bytes, who: str
    ) -> None:
        """See Platform.add_version."""
        version_number(number)
        made = Manifest.decode(manifest)
        if (made.task, made.version) != (task, f"v{number}"):
            raise ConflictError(
                f"the manifest is of {made.task} {made.version}, not of {task!r:.70} v{number}; send the one that belongs "
                "to the tag"
            )
        exclusive = any(file.exclusive for file in made.files)
        if exclusive and not self._exclusive:
            raise ConflictError(f"{task} v{number} has exclusive files; this server keeps none")
        row = {
            "task": task,
            "number": number,
            "commit": words("commit", commit, 128),
            "message": words("message", message, MESSAGE),
            "signer": words("signer", signer, 1000),
            "manifest": made.digest,
            "manifest_bytes": len(manifest),
            "files": len(made.files),
            "size": made.size,
            "exclusive": exclusive,
        }

        def work(found: Connection) -> None:
            old = version_row(found, task, number, lock=True)
            if old is not None:
                if all(old[name] == value for name, value in row.items()):
                    return
                raise ConflictError(
                    f"{task} has another v{number} already; a version never changes: tag a new one"
                )
            locked(found, task)
            now = self._clock()
            content = {"digest": made.digest, "content": manifest}
            found.execute(self._database.upsert(manifests, ()), content)
            found.execute(sa.insert(versions).values(**row, created=now, published=False, revoked=""))
            found.execute(self._database.upsert(installed, ()), {"task": task, "number": number, "count": 0})
            note(found, now, words("who", who, WHO), "add", f"version/{task}/{number}", message[:200])

        self._database.write(work)

    def published(self, task: str, number: int, who: str) -> None:
        """See Platform.published."""

        def work(found: Connection) -> None:
            row = version_row(found, task, number, lock=True)
            if row is None:
                raise MissingError(f"{task!r:.70} has no version {number!r:.40}; see its versions")
            if row["published"]:
                return
            where = (versions.c.task == task) & (versions.c.number == number)
            found.execute(sa.update(versions).where(where).values(published=True))
            note(found, self._clock(), words("who", who, WHO), "publish", f"version/{task}/{number}")

        self._database.write(work)

    def _compile(self, found: Connection, name: str, policy: Mapping[str, Any]) -> None:
        Compiler(known_segments(found), self._kinds).compile(policy, name)

    def _unused(self, found: Connection, name: str, known: Mapping[str, Any]) -> None:
        if name not in known:
            raise MissingError(f"there is no segment {name!r}; see the segments")
        query = sa.select(tasks.c.name, tasks.c.policy).where(~tasks.c.retired)
        where = [f"segment {n}" for n, policy in known.items() if n != name and mentions(policy, name)]
        for task, policy in found.execute(query.where(tasks.c.policy.contains('"segment"'))):
            if mentions(msgspec.json.decode(policy), name):
                where.append(f"task {task}")
        active = sa.select(releases.c.id, releases.c.state).where(releases.c.status.in_(ACTIVE))
        for release, state in found.execute(active):
            if any(stage.policy == name for stage in decode(state).plan.stages):
                where.append(f"release {release}")
        if where:
            raise ConflictError(f"segment {name} is used by {', '.join(where[:5])}; change these first")


def locked(found: Connection, name: str) -> Mapping[str, Any]:
    """The row of a task that is not retired, locked. Raises MissingError, ConflictError."""
    query = sa.select(tasks).where(tasks.c.name == task_name(name)).with_for_update()
    row = found.execute(query).mappings().one_or_none()
    if row is None:
        raise MissingError(f"there is no task {name!r}; see the tasks")
    if row["retired"]:
        raise ConflictError(f"task {name} was retired; use another one")
    return dict(row)


def version_row(found: Connection, task: str, number: int, *, lock: bool = False) -> Mapping[str, Any] | None:
    """The row of a version; None if there is none."""
    query = sa.select(versions).where(
        versions.c.task == task_name(task), versions.c.number == version_number(number)
    )
    row = found.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    return None if row is None else dict(row)


def known_segments(found: Connection) -> dict[str, Any]:
    """Name -> policy."""
    query = sa.select(segments.c.name, segments.c.policy).where(segments.c.policy.is_not(None))
    return {name: msgspec.json.decode(policy) for name, policy in found.execute(query)}


def mentions(policy: Any, segment: str) -> bool:
    """Whether a policy asks for a segment by itself."""
    if isinstance(policy, Mapping):
        return policy.get("segment") == segment or any(mentions(each, segment) for each in policy.values())
    return isinstance(policy, list | tuple) and any(mentions(each, segment) for each in policy)
