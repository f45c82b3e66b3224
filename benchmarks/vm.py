"""The task VM: what a call, a new task and an interpreter cost, and what interpreters gain over threads under one GIL.

    python benchmarks/vm.py [--rounds N] [--json FILE] [--markdown docs/benchmarks.md]

Needs Python 3.12 or later. The light, middle and heavy tasks spend 80, 50 and 20 % of their time in Python (a loop over
numbers) and the rest in a model on the engine, one thread each; two tasks run at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from report import machine, write_section

import walle_core as walle
from walle_core import vm
from walle_core.vm.host import worker

LIMITS = vm.Limits(wall_s=60, memory_mb=512)
SHARES = {"light": 0.8, "middle": 0.5, "heavy": 0.2}
TARGETS = {"light": 1.9, "middle": 1.8, "heavy": 1.6}
LENGTH = 0.2  # seconds of one task alone
MIXED = """
import walle_core as walle
session = None
def main(path, shape, loops, runs, rounds):
    global session
    if session is None:
        session = walle.Session(path, threads=1)
    x = walle.Tensor(shape)
    total = 0
    for _ in range(rounds):
        for i in range(loops):
            total += i * i % 7
        for _ in range(runs):
            session.run([x])
    return total
"""


def private_kb() -> int:
    text = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def median_of(work: Callable[[], Any], times: int) -> float:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def calls(rounds: int) -> list[list[str]]:
    """Rows of what one call costs."""
    task = vm.Task("loaded", "def main(): return None")
    own = worker("interpreter")
    own.call(task, {}, LIMITS)
    many = 2000

    def loaded() -> None:
        for _ in range(many):
            own.call(task, {}, LIMITS)

    call_s = median_of(loaded, rounds) / many
    fresh = iter(
        [
            vm.Task(f"new{i}", f"import math\nscale = {i}\n\ndef main(x):\n    return scale * math.sqrt(x)\n")
            for i in range(200)
        ]
    )
    new_s = median_of(lambda: own.call(next(fresh), {"x": 2.0}, LIMITS), 200)
    own.close()
    before, made, taken = private_kb(), [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        made.append(worker("interpreter"))
        taken.append(time.perf_counter() - begin)
    bare_mb = (private_kb() - before) / 1024 / rounds
    for one in made:
        one.close()
    with vm.TaskHost(2, "interpreter") as host:
        trip_s = median_of(lambda: host.submit(task).result(), 2000)
    return [
        ["call into a loaded task, µs", f"{call_s * 1e6:.2f}", "≤ 2"],
        ["first call of a new task, its check and compilation included, ms", f"{new_s * 1e3:.3f}", "≤ 1"],
        ["submit and result through the host, µs", f"{trip_s * 1e6:.0f}", ""],
        ["cold interpreter, ms", f"{statistics.median(taken) * 1e3:.1f}", "≤ 10"],
        ["bare interpreter, MB", f"{bare_mb:.2f}", "≤ 3"],
    ]


def speed_ups(model: Path, rounds: int) -> list[list[str]]:
    """Rows of two tasks at once: threads under one GIL, then interpreters."""
    session = walle.Session(str(model), threads=1)
    shape = tuple(int(d) for d in next(iter(session.inputs.values())).shape)
    x = walle.Tensor(shape)
    session.run([x])
    run_s = median_of(lambda: session.run([x]), 30)

    def loop() -> None:
        total = 0
        for i in range(100_000):
            total += i * i % 7

    loop_s = median_of(loop, 10) / 100_000
    task = vm.Task("mixed", MIXED)
    rows = []
    with vm.TaskHost(2, "interpreter") as apart, vm.TaskHost(2, "thread") as together:
        for name, share in SHARES.items():
            # one round: one run of the model, and as much Python as the share asks for
            rest = {
                "loops": int(run_s * share / (1 - share) / loop_s),
                "runs": 1,
                "rounds": max(1, int(LENGTH * (1 - share) / run_s)),
            }
            given = {"path": str(model), "shape": shape, **rest}

            def both(host: vm.TaskHost, given: dict[str, Any] = given) -> float:
                begin = time.perf_counter()
                for run in [host.submit(task, given, LIMITS) for _ in range(2)]:
                    run.result()
                return time.perf_counter() - begin

            for host in (apart, together):
                both(host)
                both(host)
            pairs = [(both(together), both(apart)) for _ in range(rounds)]
            one = median_of(lambda given=given: apart.submit(task, given, LIMITS).result(), rounds)
            threads, interpreters = (statistics.median(p[i] for p in pairs) for i in (0, 1))
            rows.append(
                [
                    f"{name}, {share:.0%} Python", f"{one * 1e3:.0f}", f"{threads * 1e3:.0f}", f"{interpreters * 1e3:.0f}",
                    f"{threads / interpreters:.2f}", f"{2 * one / interpreters:.2f}", f"≥ {TARGETS[name]}",
                ]
            )  # fmt: skip
    return rows


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(r) + " |" for r in [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--model",
        type=Path,
        default=Path(os.environ.get("WALLE_MODELS", "../shared/models")) / "real/rfb320_face.onnx",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    costs, gains = calls(options.rounds), speed_ups(options.model, options.rounds)
    lines = [
        "## The task VM", "",
        f"Made by `python benchmarks/vm.py` on {date.today()}: {machine()}, {os.cpu_count()} cores, Python {platform.python_version()}. "
        f"Medians; threads and interpreters interleaved, {options.rounds} rounds; the model is {options.model.name}.",
        "", *table(["what", "measured", "target"], costs), "",
        *table(["two tasks at once", "one alone, ms", "threads, ms", "interpreters, ms", "speed-up over threads", "over one after the other", "target"], gains),
        "",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps({"costs": costs, "speed_ups": gains}))
    if options.markdown:
        write_section(options.markdown, "vm", lines)


if __name__ == "__main__":
    main()
