"""Runs a task once on zeros or its sample, in a process with limits of time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from walle_deploy.task.config import TaskConfig
from walle_deploy.task.findings import ERROR, NOTE, Finding
from walle_deploy.task.process import kill, start
from walle_deploy.task.trigger import PatternText
from walle_deploy.task.where import Test

START_S = 60.0  # for the interpreter, the models, and the devices' first calibration
_FIELDS = ("source", "depth", "item", "widget")  # of the kinds of events that every application has
_REPORT = 1 << 20  # bytes
_PHASES = {
    "start": "before it began",
    "models": "while its models and inputs were made ready",
    "import": "while the script was imported",
    "run": "while the entry ran",
    "result": "while its result was read",
}


def dry_run(
    files: Mapping[str, bytes], config: TaskConfig, folder: Path, start_s: float = START_S
) -> Iterator[Finding]:
    """What goes wrong; if nothing does, a note with time and memory. The files lie in `folder`, which may be a copy."""
    where = config.task.script
    sample, problem = _sample(files, config)
    if problem is not None:
        yield problem
        return
    limit = config.resources.time_ms / 1000
    patterns = config.trigger.patterns
    more = {
        "sample": sample,
        "events": sample_events(patterns[0]) if patterns else [],
        "seconds": 2 * limit + 10,
    }
    report, died = _call(request(config, folder) | more, start_s + 2 * limit + 10)
    last = report[-1] if report else {}
    when = _PHASES.get(last.get("phase", "start"), "")
    if "error" in last:
        fix = (
            "see [resources] memory_mb"
            if "MemoryError" in last["error"]
            else "run it by hand, or give a [task] sample"
        )
        yield Finding(ERROR, last.get("line") or where, f"{last['error']}, {when}", fix)
    elif "ms" not in last:
        yield Finding(
            ERROR,
            where,
            f"{died}, {when}",
            "it hangs, ends the process, or needs more than [resources] allows",
        )
    else:
        yield from _measured(config, last)


def _measured(config: TaskConfig, result: Mapping[str, Any]) -> Iterator[Finding]:
    for place, what in result["wrong"]:
        name = f"walle.toml, {place}" if place else config.task.script
        yield Finding(ERROR, name, what, "correct the script or the declaration")
    if result["ms"] > config.resources.time_ms:
        what = f"one run took {result['ms']:.0f} ms; {config.resources.time_ms} are allowed"
        yield Finding(ERROR, "walle.toml, resources.time_ms", what, "make it faster, or allow more")
    if result["memory_mb"] > config.resources.memory_mb:
        what = f"one run took {result['memory_mb']:.0f} MB; {config.resources.memory_mb} are allowed"
        yield Finding(ERROR, "walle.toml, resources.memory_mb", what, "make it smaller, or allow more")
    text = (
        f"ran in {result['ms']:.2f} ms ({result['first_ms']:.2f} at first) with {result['memory_mb']:.1f} MB"
    )
    yield Finding(NOTE, config.task.script, text)


def _sample(files: Mapping[str, bytes], config: TaskConfig) -> tuple[dict[str, Any], Finding | None]:
    path = config.task.sample
    if path is None:
        return {}, None
    if path not in files:
        return {}, Finding(
            ERROR, "walle.toml, task.sample", f"there is no file {path!r}", "add it, or correct the path"
        )
    try:
        found = msgspec.json.decode(files[path], type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return {}, Finding(ERROR, path, f"no JSON object: {error}", "write inputs by name")
    if unknown := [name for name in found if name not in config.inputs]:
        return {}, Finding(
            ERROR, path, f"{unknown[0]!r} is no input", f"known are {', '.join(config.inputs)}"
        )
    return found, None


def request(config: TaskConfig, folder: Path) -> dict[str, Any]:
    """What a process of a task must know of it; its files lie in `folder`."""
    return {
        "folder": str(folder),
        "script": str(folder / config.task.script),
        "entry": config.task.entry,
        "numpy": config.task.numpy,
        "models": {name: str(folder / model.file) for name, model in config.model.items()},
        "wants_models": bool(config.model),
        "backends": config.resources.backends,
        "memory_mb": config.resources.memory_mb,
        "inputs": msgspec.to_builtins(config.inputs),
        "outputs": msgspec.to_builtins(config.outputs),
        "features": config.features,
        "path": sys.path,
    }


def sample_events(pattern: PatternText) -> list[dict[str, Any]]:
    """Events that satisfy a pattern's steps as far as equal values say how, as plain values."""
    if pattern.page_visit is not None:
        page = pattern.page_visit.replace("*", "page")
        steps: list[tuple[str, str, Mapping[str, Any]]] = [("page_enter", page, {}), ("page_exit", page, {})]
    else:
        steps = [(s.kind.replace("*", "click"), s.page.replace("*", "page"), s.where) for s in pattern.steps]
    made = []
    for number, (kind, page, where) in enumerate(steps):
        event: dict[str, Any] = {
            "kind": kind,
            "page": page,
            "time": 1000 * number,
            "key": "sample",
            "id": number,
            "instance": 1,
        }
        event["contents"] = {}
        for path, wanted in where.items():
            value = wanted.eq if isinstance(wanted, Test) else wanted
            first, *rest = path.split(".")
            if value is not None:
                place = event if first in (*event, *_FIELDS) and not rest else event["contents"]
                place[rest[-1] if rest else first] = value
        made.append(event)
    return made


def _call(request: dict[str, Any], timeout_s: float) -> tuple[list[dict[str, Any]], str]:
    """The lines of the report, and how the process ended."""
    program = Path(__file__).with_name("container.py")
    process = start(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    died = "the process ended by itself"
    try:
        out, _ = process.communicate(json.dumps(request).encode(), timeout_s)
    except subprocess.TimeoutExpired:
        kill(process)
        out, _ = process.communicate()
        died = f"it was still running after {timeout_s:.0f} s"
    finally:
        kill(process)
    if process.returncode:
        died += f" with status {process.returncode}"
    lines = out[:_REPORT].splitlines()
    try:
        return [json.loads(line) for line in lines], died
    except ValueError:
        return [], died
