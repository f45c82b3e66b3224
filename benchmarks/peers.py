"""Latency of Walle against other engines, in one process, interleaved: ratio of medians.

    python benchmarks/peers.py --models ../shared/models --paper build/paper --threads 1 2 [--json out.json]

For every model: each round runs both engines one after the other for at least `--slice` seconds; the figure is the
median over all runs of all rounds. A round during which other processes took more than 20 % of a core is measured
again (at most as many extra rounds as asked for). Outputs are compared with those stored beside the model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import walle_core as walle


def load_arrays(model: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(inputs, expected outputs) stored beside a model."""
    with np.load(model.with_suffix(".npz"), allow_pickle=False) as data:
        inputs = {k[3:]: data[k] for k in data.files if k.startswith("in_")}
        outputs = {k[4:]: data[k] for k in data.files if k.startswith("out_")}
    return inputs, outputs


def foreign_cpu(start: tuple[float, float, float]) -> float:
    """Cores that other processes used since `start` (from `cpu_mark`)."""
    busy, own, wall = (b - a for a, b in zip(start, cpu_mark(), strict=True))
    return max(0.0, (busy - own) / max(wall, 1e-9))


def cpu_mark() -> tuple[float, float, float]:
    """(busy seconds of the machine, of this process, wall clock)."""
    with open("/proc/stat", encoding="utf-8") as file:
        fields = [int(v) for v in file.readline().split()[1:]]
    ticks = os.sysconf("SC_CLK_TCK")
    busy = (sum(fields[:8]) - fields[3] - fields[4]) / ticks
    times = os.times()
    return busy, times.user + times.system, time.monotonic()


def compare(model: Path, threads: int, rounds: int, slice_s: float, backend: str) -> dict[str, Any]:
    """Medians of both engines in milliseconds, their ratio, and the error against ONNX Runtime."""
    import onnxruntime as ort

    inputs, _ = load_arrays(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    peer = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    session = walle.Session(walle.load(model), backend=backend, threads=threads)
    runs = {"walle": lambda: session.run(inputs), "onnxruntime": lambda: peer.run(None, inputs)}
    want = runs["onnxruntime"]()
    made = runs["walle"]()
    error = 0.0
    for name, expected in zip(session.outputs, want, strict=True):
        got = np.asarray(made[name])
        if expected.dtype.kind == "f" and expected.size:
            error = max(
                error, float(np.max(np.abs(got - expected))) / max(1e-30, float(np.max(np.abs(expected))))
            )
    times: dict[str, list[float]] = {name: [] for name in runs}
    kept = tried = 0
    while kept < rounds and tried < 2 * rounds:
        tried += 1
        mark, batch = cpu_mark(), {}
        for name, run in runs.items():
            samples, end = [], time.perf_counter() + slice_s
            while len(samples) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                run()
                samples.append(time.perf_counter() - start)
            batch[name] = samples
        if foreign_cpu(mark) > 0.2 and tried < 2 * rounds - (rounds - kept) + 1:
            continue
        kept += 1
        for name, samples in batch.items():
            times[name] += samples
    median = {name: statistics.median(samples) * 1e3 for name, samples in times.items()}
    return {
        "model": model.stem, "threads": threads, "walle_ms": median["walle"], "onnxruntime_ms": median["onnxruntime"],
        "ratio": median["walle"] / median["onnxruntime"], "error": error,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", type=Path, default=Path(os.environ.get("WALLE_MODELS", "../shared/models"))
    )
    parser.add_argument(
        "--paper", type=Path, default=Path("build/paper"), help="folder of the paper's models"
    )
    parser.add_argument("--only", default="", help="comma-separated model names")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", type=float, default=0.3, help="seconds per engine and round")
    parser.add_argument("--backend", default="avx")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the table here (docs/benchmarks.md)")
    options = parser.parse_args()
    files = sorted(options.paper.glob("*.onnx")) + sorted((options.models / "real").glob("*.onnx"))
    wanted = set(filter(None, options.only.split(",")))
    rows = []
    print(f"{'model':<26} {'threads':>7} {'Walle ms':>10} {'ORT ms':>10} {'ratio':>6} {'error':>9}")
    for file in files:
        if wanted and file.stem not in wanted:
            continue
        for threads in options.threads:
            try:
                row = compare(file, threads, options.rounds, options.slice, options.backend)
            except walle.WalleError as error:
                print(f"{file.stem:<26} {threads:>7} {error}", flush=True)
                continue
            rows.append(row)
            print(
                f"{row['model']:<26} {threads:>7} {row['walle_ms']:>10.3f} {row['onnxruntime_ms']:>10.3f} "
                f"{row['ratio']:>6.2f} {row['error']:>9.1e}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.markdown:
        options.markdown.write_text(markdown(rows))


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as docs/benchmarks.md."""
    import onnxruntime as ort

    devices = walle.backends().get("avx") or []
    machine = devices[0].name if devices else platform.processor()
    lines = [
        "# Benchmarks", "",
        f"Made by `{' '.join(['python', *map(str, ['benchmarks/peers.py'])])}` on {date.today()}: {machine}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, ONNX Runtime {ort.__version__}.",
        "Median latency per run, batch 1, float32, both engines in one process, interleaved.", "",
        "| model | threads | Walle ms | ONNX Runtime ms | ratio | max error / scale |", "|---|--:|--:|--:|--:|--:|",
    ]  # fmt: skip
    for r in rows:
        lines.append(
            f"| {r['model']} | {r['threads']} | {r['walle_ms']:.3f} | {r['onnxruntime_ms']:.3f} | {r['ratio']:.2f} "
            f"| {r['error']:.1e} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
