"""What operators do with releases."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from walle_deploy.errors import ReleaseError
from walle_deploy.release.events import (
    Approve,
    Created,
    Ignored,
    Later,
    Pause,
    Resume,
    Revoke,
    Rollback,
    Simulated,
    Tick,
)
from walle_deploy.release.gates import GateRegistry
from walle_deploy.release.machine import step
from walle_deploy.release.state import encode
from walle_deploy.server.auditing import note, offers_changed
from walle_deploy.server.database import Database
from walle_deploy.server.inputs import PLAN, REASON, WHO, as_json, words
from walle_deploy.server.refusals import ConflictError, MissingError
from walle_deploy.server.schema import releases, tasks, versions
from walle_deploy.server.snapshot import text
from walle_deploy.server.stepping import ACTIVE, change, due, lock, save
from walle_deploy.server.tasks import known_segments, locked, version_row

TOGETHER = 50  # releases that one transaction ticks
TURN_S = 60.0  # a release that is due so much later than it can be was given a time by a clock that was wrong

_log = logging.getLogger(__name__)


class Releases:
    """Changes releases, each method in one transaction. Arguments as in Tasks."""

    def __init__(self, database: Database, clock: Callable[[], float], gates: GateRegistry) -> None:
        self._database, self._clock, self._gates = database, clock, gates

    def create(self, task: str, number: int, plan: Mapping[str, Any], who: str) -> int:
        """See Platform.create_release."""
        kept = as_json("release plan", plan, PLAN)

        def work(found: Connection) -> int:
            self._database.alone(found)
            version = version_row(found, task, number, lock=True)
            row = locked(found, task)
            if version is None:
                raise MissingError(f"task {task} has no version {number}; add it first")
            self._may_begin(found, row, version)
            now = self._clock()
            made = Created(at=now, version=f"v{number}", previous=text(row["stable"]), plan=dict(plan))
            state, effects = step(None, made, self._gates)
            known = known_segments(found)
            for stage in state.plan.stages:
                if stage.policy is not None and stage.policy not in known:
                    raise ConflictError(f"release plan: there is no segment {stage.policy!r}; make it first")
            values = {
                "task": task,
                "version": number,
                "previous": row["stable"],
                "plan": kept,
                "status": state.status,
                "state": encode(state),
                "revision": 1,
                "created": now,
                "changed": now,
                "due": due(state, now, self._gates),
                "pointed": -math.inf,
                "step": 1,
                **dict.fromkeys(("heard", "failed", "point", "points"), 0),
            }
            inserted = sa.insert(releases).values(values).returning(releases.c.id)
            release = int(found.execute(inserted).scalar_one())
            found.execute(sa.update(tasks).where(tasks.c.name == task).values(release=release))
            before = text(row["stable"]) or "nothing"
            note(
                found,
                now,
                words("who", who, WHO),
                "release",
                f"release/{release}",
                f"{task} v{number} after {before}",
            )
            offers_changed(found, {task})
            return release

        return self._database.write(work)

    def _may_begin(self, found: Connection, task: Mapping[str, Any], version: Mapping[str, Any]) -> None:
        label = f"{task['name']} v{version['number']}"
        if version["revoked"]:
            raise ConflictError(f"{label} was revoked: {version['revoked']}; tag a new version")
        if task["stable"] == version["number"]:
            raise ConflictError(f"{label} is what devices run already; release another version")
        query = sa.select(releases.c.id, releases.c.status, releases.c.version)
        mine = query.where(releases.c.task == task["name"])
        going = found.execute(mine.where(releases.c.status.in_(ACTIVE))).first()
        if going is not None:
            raise ConflictError(
                f"release {going.id} of {task['name']} v{going.version} goes on; end it first"
            )
        ended = mine.where(releases.c.version == version["number"], releases.c.status == "rolled back")
        last = found.execute(ended.order_by(releases.c.id.desc())).first()
        if last is not None:
            raise ConflictError(
                f"{label} was rolled back in release {last.id}, which is final; tag a new version"
            )

    def simulated(self, release: int, passed: bool, why: str, who: str) -> None:
        """See Platform.simulated."""
        what = f"{'passed' if passed else 'failed'}: {why}"
        self._step(release, lambda at: Simulated(at=at, passed=passed, why=why), "simulated", who, what)

    def approve(self, release: int, who: str, role: str, why: str) -> None:
        """See Platform.approve."""
        words("who", who, WHO, empty=False)
        what = f"as {role}: {why}" if role else why
        self._step(
            release, lambda at: Approve(at=at, who=who, role=words("role", role, WHO)), "approve", who, what
        )

    def pause(self, release: int, who: str, why: str) -> None:
        """See Platform.pause."""
        self._step(release, lambda at: Pause(at=at, who=who), "pause", who, why)

    def resume(self, release: int, who: str, why: str) -> None:
        """See Platform.resume."""
        self._step(release, lambda at: Resume(at=at, who=who), "resume", who, why)

    def rollback(self, release: int, who: str, why: str) -> None:
        """See Platform.rollback."""
        name = who or "an operator"
        self._step(release, lambda at: Rollback(at=at, who=name, why=why), "", who, why)

    def revoke(self, task: str, number: int, who: str, why: str) -> None:
        """See Platform.revoke."""
        words("who", who, WHO)
        words("reason", why, REASON)

        def work(found: Connection) -> None:
            version = version_row(found, task, number, lock=True)
            if version is None:
                raise MissingError(f"{task!r:.70} has no version {number}; see its versions")
            if version["revoked"]:
                return
            now = self._clock()
            mine = (versions.c.task == task) & (versions.c.number == number)
            found.execute(sa.update(versions).where(mine).values(revoked=why or "no reason was given"))
            lives = lock(found, (releases.c.task == task) & (releases.c.version == number), self._gates)
            for live in lives:
                live.send(Revoke(at=live.at(now), who=who or "an operator", why=why))
            save(found, self._database, lives, now, self._gates, who)
            note(found, now, who, "revoke", f"version/{task}/{number}", why)
            of_task = tasks.c.name == task
            query = sa.select(tasks.c.stable).where(of_task).with_for_update()
            if found.execute(query).scalar_one() == number:
                found.execute(sa.update(tasks).where(of_task).values(stable=_before(found, task)))
            offers_changed(found, {task})

        self._database.write(work)

    def tick(self) -> float:
        """See Platform.tick."""
        failed: set[int] = set()
        while True:
            now = self._clock()
            waits = releases.c.status.in_(ACTIVE) & releases.c.id.not_in(failed)
            is_due = (releases.c.due <= now) | (releases.c.due > now + TURN_S)
            with self._database.read() as found:
                query = sa.select(releases.c.id).where(waits, is_due).order_by(releases.c.due)
                some = sorted(found.execute(query.limit(TOGETHER)).scalars())
                if not some:
                    soon = found.execute(sa.select(sa.func.min(releases.c.due)).where(waits)).scalar()
                    return 1.0 if soon is None else min(1.0, max(0.01, soon - now))
            try:
                self._tick(releases.c.id.in_(some) & waits & is_due)
            except ReleaseError:  # one that this program cannot step does not keep the others back
                for each in some:
                    failed |= self._tick_alone(each)

    def _tick_alone(self, release: int) -> set[int]:
        try:
            self._tick(releases.c.id == release)
        except ReleaseError as error:
            _log.warning("release %d cannot go on: %s", release, error)
            return {release}
        return set()

    def _tick(self, where: sa.ColumnElement[bool]) -> None:
        def work(found: Connection) -> None:
            lives = lock(found, where, self._gates)
            now = self._clock()
            for live in lives:
                live.send(Tick(at=live.at(now)))
            change(found, self._database, lives, now, self._gates)

        self._database.write(work)

    def _step(self, release: int, event: Callable[[float], Later], action: str, who: str, why: str) -> None:
        """Steps a release by what an operator does; `action` is for the audit log, if no effect tells it.

        Raises MissingError, ConflictError if it changes nothing.
        """
        words("who", who, WHO)
        words("reason", why, REASON)

        def work(found: Connection) -> None:
            known = isinstance(release, int) and 0 < release < 1 << 63
            lives = lock(found, releases.c.id == release, self._gates) if known else []
            if not lives:
                raise MissingError(f"there is no release {release!r:.40}; see the releases")
            live, now = lives[0], self._clock()
            effects = live.send(event(live.at(now)))
            ignored = [effect.why for effect in effects if isinstance(effect, Ignored)]
            if ignored:
                raise ConflictError(f"release {release}: {ignored[0]}; nothing was changed")
            if action:
                note(found, now, who, action, f"release/{release}", why)
            change(found, self._database, lives, now, self._gates, who)

        self._database.write(work)


def _before(found: Connection, task: str) -> int | None:
    """The version that was stable last and is not revoked."""
    good = (versions.c.task == releases.c.task) & (versions.c.number == releases.c.version)
    query = (
        sa.select(releases.c.version)
        .join(versions, good)
        .where(releases.c.task == task, releases.c.status == "finished", versions.c.revoked == "")
        .order_by(releases.c.id.desc())
        .limit(1)
    )
    return found.execute(query).scalar()
