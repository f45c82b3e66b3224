"""The audit log, and the epoch: what every change of the platform leaves behind."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from walle_deploy.server.inputs import short
from walle_deploy.server.schema import audit, meta, tasks

ITSELF = "walle"  # who did what nobody asked for


def note(found: Connection, at: float, who: str, action: str, what: str, text: str = "") -> None:
    """Adds a line."""
    found.execute(sa.insert(audit).values(at=at, who=who, action=action, what=what, text=short(text, 4000)))


def raise_epoch(found: Connection) -> int:
    """The new epoch. Locks it until the transaction ends, so it comes last: epochs are committed in their order."""
    raised = sa.update(meta).values(epoch=meta.c.epoch + 1).returning(meta.c.epoch)
    return int(found.execute(raised).scalar_one())


def offers_changed(found: Connection, names: set[str]) -> None:
    """Workers are to take over these tasks anew."""
    if names:
        epoch = raise_epoch(found)
        found.execute(sa.update(tasks).where(tasks.c.name.in_(sorted(names))).values(epoch=epoch))
