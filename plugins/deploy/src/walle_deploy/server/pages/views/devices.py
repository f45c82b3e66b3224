"""Devices: a million of them are found by how their ids begin, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from walle_deploy.errors import DeployError
from walle_deploy.server.answers import ApiError
from walle_deploy.server.pages import words
from walle_deploy.server.pages.asking import Ask, Page
from walle_deploy.server.types import DeviceInfo

DEVICES, TASKS, INSTALLED = 40, 12, 4  # on a page; tasks of one device; of one device in a list
FACTS = 40  # attributes of the device, and of its user, that its page shows
ID = 128


@attrs.frozen
class _Row:
    id: str
    seen: float
    system: str
    installed: str


@attrs.frozen
class _TaskRow:
    task: str
    known: bool
    runs: str | None
    should: str | None
    why: str


def devices(ask: Ask) -> Page:
    """GET /devices."""
    prefix, after = ask.text("prefix", ID), ask.text("after", ID)
    found = ask.platform.devices(prefix=prefix, after=after, limit=DEVICES + 1)
    values = {
        "total": ask.platform.counts().devices,
        "rows": [_row(one) for one in found[:DEVICES]],
        "more": len(found) > DEVICES,
        "limit": DEVICES,
        "prefix": prefix,
        "after": after,
    }
    return Page("devices.html", values)


def _row(device: DeviceInfo) -> _Row:
    system = " ".join(str(device.device[name]) for name in ("os", "os_version") if name in device.device)
    tasks = sorted(device.installed.items())
    told = ", ".join(f"{task} {version}" for task, version in tasks[:INSTALLED])
    if len(tasks) > INSTALLED:
        told += f" and {len(tasks) - INSTALLED} more"
    return _Row(device.id, device.seen, words.brief(system, 60), words.brief(told, 120))


def device(ask: Ask) -> Page:
    """GET /devices/ID."""
    if len(ask.path["device"]) > ID:
        raise ApiError(404, "no device has such a long id", "Search for it by how its id begins.")
    found = ask.platform.device(ask.path["device"])
    names = list(
        dict.fromkeys([*sorted(found.installed), *(one.name for one in ask.platform.tasks(limit=TASKS))])
    )
    values = {
        "device": found,
        "rows": [_task(ask, found, name) for name in names[:TASKS]],
        "facts": [_facts("The device", found.device), _facts("Its user", found.user)],
        "left_out": max(0, ask.platform.counts().tasks - TASKS),
    }
    return Page("device.html", values)


def _facts(title: str, attributes: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]], int]:
    """What is known, as texts, and how much of it is left out."""
    shown = [
        (words.brief(name, 60), words.brief(_told(value), 100))
        for name, value in list(attributes.items())[:FACTS]
    ]
    return title, shown, max(0, len(attributes) - FACTS)


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _task(ask: Ask, device: DeviceInfo, name: str) -> _TaskRow:
    runs = device.installed.get(name)
    try:
        told = ask.platform.explain(device.id, name)
    except DeployError:
        return _TaskRow(name, False, runs, None, "there is no such task here")
    return _TaskRow(name, True, runs, told.wanted, told.why)
