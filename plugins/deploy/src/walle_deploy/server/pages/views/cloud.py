"""What devices send to the cloud where a task is not confident, and what the larger model's answers cost."""

from __future__ import annotations

from collections import Counter

from walle_deploy.server.answers import ApiError
from walle_deploy.server.pages.asking import Ask, Page

SPANS = ((None, "All"), (30, "30 days"), (7, "7 days"), (1, "Today"))
LONGEST = 3650  # days


def cloud(ask: Ask) -> Page:
    """GET /cloud."""
    if ask.costs is None:
        raise ApiError(
            404, "this server is told of no cloud", "Start it with --cloud, the file of walle cloud serve."
        )
    days = ask.number("days")
    if days is not None and not 1 <= days <= LONGEST:
        raise ApiError(404, f"there are no costs of {days} days", f"Ask for 1 to {LONGEST}.")
    rows = ask.costs(days)
    money: Counter[str] = Counter()
    for row in rows:
        money[row.currency] += row.money  # type: ignore[assignment]
    runs = sum(row.runs for row in rows)
    samples = sum(row.samples for row in rows)
    values = {
        "rows": rows,
        "days": days,
        "spans": SPANS,
        "samples": samples,
        "share": samples / runs if runs else None,
        "money": sorted(money.items()),
    }
    return Page("cloud.html", values)
