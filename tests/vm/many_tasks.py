"""Run by the Python under test: many different tasks through one host, many times. Prints one line of JSON.

Usage: ``python many_tasks.py MODE TASKS RUNS``. Every result is checked. Memory is that of this process and its workers, of
those that were there at both times: `warm_mb` when half of the runs are done and each task has been loaded, `end_mb`
after the last. (A busy machine makes a host start workers beyond the usual number, up to as many again.)
"""

import gc
import json
import os
import random
import sys
import time
from collections import Counter, deque
from pathlib import Path

from walle_core import vm
from walle_core._native import Tensor, storage_stats

SOURCES = (
    "TABLE = [{n} * i % 1009 for i in range(300)]\ndef main(k, x): return TABLE[k % 300] + k",
    "import json\nSEEN = {{}}\ndef main(k, x):\n  SEEN[k % 50] = k\n  return json.loads(json.dumps({{'v': {n} + k}}))['v']",
    "import random\ndef main(k, x):\n  {seeded}\n  return [draw.randrange(1000) for _ in range(5)] + [k]",
    "from walle_core import Tensor\ndef main(k, x):\n  y = x.copy()\n  memoryview(y)[k % 64] = float({n})\n  return y",
    "class Count:\n  def __init__(self): self.total = {n}\n  def add(self, k):\n    self.total += k\n    return self.total - k\n"
    "def main(k, x):\n  print('run', k)\n  return Count().add(k) + k",
    "from walle_core import matrix as xp\ndef main(k, x): return float(xp.sum(xp.arange(64) * {n})) + k",
    "def main(k, x):\n  if k % 2: raise ValueError({n})\n  return {n}",
)


def expected(n: int, k: int) -> object:
    """What task `n` gives for `k`; ValueError if it raises that."""
    kind = n % len(SOURCES)
    if kind == 0:
        return n * (k % 300) % 1009 + k
    if kind in {1, 4}:
        return n + k
    if kind == 2:
        draw = random.Random(n)
        return [draw.randrange(1000) for _ in range(5)] + [k]
    if kind == 3:
        return [float(n) if i == k % 64 else 0.5 for i in range(64)]
    if kind == 5:
        return float(n * sum(range(64))) + k
    return ValueError if k % 2 else n


def resident_mb() -> dict[int, float]:
    """Memory of this process and its descendants by process; what they share is counted once (PSS)."""
    found = {}
    for pid in family(os.getpid()):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                found[pid] = sum(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1e3
        except OSError:
            continue
    return found


def family(root: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def check(n: int, k: int, run: vm.TaskRun, outcomes: Counter) -> None:
    ended, wanted = run.wait(600), expected(n, k)
    outcomes[ended.outcome.value] += 1
    if wanted is ValueError:
        assert ended.error is not None and ended.error.type == "ValueError", (n, k, ended)
        return
    value = ended.value.tolist() if isinstance(ended.value, Tensor) else ended.value
    assert value == wanted, (n, k, ended)


def main(mode: str, tasks: int, runs: int) -> None:
    # threads have one state of the module `random` together
    seeded = "draw = random.Random({n})" if mode == "thread" else "random.seed({n}); draw = random"
    sources = [source.replace("{seeded}", seeded) for source in SOURCES]
    made = [vm.Task(f"t{n}", sources[n % len(sources)].format(n=n)) for n in range(tasks)]
    x = Tensor.of([0.5] * 64)
    limits = vm.Limits(wall_s=300, memory_mb=256)
    draw, outcomes, waiting, marks = random.Random(0), Counter(), deque(), {}
    start = time.monotonic()
    with vm.TaskHost(2, mode) as host:
        for i in range(runs):
            n, k = (i if i < tasks else draw.randrange(tasks)), draw.randrange(10_000)
            waiting.append((n, k, host.submit(made[n], {"k": k, "x": x}, limits)))
            if len(waiting) >= 32 or i == runs - 1:
                while waiting:
                    check(*waiting.popleft(), outcomes)
            if i + 1 in {max(tasks, runs // 2), runs}:
                gc.collect()
                marks[i + 1] = resident_mb()
        stats = host.stats()[mode]
    del host
    gc.collect()
    warm, end = marks[max(tasks, runs // 2)], marks[runs]
    both = warm.keys() & end.keys()
    print(json.dumps({
        "python": sys.version.split()[0], "mode": mode, "tasks": tasks, "runs": sum(outcomes.values()), "outcomes": outcomes,
        "warm_mb": round(sum(warm[pid] for pid in both), 1), "end_mb": round(sum(end[pid] for pid in both), 1),
        "processes": [len(warm), len(end), len(both)], "recycled": stats["recycled"],
        "left": storage_stats()[0] - 1, "seconds": round(time.monotonic() - start, 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
