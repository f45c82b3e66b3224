"""Seconds to load a model: Walle's frontend beside onnx.load, interleaved, files in the page cache.

    python benchmarks/load.py resnet50.onnx bert_base.onnx [--repeat 7] [--json]

`touched` also reads every weight once, which a lazily mapped file pays only then.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from walle_core.frontends.onnx import load


def seconds(task: Callable[[], Any]) -> float:
    start = time.perf_counter()
    kept = task()
    taken = time.perf_counter() - start
    del kept
    return taken


def touched(path: Path) -> None:
    for value in load(path, check_operators=False).constants.values():
        view = memoryview(value).cast("B") if value.nbytes else b"\0"
        sum(view[::4096])


def measure(path: Path, repeat: int) -> dict[str, Any]:
    tasks = {
        "walle": lambda: load(path, check_operators=False),
        "walle, touched": lambda: touched(path),
        "onnx": lambda: onnx.load(path),
    }
    for task in tasks.values():
        task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeat):
        for name, task in tasks.items():
            times[name].append(seconds(task))
    median = {name: statistics.median(t) for name, t in times.items()}
    return {
        "model": path.name, "bytes": path.stat().st_size, "median_s": median,
        "ratio": median["walle"] / median["onnx"], "ratio_touched": median["walle, touched"] / median["onnx"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(path, options.repeat) for path in options.models]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'model':24} {'MB':>6} {'walle ms':>9} {'touched':>9} {'onnx ms':>9} {'ratio':>6}")
    for row in rows:
        median = row["median_s"]
        cells = [median["walle"] * 1e3, median["walle, touched"] * 1e3, median["onnx"] * 1e3]
        print(
            f"{row['model']:24} {row['bytes'] / 1e6:6.1f} "
            + " ".join(f"{c:9.1f}" for c in cells)
            + f" {row['ratio']:6.2f}"
        )


if __name__ == "__main__":
    main()
