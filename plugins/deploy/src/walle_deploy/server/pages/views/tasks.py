"""Tasks, their versions and policies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from walle_deploy.errors import DeployError
from walle_deploy.server.answers import ApiError
from walle_deploy.server.pages import words
from walle_deploy.server.pages.asking import Answer, Ask, Go, Page
from walle_deploy.server.pages.site import sentence
from walle_deploy.server.pages.views.rows import UNDER_WAY, Row, row, rows
from walle_deploy.server.types import TaskInfo, VersionInfo

TASKS, VERSIONS, RELEASES = 50, 25, 10  # on a page
SHORT, LONG, EDITED = 90, 8000, 40_000  # characters of a policy: in a list, by itself, and in a form


@attrs.frozen
class _TaskRow:
    task: TaskInfo
    release: Row | None
    policy: str


def tasks(ask: Ask) -> Page:
    """GET /tasks."""
    after = ask.text("after", 64)
    found = ask.platform.tasks(limit=TASKS + 1, after=after)
    shown = [
        _TaskRow(one, _under_way(ask, one), words.brief(compact(one.policy), SHORT)) for one in found[:TASKS]
    ]
    return Page("tasks.html", {"rows": shown, "more": len(found) > TASKS, "after": after}, live=True)


def _under_way(ask: Ask, task: TaskInfo) -> Row | None:
    if task.release is None:
        return None
    found = ask.platform.releases(task.name, limit=1, before=task.release + 1)
    return row(ask, found[0]) if found else None


def task(ask: Ask) -> Page:
    """GET /tasks/NAME."""
    info = ask.platform.task(ask.path["task"])
    before = ask.number("before")
    releases = ask.platform.releases(info.name, limit=RELEASES + 1, before=before)
    shown = info.versions[:VERSIONS]
    numbers = [version.number for version in info.versions]
    values = {
        "task": info,
        "versions": [
            (one, numbers[at + 1] if at + 1 < len(numbers) else None) for at, one in enumerate(shown)
        ],
        "releases": rows(ask, releases[:RELEASES]),
        "older": releases[RELEASES - 1].id if len(releases) > RELEASES else None,
        "before": before,
        "under_way": next((one for one in releases if one.status in UNDER_WAY), None),
        "policy": words.brief(_written(info.policy), LONG),
        "unrevoked": _unrevoked(ask, info.name, shown),
        "costs": [row for row in ask.costs(None) if row.task == info.name] if ask.costs is not None else [],
    }
    return Page("task.html", values, live=True)


def _unrevoked(ask: Ask, task: str, versions: Sequence[VersionInfo]) -> set[int]:
    """Revoked versions whose image devices could still take from another server."""
    if ask.images is None:
        return set()
    found = {one.number: ask.images.listed(task, one.number) for one in versions if one.revoked}
    return {number for number, image in found.items() if image is not None and not image.revoked}


def policy(ask: Ask) -> Answer:
    """GET and POST /tasks/NAME/policy."""
    ask.require("operate")
    info = ask.platform.task(ask.path["task"])
    text, trouble = _written(info.policy), ""
    if len(text) > EDITED:
        raise ApiError(
            413,
            f"the policy of {info.name} has {len(text):,} characters",
            "Change it by the API, or name a segment in it.",
        )
    if ask.form is not None:
        text = ask.form.get("policy", "")
        try:
            ask.platform.set_policy(info.name, _policy(text), ask.operator.name)
        except DeployError as error:
            trouble = sentence(str(error))
        else:
            return Go(f"/tasks/{info.name}?done=policy")
    values = {"task": info, "policy": text, "problem": trouble}
    return Page("policy.html", values, status=400 if trouble else 200)


def _policy(text: str) -> dict[str, Any]:
    try:
        made = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DeployError(f"the policy is no JSON: {error}") from error
    if not isinstance(made, dict):
        raise DeployError('a policy is a JSON object, for example {"everyone": true}')
    return made


def compact(policy: dict[str, Any]) -> str:
    """In one line."""
    return json.dumps(policy, ensure_ascii=False)


def _written(policy: dict[str, Any]) -> str:
    return json.dumps(policy, indent=2, ensure_ascii=False)
