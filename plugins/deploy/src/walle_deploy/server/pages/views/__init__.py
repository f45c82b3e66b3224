"""What each page shows, and what each form does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from walle_deploy.server.pages.asking import Answer, Ask
from walle_deploy.server.pages.views import (
    acting,
    audit,
    cloud,
    devices,
    diff,
    explaining,
    fleet,
    releases,
    starting,
    tasks,
)

READ, FORM = ("GET",), ("GET", "POST")

VIEWS: Sequence[tuple[str, Sequence[str], Callable[[Ask], Answer], str]] = (
    ("/", READ, fleet.fleet, "Overview"),
    ("/tasks", READ, tasks.tasks, "Tasks"),
    ("/tasks/{task}", READ, tasks.task, "Tasks"),
    ("/tasks/{task}/policy", FORM, tasks.policy, "Tasks"),
    ("/tasks/{task}/release", FORM, starting.start, "Tasks"),
    ("/tasks/{task}/versions/{number}/revoke", FORM, acting.revoke, "Tasks"),
    ("/releases/{release}", READ, releases.release, "Tasks"),
    ("/releases/{release}/{action}", FORM, acting.act, "Tasks"),
    ("/diff/{task}", READ, diff.diff, "Tasks"),
    ("/devices", READ, devices.devices, "Devices"),
    ("/devices/{device:path}", READ, devices.device, "Devices"),
    ("/explain", READ, explaining.explain, "Explain"),
    ("/cloud", READ, cloud.cloud, "Cloud"),
    ("/audit", READ, audit.audit, "Audit"),
)
"""Path, methods, view, and the part of the dashboard that it belongs to."""
