"""A million simulated devices get a new version: in one process on one core, and through sockets; prints tables.

python benchmarks/deploy_fleet.py [--devices 1000000] [--markdown docs/benchmarks.md] [--plot coverage.png]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from report import machine, write_section
from walle_deploy.client.api import DeployClient
from walle_deploy.fleet.drawing import draw
from walle_deploy.fleet.fleet import Nature
from walle_deploy.fleet.habits import HOUR, Habits
from walle_deploy.fleet.load import Way
from walle_deploy.fleet.own import OLD, TASK
from walle_deploy.fleet.plans import quick, reporting
from walle_deploy.fleet.population import Population
from walle_deploy.fleet.remote import Aim, director_of, simulate_at
from walle_deploy.fleet.showing import hours, plain
from walle_deploy.fleet.simulate import simulate
from walle_deploy.server.folder import secret
from walle_deploy.server.testing import running_server

from walle_core.cli.common import si

Row = tuple[str, str, str]
EXPLAINED = 200  # devices that are explained when all have asked
WAVE_S = 100.0  # through sockets, in which a million devices ask for the first time
FULL: Mapping[str, Any] = {"stages": [{"kind": "full", "control": 0.05}]}
BAD = 0.05


def here(size: int, bad: float, plot: Path | None) -> dict[str, Any]:
    """A platform and all devices in this process, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    share = reporting(size)
    nature = Nature(start={TASK: f"v{OLD}"}, reporting=share, failing={"v1": 0.01, "v2": bad})
    before, thread = time.process_time(), time.thread_time()
    with tempfile.TemporaryDirectory() as folder:
        asked: dict[str, Any] = {}

        def look(platform: Any) -> Mapping[str, Any]:
            asked["cpu"], asked["main"] = time.process_time() - before, time.thread_time() - thread
            asked["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            asked["known"] = platform.counts().devices
            rng = random.Random(3)
            times = []
            for _ in range(EXPLAINED):
                start = time.perf_counter()
                platform.explain(f"sim-{rng.randrange(size):07d}", TASK)
                times.append((time.perf_counter() - start) * 1000)
            asked["explain_ms"] = [statistics.median(times), max(times)]
            return {}

        story = simulate(Population(size), nature, quick(size, share), folder=Path(folder), asked=look)
        asked["file"] = sum(path.stat().st_size for path in Path(folder).glob("fleet.db"))
    if plot is not None:
        draw(story, plot)
    return {**plain(story), **asked}


def sockets(size: int) -> dict[str, Any]:
    """A server with two processes, and one that is all devices, on the same machine."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder), workers=2) as server:
        server.add_task(TASK)
        for number in (1, 2):
            server.publish(TASK, number, {"main.py": b"# version %d" % number})
        server.release(TASK, 1)
        token = server.register("first-device")
        body = msgspec.msgpack.encode([[1, TASK, "v1", False, {}, ""]])
        headers = {"authorization": f"Bearer {token}", "walle-id": "first-device"}
        server.call("POST", "/walle/reports", body, role=None, headers=headers, expect=204)
        habits = Habits(per_hour=1.0, spell=0, away=0, late=0, leaving=0, start=-1, first=wave(size) / HOUR)
        nature = Nature(habits=habits, reporting=reporting(size), install_s=(0.2, 2.0), start={TASK: "v1"})
        way = Way(url=server.url, secret=secret(server.folder), connections=32, depth=16)
        before = _times(server.workers())
        with DeployClient(server.url, server.tokens["operator"]) as client:
            story = simulate_at(
                client, Aim(task=TASK, version=2, plan=FULL), size, nature, way, workers=1, seconds=900,
                director=director_of(server.url),
            )  # fmt: skip
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = _times(server.workers()) - before
        memory = sum(_rss(pid) for pid in server.workers())
        load = children.ru_utime + children.ru_stime
    return {**plain(story), "server_cpu": used, "load_cpu": load, "server_rss": memory}


def wave(size: int) -> float:
    """Seconds in which so many devices ask for the first time."""
    return WAVE_S * size / 1_000_000


def _times(processes: Sequence[int]) -> float:
    """Seconds of processor time of some processes."""
    rows = [Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split() for pid in processes]
    return sum(int(row[11]) + int(row[12]) for row in rows) / os.sysconf("SC_CLK_TCK")


def _rss(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def part(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """A part's figures, from a process of its own."""
    command = [sys.executable, __file__, "--part", name, "--devices", str(options.devices)]
    if options.plot is not None:
        command += ["--plot", str(options.plot.with_stem(f"{options.plot.stem}-{name}"))]
    print(f"{name} ...", file=sys.stderr, flush=True)
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def common(found: dict[str, Any]) -> list[Row]:
    """What every part has."""
    tally, devices = found["tally"], found["devices"]
    checks = tally["digests"] + tally["profiles"]
    return [
        (
            "coverage",
            f"{found['coverage']:.1%}",
            f"of {found['living']:,} devices; {found['kept']:,} keep the old version",
        ),
        ("checks", f"{checks:,}", f"{checks / found['seconds']:,.0f} a second"),
        (
            "- by digest",
            f"{tally['digests']:,}",
            f"to {tally['quiet'] / tally['digests']:.1%} nothing was new",
        ),
        ("- by the whole profile", f"{tally['profiles']:,}", f"{tally['answers']:,} signed answers"),
        ("reports", f"{tally['reports']:,}", ""),
        ("bytes up", f"{tally['up'] / devices:.0f} B a device", si(tally["up"], "B")),
        ("bytes down", f"{tally['down'] / devices:.0f} B a device", si(tally["down"], "B")),
        ("rules", f"{found['judged']:,} answers held against the plan", "none broke it"),
    ]


def rows_here(found: dict[str, Any]) -> list[Row]:
    """The figures of a run in one process."""
    cpu = f"{found['main']:.0f} s checks, {found['cpu'] - found['main']:.0f} s writing"
    return [
        ("time", f"{found['seconds']:.0f} s", f"{hours(found['hours'] * HOUR)} of the devices' time"),
        ("processor time", f"{found['cpu']:.0f} s", cpu),
        *common(found),
        (
            "explain one device",
            f"{found['explain_ms'][0]:.1f} ms",
            f"at most {found['explain_ms'][1]:.1f} ms of {EXPLAINED}",
        ),
        ("database", si(found["file"], "B"), f"{found['known']:,} devices"),
        ("resident memory", si(found["rss"], "B"), "platform and devices together"),
    ]


def rows_sockets(found: dict[str, Any]) -> list[Row]:
    """The figures of a run through sockets."""
    delays = found["delay_ms"]
    return [
        (
            "time",
            f"{found['seconds']:.0f} s",
            f"all ask for the first time within {wave(found['devices']):.0f} s",
        ),
        (
            "processor time",
            f"{found['server_cpu']:.0f} s",
            f"of the server; {found['load_cpu']:.0f} s of the devices",
        ),
        *common(found),
        (
            "delay of an answer",
            f"{delays[0]:.0f} ms",
            f"99 %: {delays[1]:.0f} ms, with 16 in line on each of 32 connections",
        ),
        ("resident memory", si(found["server_rss"], "B"), "of the server's two processes"),
    ]


def rows_bad(found: dict[str, Any]) -> list[Row]:
    """The figures of a release that is rolled back."""
    last = found["curve"][-1]
    return [
        ("time", f"{found['seconds']:.0f} s", f"{hours(found['hours'] * HOUR)} of the devices' time"),
        (
            "end",
            found["status"],
            f"after {last['reports'][0]:,} reports of the new version, {last['reports'][1]:,} of the control",
        ),
        ("coverage", f"{found['peak']:.2%} at most", f"{found['coverage']:.2%} at the end"),
    ]


def main() -> None:
    """Prints the tables; with --markdown it writes them into a page, too."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=1_000_000)
    options.add_argument("--markdown", type=Path)
    options.add_argument("--plot", type=Path)
    options.add_argument("--part", choices=("here", "bad", "sockets"))
    given = options.parse_args()
    if given.part:
        found = sockets(given.devices) if given.part == "sockets" else here(
            given.devices, BAD if given.part == "bad" else 0.01, given.plot
        )  # fmt: skip
        print(json.dumps(found))
        return
    titles = {
        "here": ("In one process, on one core", rows_here),
        "sockets": ("Through sockets, on two cores", rows_sockets),
        "bad": (f"A version of which {BAD:.0%} of the runs fail, against 1 %, in one process", rows_bad),
    }
    lines = [f"## A release to {given.devices:,} simulated devices ({date.today()}, {machine()})", ""]
    for name, (title, rows) in titles.items():
        print(title)
        lines += [f"### {title}", "", "| what | figure | |", "|---|---:|---|"]
        for what, figure, note in rows(part(name, given)):
            print(f"  {what:28} {figure:>30}   {note}", flush=True)
            lines.append(f"| {what} | {figure} | {note} |")
        lines.append("")
    if given.markdown:
        write_section(given.markdown, "deploy_fleet", lines[:-1])


if __name__ == "__main__":
    main()
