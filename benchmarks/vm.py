"""The task VM: what a call, a new task and an interpreter cost, and what interpreters gain over threads under one GIL.

    python benchmarks/vm.py [--rounds N] [--json FILE] [--markdown docs/benchmarks.md]

Needs Python 3.12 or later. The light, middle and heavy tasks spend 80, 50 and 20 % of their time in Python (a loop over
numbers) and the rest in runs of a model on the engine, one thread each, which last milliseconds without the GIL; in runs of a model of
three small layers, which last microseconds; or in what comes before and after a model, array functions on some thousand numbers.
Two tasks run at once.
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
from walle_core.vm import allow
from walle_core.vm.host import worker

LIMITS = vm.Limits(wall_s=60, memory_mb=512)
SHARES = {"light": 0.8, "middle": 0.5, "heavy": 0.2}
TARGETS = {"light": 1.9, "middle": 1.8, "heavy": 1.6}
LENGTH = 0.2  # seconds of one task alone
WHAT = {
    "model": "runs of a model",
    "small": "runs of a small model",
    "arrays": "array functions on small data",
}
MIXED = """
import walle_core as walle
from walle_core import matrix as xp
state = None

def begin(kind, path, shape):
    if kind == "model":
        session, x = walle.Session(path, threads=1), walle.Tensor(shape)
        return lambda: session.run([x])
    if kind == "small":
        builder = walle.Builder()
        value = builder.input("x", "float32", (1, 64))
        for _ in range(3):
            value = builder.Relu(builder.MatMul(value, builder.const(walle.Tensor((64, 64)))))
        session, x = walle.Session(builder.graph([value]), threads=1), walle.Tensor((1, 64))
        return lambda: session.run([x])
    boxes = xp.reshape(xp.astype(xp.arange(4000), xp.float32), (1000, 4))
    scores, turn = xp.linspace(0.0, 1.0, 1000), xp.reshape(xp.astype(xp.arange(16), xp.float32), (4, 4))

    def turns():
        weights = xp.exp(scores - xp.max(scores))
        weights = weights / xp.sum(weights)
        best = xp.argsort(weights)[:100]
        moved = xp.matmul(xp.take(boxes, best, axis=0), turn)
        return xp.minimum(xp.maximum(moved, xp.asarray(0.0)), xp.asarray(640.0))

    return turns

def main(kind, path, shape, loops, calls, rounds):
    global state
    if state is None or state[0] != kind:
        state = kind, begin(kind, path, shape)
    call = state[1]
    total = 0
    for _ in range(rounds):
        for i in range(loops):
            total += i * i % 7
        for _ in range(calls):
            call()
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


def lone(kind: str, given: dict[str, Any]) -> tuple[float, float]:
    """Seconds of the processor for one turn of Python and for one of the rest, alone in the main interpreter."""
    space: dict[str, Any] = {}
    exec(compile(MIXED, "<mixed>", "exec"), space)

    def cost(**turns: int) -> float:
        begin = time.thread_time()
        space["main"](kind=kind, rounds=1, **given, **turns)
        return time.thread_time() - begin

    cost(loops=0, calls=1)
    loops = statistics.median(cost(loops=100_000, calls=0) for _ in range(10)) / 100_000
    return loops, statistics.median(cost(loops=0, calls=20) for _ in range(20)) / 20


def bounds(share: float) -> tuple[float, float]:
    """How much longer two tasks take under one GIL that they release, at no cost, for all that is not Python, than on a GIL each
    (Amdahl; two cores): least, and most.

    Least: one computes without the GIL whenever the other has it. Most: the GIL goes to and fro between them, every 5 ms or
    oftener, so that both come to the end of their Python at once and then compute at once.
    """
    return max(1.0, 2 * share), 1 + share


def speed_ups(model: Path, rounds: int) -> list[list[str]]:
    """Rows of two tasks at once: threads under one GIL, then interpreters."""
    session = walle.Session(str(model), threads=1)
    shape = tuple(int(d) for d in next(iter(session.inputs.values())).shape)
    task = vm.Task("mixed", MIXED)
    rows = []
    with vm.TaskHost(2, "interpreter") as apart, vm.TaskHost(2, "thread") as together:
        for kind, what in WHAT.items():
            paths = {"path": str(model), "shape": shape}
            loop_s, call_s = lone(kind, paths)
            for name, share in SHARES.items():
                # one round: one run of the model, or one turn of the array functions, and as much Python as the share asks for
                given = {
                    **paths, "kind": kind, "loops": int(call_s * share / (1 - share) / loop_s), "calls": 1,
                    "rounds": max(1, int(LENGTH * (1 - share) / call_s)),
                }  # fmt: skip

                def at_once(
                    host: vm.TaskHost, tasks: int, given: dict[str, Any] = given
                ) -> tuple[float, float]:
                    """Seconds on the clock, and of the processor for each."""
                    begin, worked = time.perf_counter(), time.process_time()
                    for run in [host.submit(task, given, LIMITS) for _ in range(tasks)]:
                        run.result()
                    return time.perf_counter() - begin, (time.process_time() - worked) / tasks

                for host in (apart, together):
                    at_once(host, 2)
                    at_once(host, 2)
                trios = [(at_once(together, 2), at_once(apart, 2), at_once(apart, 1)) for _ in range(rounds)]
                threads, interpreters, one = (statistics.median(t[i][0] for t in trios) for i in range(3))
                grown = [statistics.median(t[i][1] / t[2][1] for t in trios) for i in range(2)]
                least, most = bounds(share)
                rows.append(
                    [
                        f"{name}, {share:.0%} Python, rest {what}", f"{one * 1e3:.0f}", f"{threads * 1e3:.0f}",
                        f"{interpreters * 1e3:.0f}", f"{threads / interpreters:.2f}", f"≥ {TARGETS[name]}",
                        f"{least:.1f} to {most:.1f}", f"{2 * one / interpreters:.2f}",
                        f"{grown[0]:.2f}, {grown[1]:.2f}",
                    ]
                )  # fmt: skip
    return rows


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


def neighbours(rounds: int) -> list[list[str]]:
    """Rows of what a light task notices of tasks that fail beside it, and how late these end."""
    light = vm.Task("light", "def main(n):\n    return sum(i * i % 7 for i in range(n))")
    bad = {
        "loops for ever": "def main():\n    while True: pass",
        "allocates without bound": "def main():\n    x = []\n    while True: x.append(bytearray(100_000))",
        "raises": "def main(): raise ValueError", "calls sys.exit": "import sys\ndef main(): sys.exit(1)",
        "is in a kernel": "from walle_core import matrix as xp\ndef main():\n"
        "    a = xp.reshape(xp.arange(2500 * 2500), (2500, 2500))\n    xp.matmul(a, a)",
        "segfaults": "import ctypes\ndef main(): ctypes.string_at(0)",
    }  # fmt: skip
    policy = vm.Policy(imports=allow.DEFAULT | {"sys", "ctypes"})
    limits = vm.Limits(wall_s=0.2, memory_mb=128)
    rows = []
    for mode in ("interpreter", "process"):
        with vm.TaskHost(2, mode) as host:
            tasks = {name: vm.Task(name, text, policy=policy) for name, text in bad.items()}
            if mode == "interpreter":
                del tasks["segfaults"]
            light_s: dict[bool, list[float]] = {False: [], True: []}
            late: dict[str, list[float]] = {name: [] for name in tasks}
            for name, task in [(n, t) for _ in range(rounds) for n, t in tasks.items()]:
                for beside in (False, True):
                    run = host.submit(task, limits=limits) if beside else None
                    end = time.perf_counter() + limits.wall_s
                    while time.perf_counter() < end:
                        begin = time.perf_counter()
                        host.submit(light, {"n": 2000}).result()
                        light_s[beside].append(time.perf_counter() - begin)
                    if run is not None:
                        run.wait()
                        late[name].append(max(0.0, run.timings.run_s - limits.wall_s))
            alone, disturbed = (p99(light_s[b]) for b in (False, True))
            rows.append(
                [
                    f"{mode}: p99 of a light task beside each of these, over alone",
                    f"{disturbed / alone:.2f} ({alone * 1e6:.0f} → {disturbed * 1e6:.0f} µs)",
                    "≤ 2",
                ]
            )
            rows += [
                [f"{mode}: a task that {n} ends after its limit, ms, most", f"{max(v) * 1e3:.0f}", "≤ 200"]
                for n, v in late.items()
            ]
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
    costs, gains, beside = (
        calls(options.rounds),
        speed_ups(options.model, options.rounds),
        neighbours(options.rounds),
    )
    lines = [
        "## The task VM", "",
        f"Made by `python benchmarks/vm.py` on {date.today()}: {machine()}, {os.cpu_count()} cores, Python {platform.python_version()}. "
        f"Medians; threads and interpreters interleaved, {options.rounds} rounds; the model is {options.model.name}.",
        "", *table(["what", "measured", "target"], [*costs, *beside]), "",
        *table(["two tasks at once", "one alone, ms", "threads, ms", "interpreters, ms", "speed-up over threads", "target", "one GIL costs", "over one after the other", "processor, over alone: threads, interpreters"], gains),
        "",
        "*One GIL costs*: two threads of which all that is not Python runs without the GIL, and which give it up and take it at no cost, "
        "take between max(1, 2 × share of Python) times as long as two interpreters on two cores (one computes while the other has the "
        "GIL) and 1 + share (the GIL goes to and fro, so that both compute at once). More than that is what handing over costs: it "
        "counts where the time between two releases is of its size. *Processor, over alone*: what each of two tasks at once takes of "
        "its processor, over one alone; for interpreters, what they have in common (memory, caches, allocator) costs. What *over one after "
        "the other* lacks beyond that of 2 is waiting for a processor.",
        "",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps({"costs": costs, "speed_ups": gains, "neighbours": beside}))
    if options.markdown:
        write_section(options.markdown, "vm", lines)


if __name__ == "__main__":
    main()
