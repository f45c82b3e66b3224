"""The overview: how many devices and tasks there are, and what is being released."""

from __future__ import annotations

from walle_deploy.server.pages.asking import Ask, Page
from walle_deploy.server.pages.views.rows import UNDER_WAY, row, rows

CARDS, LATEST = 6, 15  # releases shown with their stages, and in the list


def fleet(ask: Ask) -> Page:
    """GET /."""
    platform = ask.platform
    counts = platform.counts()
    latest = platform.releases(limit=40)
    active = [one for one in latest if one.status in UNDER_WAY]
    under_way = sum(counts.releases.get(status, 0) for status in UNDER_WAY)
    values = {
        "devices": counts.devices,
        "tasks": counts.tasks,
        "under_way": under_way,
        "ended": sum(counts.releases.values()) - under_way,
        "undone": counts.releases.get("rolled back", 0) + counts.releases.get("revoked", 0),
        "active": [row(ask, platform.release(one.id)) for one in active[:CARDS]],
        "recent": rows(ask, latest[:LATEST]),
    }
    return Page("fleet.html", values, live=True)
