"""Takes over from the database what changed since a snapshot."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from walle_deploy.errors import ReleaseError
from walle_deploy.policies.compiling import Compiler
from walle_deploy.policies.matcher import Matcher
from walle_deploy.release.state import decode
from walle_deploy.server.choice import Choice
from walle_deploy.server.database import Database
from walle_deploy.server.schema import meta, releases, segments, tasks, versions
from walle_deploy.server.snapshot import SEGMENT, Snapshot, View, text
from walle_deploy.trust.answer import EXCLUSIVE, AnswerTask

_EPOCH = sa.select(meta.c.epoch)
_log = logging.getLogger(__name__)


class Loader:
    """Makes a worker's snapshots, one after another; one thread at a time.

    Args:
        database: to read.
        base_url: of what answers offer.
        kinds: of policies; None: what is installed.
        prefix: where the exclusive files of a device are, below `base_url`.
    """

    def __init__(
        self, database: Database, base_url: str, kinds: Any = None, prefix: Callable[[str], str] | None = None
    ) -> None:
        self._database, self._base, self._prefix = database, base_url, prefix
        self._compiler = Compiler({}, kinds)
        self._matcher = Matcher({}, remembered=1)
        self._segments: dict[str, Any] = {}
        self._policies: dict[str, str] = {}  # task -> policy, of those in the matcher
        self._views: dict[str, View] = {}
        self._names: frozenset[str] = frozenset()
        self._rules: Mapping[str, Any] = {}
        self._private = len(prefix("device")) + 1 if prefix is not None else 0

    def load(self, known: Snapshot | None) -> Snapshot:
        """The snapshot of now; `known` itself if nothing changed. Raises DeployError."""
        with self._database.read() as found:
            epoch = found.execute(_EPOCH).scalar_one()
            if known is not None and epoch == known.epoch:
                return known
            since = known.epoch if known is not None else 0
            query = sa.select(segments.c.name, segments.c.policy).where(segments.c.epoch > since)
            gone = dict(found.execute(query).all())
            rows = self._changed(found, since)
        views, policies = dict(self._views), dict(self._policies)
        for row, offers in rows:
            name = row["name"]
            views.pop(name, None)
            policies.pop(name, None)
            if offers and not row["retired"]:  # who is meant by a task that offers nothing does not matter
                views[name], policies[name] = _view(row, offers, self._private), row["policy"]
        self._take_policies(policies, gone)
        self._views = views
        self._names |= {row["name"] for row, _ in rows}
        return Snapshot(epoch, self._matcher.index, self._rules, views, self._names, self._prefix)

    def _changed(self, found: Connection, since: int) -> list[tuple[RowMapping, dict[str, AnswerTask]]]:
        changed = tasks.c.epoch > since
        joined = tasks.outerjoin(releases, tasks.c.release == releases.c.id)
        offered = (tasks.c.stable, releases.c.version, releases.c.previous)
        offers: dict[str, dict[str, AnswerTask]] = {}
        query = (
            sa.select(versions)
            .select_from(joined.join(versions, tasks.c.name == versions.c.task))
            .where(changed, versions.c.revoked == "", versions.c.number.in_(offered))
        )
        for row in found.execute(query).mappings():
            made = AnswerTask(
                row["task"],
                row["number"],
                bytes.fromhex(row["manifest"]),
                row["manifest_bytes"],
                self._base,
                EXCLUSIVE if row["exclusive"] else 0,
            )
            offers.setdefault(row["task"], {})[f"v{row['number']}"] = made
        rows = found.execute(sa.select(tasks, releases.c.state).select_from(joined).where(changed)).mappings()
        return [(row, offers.get(row["name"], {})) for row in rows]

    def _take_policies(self, policies: dict[str, str], changed: Mapping[str, str | None]) -> None:
        """Compiles what is new. Raises PolicyError; nothing is changed then."""
        compiler, named = self._compiler, self._segments
        update: dict[str, Any] = {}
        if changed:
            named = {name: policy for name, policy in self._segments.items() if name not in changed}
            named |= {name: msgspec.json.decode(p) for name, p in changed.items() if p is not None}
            compiler = Compiler(named, self._compiler.kinds)
            update |= {SEGMENT + n: compiler.compile({"segment": n}, f"segments.{n}") for n in named}
            update |= {SEGMENT + n: None for n in changed if n not in named and n in self._segments}
        for name, policy in policies.items():
            if self._policies.get(name) != policy or (changed and '"segment"' in policy):
                update[name] = compiler.compile(msgspec.json.decode(policy), name)
        update |= {name: None for name in self._policies if name not in policies}
        if update:
            self._matcher.update(update)
            self._matcher.refresh()
            self._rules = dict(self._matcher.rules)
        self._compiler, self._segments, self._policies = compiler, named, policies


def _view(row: RowMapping, offers: Mapping[str, AnswerTask], private: int) -> View:
    choice = None
    if row["state"] is not None:
        try:
            choice = Choice(decode(row["state"]))
        except ReleaseError as error:  # only this task stays with its stable version
            _log.warning("the release of %s offers nothing: %s", row["name"], error)
    return View(row["name"], text(row["stable"]), offers, row["release"], choice, private)
