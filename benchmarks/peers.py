"""Latency of Walle against other engines, every model, 1 and 2 threads, interleaved in one run.

    make bench     # creates .venv-peers and .venv-litert with the other engines, then runs this
    python benchmarks/peers.py --paper build/paper --threads 1 2 --engines onnxruntime,openvino --json out.json
    python benchmarks/peers.py --python .venv-peers/bin/python --python litert=.venv-litert/bin/python

Every (engine, model) runs in a process of its own (engines.py); rounds rotate among the engines, each running for at
least `--slice` seconds per round, and the figure is the median over all runs of all rounds. A slice during which other
processes took more than 20 % of a core is measured again, at most as many times as there are rounds. Outputs are
compared with ONNX Runtime's in the same run; an engine whose error exceeds 5e-3 of the scale counts as wrong and is no
peer for that model. With `--precision low` engines that have bfloat16 products use them, ONNX Runtime stays in float32, and
an engine whose outputs' cosine with ONNX Runtime's is below 0.999 is wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from engines import ENGINES
from report import figures, geometric_mean, line, markdown, plot, section, sections

import walle_core as walle

WRONG = 5e-3  # of the output's scale
SIMILAR = 0.999  # least cosine at low precision
QUANTISED = 0.1  # for models that round between layers; see tests/runtime/test_models.py


def cpu_mark() -> tuple[float, float]:
    """(busy seconds of the machine, wall clock)."""
    with open("/proc/stat", encoding="utf-8") as file:
        fields = [int(v) for v in file.readline().split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK"), time.monotonic()


class Worker:
    """One engine with one model in its own process."""

    def __init__(
        self, engine: str, model: Path, threads: int, folder: Path, python: str, outputs: Sequence[str],
        precision: str = "high", script: str = "engines.py",
    ) -> None:  # fmt: skip
        command = [
            python,
            str(Path(__file__).with_name(script)),
            engine,
            str(model),
            str(threads),
            str(folder),
            precision,
            *outputs,
        ]
        self.engine = engine
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.facts = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with {self.process.wait()}"}

    def ask(self, line: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def outputs(self) -> list[np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            self.ask(f"check {folder}/out.npz")
            with np.load(f"{folder}/out.npz") as data:
                return [data[k] for k in data.files]

    def cpu(self) -> float:
        """CPU seconds of the process so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def error_of(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> float:
    """Largest difference relative to the scale of its output."""
    worst = 0.0
    for a, b in zip(got, want, strict=True):
        if b.dtype.kind == "f" and b.size:
            if a.size != b.size:
                return math.inf
            difference = float(np.max(np.abs(a.reshape(-1) - b.reshape(-1))))
            worst = max(worst, difference / max(1e-30, float(np.max(np.abs(b)))))
    return worst


def cosine_of(got: Sequence[np.ndarray], want: Sequence[np.ndarray]) -> float:
    """Least cosine between outputs of real numbers."""
    least = 1.0
    for a, b in zip(got, want, strict=True):
        if b.dtype.kind == "f" and b.size:
            x, y = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
            same = x.size == y.size
            scale = float(np.linalg.norm(x) * np.linalg.norm(y))
            least = min(least, float(x @ y) / max(scale, 1e-30) if same else -1.0)
    return least


def compare(model: Path, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """Per engine: median seconds, error against ONNX Runtime, load seconds, peak memory; or why it cannot."""
    graph = walle.load(model)
    limit = QUANTISED if any(n.op == "QuantizeLinear" for n in graph.nodes) else WRONG
    workers, rows = [], {}
    try:
        for engine in ["walle", *options.engines]:
            python = options.python.get(engine, options.python[""])
            start = (engine, model, threads, options.folder, python, graph.outputs, options.precision)
            worker = Worker(*start)
            if "error" not in worker.facts:
                worker.close()  # load time and memory are those of a second start
                worker = Worker(*start)
            rows[engine] = dict(worker.facts)
            if "error" in worker.facts:
                worker.close()
                print(f"{engine} cannot run {model.stem}: {worker.facts['error']}", flush=True)
            else:
                workers.append(worker)
        made = {w.engine: w.outputs() for w in workers}
        for worker in workers:
            row, want = rows[worker.engine], made.get("onnxruntime", made["walle"])
            row["difference"] = error_of(made[worker.engine], want)
            row["cosine"] = cosine_of(made[worker.engine], want)
            row["wrong"] = (
                row["cosine"] < SIMILAR if options.precision == "low" else row["difference"] > limit
            )
        times = {w.engine: [] for w in workers}
        for round_ in range(options.rounds):
            for worker in workers[round_ % len(workers) :] + workers[: round_ % len(workers)]:
                times[worker.engine] += calm_slice(worker, options.slice)
        for engine, values in times.items():
            rows[engine]["median_s"] = statistics.median(values)
    finally:
        for worker in workers:
            worker.close()
    peers = {e: r["median_s"] for e, r in rows.items() if e != "walle" and "median_s" in r and not r["wrong"]}
    best = min(peers, key=peers.__getitem__) if peers else ""
    ratio = rows["walle"]["median_s"] / peers[best] if best and "median_s" in rows["walle"] else math.nan
    return {"model": model.stem, "threads": threads, "engines": rows, "fastest": best, "ratio": ratio}


def calm_slice(worker: Worker, seconds: float) -> list[float]:
    """Seconds of the runs of one slice; measured once more if another process disturbed it."""
    for _ in range(2):
        busy, own, wall = cpu_mark()[0], worker.cpu(), time.monotonic()
        values: list[float] = worker.ask(f"time {seconds}")
        foreign = (cpu_mark()[0] - busy) - (worker.cpu() - own)
        if foreign <= 0.2 * (time.monotonic() - wall):
            break
    return values


def interpreters(values: Sequence[str]) -> dict[str, str]:
    """Interpreter per engine from PATH or ENGINE=PATH; "" stands for the engines not named."""
    found = {"": sys.executable}
    for value in values:
        engine, equals, path = value.partition("=")
        if equals and engine not in ENGINES:
            raise SystemExit(f"--python {value}: no engine {engine}; there are {', '.join(ENGINES)}")
        found[engine if equals else ""] = path if equals else value
    return {**found, "walle": found.get("walle", sys.executable)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    models = Path(os.environ.get("WALLE_MODELS", "../shared/models"))
    parser.add_argument("--models", type=Path, default=models)
    parser.add_argument(
        "--paper", type=Path, default=Path("build/paper"), help="folder of the paper's models"
    )
    parser.add_argument("--folder", type=Path, default=Path("build/peers"), help="keeps converted models")
    parser.add_argument(
        "--python", action="append", default=[], metavar="[ENGINE=]PATH",
        help="interpreter that has the other engines, or that one (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--engines", default=",".join(e for e in ENGINES if e != "walle"), help="comma-separated"
    )
    parser.add_argument("--only", default="", help="comma-separated model names")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", type=float, default=0.3, help="seconds per engine and round")
    parser.add_argument("--precision", choices=["high", "low"], default="high")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the tables here (docs/benchmarks.md)")
    parser.add_argument("--plot", type=Path, help="write a bar chart here")
    parser.add_argument("--readme", type=Path, help="write a short table into this front page")
    options = parser.parse_args()
    options.python = interpreters(options.python)
    options.engines = [e for e in options.engines.split(",") if e]
    engines = ["walle", *options.engines]
    wanted = set(filter(None, options.only.split(",")))
    files = sorted(options.paper.glob("*.onnx")) + sorted((options.models / "real").glob("*.onnx"))
    rows = []
    print("model, threads, ms per engine:", *engines)
    for file in files:
        if wanted and file.stem not in wanted:
            continue
        for threads in options.threads:
            rows.append(compare(file, threads, options))
            print(
                "  ".join(
                    f"{c:>{w}}"
                    for c, w in zip(line(rows[-1], engines), (26, 1, *[9] * len(engines), 5, 11), strict=True)
                ),
                flush=True,
            )
    for threads in options.threads:
        mean = geometric_mean([r["ratio"] for r in rows if r["threads"] == threads])
        print(f"geometric mean of the ratios, {threads} thread(s): {mean:.3f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    if options.markdown:
        kept = "".join(section(options.markdown, script) for script in sections(options.markdown))
        options.markdown.write_text(markdown(rows, engines, options) + kept)
    if options.plot:
        plot(rows, engines, options.plot)
    if options.readme:
        figures(rows, options.readme)
    return 0


if __name__ == "__main__":
    sys.exit(main())
