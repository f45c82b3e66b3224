"""What it costs to simulate a release on recorded events, and what the paired comparison finds; prints tables.

python benchmarks/deploy_simulate.py [--events 100000] [--markdown docs/benchmarks.md]
"""

# ruff: noqa: TID251

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from report import machine, write_section
from walle_deploy.simulate import Limits, simulate
from walle_deploy.simulate.exact import worse
from walle_deploy.simulate.matches import Replay
from walle_deploy.simulate.recorded import Damages, logs_in
from walle_deploy.task.config import parse
from walle_deploy.task.starter import example
from walle_deploy.task.trigger import compile_trigger
from walle_pipeline.demo.sessions import sessions
from walle_pipeline.events import Schema
from walle_pipeline.log import EventLog

PER_VISIT = 18.5  # events, about
DEVICES = 10
ALPHA = 0.01
TRIALS = 4000
RATES = [
    (0.01, 0.01),
    (0.1, 0.1),
    (0.02, 0.01),
    (0.05, 0.01),
    (0.2, 0.1),
    (0.01, 0.0),
]  # of the new version and the old

HEAVY = b"""
    spent = time.perf_counter() + 0.005
    while time.perf_counter() < spent:
        pass
    counts = Tensor"""


def record(folder: Path, events: int) -> None:
    """One log for each of some devices, of so many events in all."""
    for number in range(DEVICES):
        with EventLog(folder / f"device-{number}.events") as log:
            log.append(sessions(seed=number, users=5, visits=round(events / PER_VISIT / DEVICES)))


def tasks() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The example of ``walle task init``, with a model, and one that works for 5 ms."""
    light = example("visits")
    yield "a light task", light
    script = light["main.py"].replace(b"\n    counts = Tensor", HEAVY)
    yield "a task of 5 ms", {**light, "main.py": b"import time\n" + script}


def reading(folder: Path) -> tuple[int, int, float]:
    """Events, matches and seconds of reading and matching alone, in one thread."""
    files = example("visits")
    patterns = compile_trigger(parse(files["walle.toml"]).trigger)
    events = matches = 0
    begun = time.perf_counter()
    for log in logs_in([folder]):
        replay = Replay("visits", patterns, log, Schema.BASIC, Damages())
        matches += sum(1 for _ in replay)
        events += replay.events
    return events, matches, time.perf_counter() - begun


def spent() -> float:
    """Seconds of processor time, those of the tasks' processes too."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def speeds(folder: Path) -> list[str]:
    """The table of speeds."""
    events, matches, seconds = reading(folder)
    lines = [
        "| what | workers | seconds | processor seconds | events/s | runs/s |",
        "|---|--:|--:|--:|--:|--:|",
        f"| reading and matching alone, {matches:,} matches | 1 | {seconds:.1f} | | {events / seconds:,.0f} | |",
    ]
    print("\n".join(lines), flush=True)
    (light, light_files), (heavy, heavy_files) = tasks()
    for name, files, baseline, workers in (
        (light, light_files, None, 1),
        (light, light_files, None, 2),
        (f"{light}, with a baseline", light_files, light_files, 2),
        (heavy, heavy_files, None, 2),
    ):
        begun, used = time.perf_counter(), spent()
        found = simulate(files, [folder], baseline=baseline, workers=workers, limits=Limits(alpha=1e-9))
        seconds, used = time.perf_counter() - begun, spent() - used
        assert found.passed, found
        runs = found.new.runs * (2 if baseline else 1)
        rates = f"{found.part.events / seconds:,.0f} | {runs / seconds:,.0f}"
        lines.append(f"| {name} | {workers} | {seconds:.1f} | {used:.1f} | {rates} |")
        print(lines[-1], flush=True)
    return lines


def alarms(new: float, old: float, matches: int) -> float:
    """How often the comparison calls the new version worse, if failures come independently."""
    rng = random.Random(1)
    found = 0
    for _ in range(TRIALS):
        only_new = sum(rng.random() < new * (1 - old) for _ in range(matches))
        rest = old * (1 - new) / (1 - new * (1 - old))
        only_old = sum(rng.random() < rest for _ in range(matches - only_new))
        found += worse(only_new, only_old) <= ALPHA
    return found / TRIALS


def comparison() -> list[str]:
    """The table of what is found."""
    sizes = (100, 300, 1000)
    lines = [
        "| the new version fails | the old one | " + " | ".join(f"{size:,} matches" for size in sizes) + " |",
        "|--:|--:|" + "--:|" * len(sizes),
    ]
    print("\n".join(lines), flush=True)
    for new, old in RATES:
        cells = [f"{alarms(new, old, size):.2%}" for size in sizes]
        lines.append(f"| {new:.0%} | {old:.0%} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Prints the tables; with --markdown it writes them into a page, too."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=100_000)
    options.add_argument("--markdown", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        record(folder, given.events)
        first = speeds(folder)
    second = comparison()
    if given.markdown:
        lines = [
            f"## Simulations of releases on recorded events ({date.today()}, {machine()}, 2 cores)",
            "",
            f"About {given.events:,} events of about 740 bytes, in {DEVICES} logs of one device each; each visit of a page is a match, and "
            "each match a run in the process of an agent, one for each version and worker. Starting these processes and making 16 "
            "runs again are in the seconds.",
            "",
            *first,
            "",
            f"How often a version is refused as worse than the baseline, at alpha {ALPHA:.0%}, of {TRIALS:,} simulations each:",
            "",
            *second,
        ]
        write_section(given.markdown, "deploy_simulate", lines)


if __name__ == "__main__":
    main()
