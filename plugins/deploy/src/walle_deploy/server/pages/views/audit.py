"""Who changed what."""

from __future__ import annotations

from walle_deploy.server.pages.asking import Ask, Page

ENTRIES = 40  # on a page
TEXT = 200


def audit(ask: Ask) -> Page:
    """GET /audit."""
    text, before = ask.text("text", TEXT), ask.number("before")
    found = ask.platform.audit(limit=ENTRIES + 1, before=before, text=text)
    values = {
        "rows": [(one, _target(one.what)) for one in found[:ENTRIES]],
        "older": found[ENTRIES - 1].id if len(found) > ENTRIES else None,
        "text": text,
        "before": before,
    }
    return Page("audit.html", values)


def _target(what: str) -> str:
    """The page of what was changed; "" if it has none."""
    kind, _, name = what.partition("/")
    if kind == "task":
        return f"/tasks/{name}"
    if kind == "release":
        return f"/releases/{name}"
    if kind == "version":
        return f"/tasks/{name.partition('/')[0]}"
    return ""
