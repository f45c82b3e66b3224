"""A release plan from the fields of a form, or written as TOML or JSON; and what its gates mean in words."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from walle_deploy.errors import ReleaseError
from walle_deploy.release.plan import LAST_CONTROL
from walle_deploy.server.pages import words

LONGEST = 16 << 10  # characters of a field; more of it comes by the API
FIELDS = {
    "version": "", "simulation": "", "beta": "", "segment": "", "gray": "1, 10, 50", "minutes": "10", "reports": "400", "budget": "",
    "watch": "1440", "approval": "on", "plan": "",
}  # fmt: skip
FIRST = {**FIELDS, "gray": "", "minutes": "", "reports": "", "watch": "", "approval": ""}
"""For a task's first release: with nothing before it, there is nothing to compare it with."""


def plan_of(given: Mapping[str, str]) -> dict[str, Any]:
    """The plan's plain values; a release checks them. Raises ReleaseError, which names the field, for what is no value."""
    for name in ("beta", "plan"):
        if len(given.get(name, "")) > LONGEST:
            raise ReleaseError(
                f"{name}: more than {LONGEST} characters; start this release with walle task release --plan FILE"
            )
    if given.get("plan", "").strip():
        return written(given["plan"])
    waits = _waits(given)
    stages: list[dict[str, Any]] = []
    if given.get("simulation"):
        stages.append({"kind": "simulation"})
    devices = [one for one in re.split(r"[\s,;]+", given.get("beta", "")) if one]
    if segment := given.get("segment", ""):
        stages.append({"kind": "beta", "devices": devices, "policy": segment, "gates": list(waits)})
    elif devices:  # they are few: no control, no sample
        lasts = [gate for gate in waits if gate["kind"] == "time"]
        stages.append({"kind": "beta", "devices": devices, "gates": lasts})
    stages += [
        {"kind": "gray", "percent": percent, "gates": list(waits)}
        for percent in _percents(given.get("gray", ""))
    ]
    if given.get("approval"):
        if not stages:
            raise ReleaseError(
                "Approval: there is no stage before the last one that could be approved; add a gray step"
            )
        stages[-1].setdefault("gates", []).append({"kind": "approval"})
    watch = _number(given, "watch", "Minutes watched after full") * 60
    budget = [gate for gate in waits if gate["kind"] == "budget"]
    stages.append({"kind": "full", "gates": budget, "control": LAST_CONTROL if watch else 0.0})
    return {"stages": stages, "watch": watch}


def _waits(given: Mapping[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if minutes := _number(given, "minutes", "Minutes a stage lasts at least"):
        found.append({"kind": "time", "seconds": minutes * 60})
    if reports := _number(given, "reports", "Reports wanted of each arm"):
        found.append({"kind": "sample", "reports": int(reports)})
    if budget := _number(given, "budget", "Devices a minute at most"):
        found.append({"kind": "budget", "per_minute": int(budget)})
    return found


def _number(given: Mapping[str, str], field: str, name: str) -> float:
    text = given.get(field, "").strip() or "0"
    try:
        value = float(text)
    except ValueError as error:
        raise ReleaseError(f"{name}: {text!r:.40} is no number") from error
    if not 0 <= value <= 1e8:
        raise ReleaseError(f"{name}: {text!r:.40} must be from 0 to 100,000,000")
    return value


def _percents(text: str) -> list[float]:
    found = []
    for part in re.split(r"[\s,;%]+", text.strip()):
        if part:
            try:
                found.append(float(part))
            except ValueError as error:
                raise ReleaseError(
                    f"Gray steps: {part!r:.40} is no number; write for example 1, 10, 50"
                ) from error
    return found


def written(text: str) -> dict[str, Any]:
    """The values of a plan in TOML or JSON. Raises ReleaseError."""
    try:
        made = (
            json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text.replace("\r\n", "\n"))
        )
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"Plan: neither JSON nor TOML: {error}") from error
    assert isinstance(made, dict)
    return made


def gate_words(gate: Mapping[str, Any]) -> str:
    """What a gate waits for; of kinds that other packages bring, its values."""
    kind, value = str(gate.get("kind")), gate.get
    if kind == "time":
        return f"at least {words.span(value('seconds', 0))}"
    if kind == "sample":
        return f"{words.count(value('reports', 0))} reports of each arm"
    if kind == "budget":
        return f"at most {words.count(value('per_minute', 0))} devices a minute"
    if kind == "approval":
        roles = " or ".join(str(role) for role in value("roles", ()))
        many = value("approvers", 1)
        return f"{many} {'approval' if many == 1 else 'approvals'}{f' ({roles})' if roles else ''}"
    if kind == "metric":
        limit = words.number(float(value("margin", 0.0)))
        return f"{value('name')} not {value('worse')} by more than {limit}{', proven' if value('proven') else ''}"
    return f"{kind} ({', '.join(f'{name} {one}' for name, one in gate.items() if name != 'kind')})"
