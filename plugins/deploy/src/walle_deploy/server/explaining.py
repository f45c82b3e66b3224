"""Why a device gets a version of a task, or none."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from walle_deploy.buckets import bucket
from walle_deploy.policies.compiling import Compiler
from walle_deploy.policies.explaining import Explained, explain
from walle_deploy.profile import Profile
from walle_deploy.release.explain import explain_device
from walle_deploy.release.state import decode
from walle_deploy.server.choice import betas
from walle_deploy.server.database import Database
from walle_deploy.server.inputs import device_id, task_name
from walle_deploy.server.queries import Queries
from walle_deploy.server.refusals import MissingError
from walle_deploy.server.schema import releases, tasks
from walle_deploy.server.snapshot import Snapshot, text
from walle_deploy.server.tasks import known_segments
from walle_deploy.server.types import Explanation, PolicyLine


class Explaining:
    """Explains from the snapshot that answers are made from; the release in full from the database."""

    def __init__(self, database: Database, queries: Queries, kinds: Any) -> None:
        self._database, self._queries, self._kinds = database, queries, kinds

    def explain(self, snapshot: Snapshot, device: str, task: str) -> Explanation:
        """See Platform.explain."""
        described = self._queries.profile(device_id(device))
        profile = described[1] if described is not None else Profile(device)
        where = tasks.c.name == task_name(task)
        query = sa.select(tasks, releases.c.state).outerjoin(releases, tasks.c.release == releases.c.id)
        with self._database.read() as found:
            row = found.execute(query.where(where)).mappings().one_or_none()
            if row is None:
                raise MissingError(f"there is no task {task!r}; see the tasks")
            compiler = Compiler(known_segments(found), self._kinds)
        rule = compiler.compile(msgspec.json.decode(row["policy"]), task)
        policy = _line(explain(rule, profile))
        made, asked = snapshot.wanted(profile)
        standing, wanted = None, made.get(task)
        running, stable = profile.installed.get(task), text(row["stable"])
        meets = policy.verdict is True and not row["retired"]
        if row["state"] is not None:
            state = decode(row["state"])
            beta = bool(policies := betas(state)) and snapshot.beta(profile, policies)
            admitted = described is not None and row["release"] in described[2] and state.status != "paused"
            had = state.version if admitted else running
            standing = explain_device(state, device, bucket(task, device), running=had, beta=beta)
            if any(view.name == task for view in asked):
                wanted = standing.offer.version
        if row["retired"]:
            why = "the task was retired"
        elif not meets:
            why = "the device does not meet the task's policy"
        elif standing is not None:
            why = standing.offer.why
        else:
            why = f"{stable} is stable, and no release goes on" if stable else "no version was released"
        if wanted is None and meets and (stable if standing is None else standing.offer.version):
            why += (
                f"; but no more than {snapshot.most} tasks fit into an answer, and others come first by name"
            )
        return Explanation(
            device=device,
            task=task,
            known=described is not None,
            running=running,
            wanted=wanted,
            why=why,
            policy=policy,
            release=row["release"] if standing is not None else None,
            standing=standing,
        )


def _line(found: Explained) -> PolicyLine:
    parts = tuple(_line(part) for part in found.parts)
    return PolicyLine(label=found.label, verdict=found.verdict, detail=found.detail, parts=parts)
