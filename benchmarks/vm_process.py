"""Worker processes and packages of the task VM: starts, calls, kills, crashes, tensors; sizes and load times of bytecode.

python benchmarks/vm_process.py [--rounds N] [--json FILE] [--markdown docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import colorsys
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from report import machine, write_section

from walle_core import Tensor
from walle_core.cli.vm import DEFAULT, _measured
from walle_core.vm.compiling import compile_task
from walle_core.vm.package import Package, hmac_key
from walle_core.vm.process import ProcessWorker
from walle_core.vm.sharing import share
from walle_core.vm.types import Limits, Outcome, Policy, Task

LIMITS = Limits(wall_s=60, memory_mb=256)
SAMPLE = Path(colorsys.__file__)  # plain arithmetic, as a task has it


def timed(work: Callable[[], Any], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return taken


def row(what: str, seconds: list[float], target: str = "") -> list[str]:
    return [what, f"{statistics.median(seconds) * 1e3:.3f}", f"{min(seconds) * 1e3:.3f}", target]


def private_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_")) / 1e3


def processes(rounds: int) -> list[list[str]]:
    made = [ProcessWorker(Policy())]
    rows = [
        row(
            "start of a worker, server warm, sandbox entered",
            timed(lambda: made.append(ProcessWorker(Policy())), rounds),
            "≤ 25",
        )
    ]
    for other in made[1:]:
        other.close()
    worker = made[0]
    task = Task("echo", "def main(x): return x")
    worker.call(task, {"x": 1}, LIMITS)
    rows.append(row("call into a loaded task", timed(lambda: worker.call(task, {"x": 1}, LIMITS), 2000)))
    fresh = iter(
        [
            Task(f"new{i}", f"import math\nscale = {i}\n\ndef main(x):\n    return scale * math.sqrt(x)\n")
            for i in range(200)
        ]
    )
    rows.append(
        row(
            "first call of a new task, its check and compilation included",
            timed(lambda: worker.call(next(fresh), {"x": 2.0}, LIMITS), 200),
            "≤ 1",
        )
    )
    x = Tensor((1024, 1024))
    rows.append(
        row("4 MiB tensor there and back", timed(lambda: worker.call(task, {"x": x}, LIMITS), rounds))
    )
    shared = share(x)
    rows.append(
        row(
            "the same, shared: nothing is copied",
            timed(lambda: worker.call(task, {"x": shared}, LIMITS), 20 * rounds),
        )
    )
    loop, kills = Task("loop", "def main():\n    while True: pass"), []
    for _ in range(rounds):
        at = [0.0]

        def kill(at: list[float] = at) -> None:
            at[0] = time.perf_counter()
            worker.kill(Outcome.TIMEOUT)

        threading.Timer(0.05, kill).start()
        worker.call(loop, {}, LIMITS)
        kills.append(time.perf_counter() - at[0])
    rows.append(row("kill of an endless loop, until the run has ended", kills, "≤ 10"))
    free = Policy(imports=frozenset({"ctypes"}))
    crash = Task("crash", "import ctypes\ndef main(): ctypes.string_at(0)", policy=free)
    well = Task("well", "def main(): pass", policy=free)

    def crashed() -> float:
        worker.call(well, {}, LIMITS)
        return timed(lambda: worker.call(crash, {}, LIMITS), 1)[0]

    rows.append(row("segmentation fault, until the run has ended", [crashed() for _ in range(rounds)]))
    worker.call(task, {"x": 1}, LIMITS)
    memory = private_mb(worker.pid)
    worker.close()
    return [*rows, ["private memory of a worker after a call, MB", f"{memory:.1f}", "", ""]]


def packages() -> list[list[str]]:
    sign, verify = hmac_key(b"k" * 32)
    sources = {"main": SAMPLE.read_text(encoding="utf-8")}
    rows = []
    for optimize, lines in ((0, True), (2, True), (2, False)):
        made = compile_task("sample", sources, sign, optimize=optimize, lines=lines)
        rows += [
            [
                f"{f.python}, level {optimize}{'' if lines else ', no lines'}",
                str(f.bytes),
                str(f.packed),
                f"{(f.load_s or 0) * 1e3:.3f}",
            ]
            for f in made.forms
            if f.python != "source" or optimize == 0
        ]
    opened = timed(lambda: Package.open(made.data, verify), 200)
    rows.append(
        [
            f"whole package of {len(made.forms)} forms, verified",
            str(len(made.data)),
            "",
            f"{statistics.median(opened) * 1e3:.3f}",
        ]
    )
    return rows


def imports(rounds: int) -> list[list[str]]:
    rows = []
    for names in (
        ["walle_core"],
        ["walle_core", "walle_core._native.tensor"],
        list(DEFAULT),
        [*DEFAULT, "walle_core.cv"],
    ):
        runs = [_measured(names) for _ in range(rounds)]
        seconds, memory = [r["seconds"] for r in runs], statistics.median(r["bytes"] for r in runs)
        rows.append(
            [
                ", ".join(names),
                f"{statistics.median(seconds) * 1e3:.1f}",
                f"{min(seconds) * 1e3:.1f}",
                f"{memory / 1e6:.1f}",
            ]
        )
    return rows


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(r) + " |" for r in [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    found = {
        "processes": processes(options.rounds),
        "packages": packages(),
        "imports": imports(options.rounds),
    }
    lines = [
        "## Worker processes and packages of tasks", "",
        f"Made by `python benchmarks/vm_process.py` on {date.today()}: {machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.",
        "", *table(["process", "median, ms", "least, ms", "target"], found["processes"]), "",
        f"The standard library's colorsys as a task, {len(SAMPLE.read_text(encoding='utf-8').splitlines())} lines; of the source, loading is compiling.", "",
        *table(["form", "bytes", "compressed", "load, ms"], found["packages"]), "",
        *table(["import in a fresh interpreter", "median, ms", "least, ms", "memory, MB"], found["imports"]), "",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps(found))
    if options.markdown:
        write_section(options.markdown, "vm_process", lines)


if __name__ == "__main__":
    main()
