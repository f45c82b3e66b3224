"""What backends of devices reach on this machine: products, models, predictions, the host's share, the second start.

    python benchmarks/devices.py --backends opencl,vulkan [--base avx] [--markdown docs/benchmarks.md] [MODEL ...]

Everything is compared in one run, interleaved, medians. The base is the backend that `walle rank` puts first.
ResNet-50 is built here, with random weights: its time depends on shapes only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from report import write_section

import walle_core as walle
from walle_core import cost
from walle_core.engines import engines_for
from walle_core.frontends.walle_file import save
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph

SIZE, ROUNDS, SLICE_S = 512, 7, 0.15
PREDICTIONS = 5  # rounds of calibrating, predicting and measuring
RNG = np.random.default_rng(0)


def product(n: int = SIZE) -> Graph:
    """A product of n x n matrices, the second constant."""
    g = Builder()
    x = g.input("x", "float32", (n, n))
    return g.graph([g.MatMul(x, g.const(RNG.standard_normal((n, n)).astype(np.float32)))])


def resnet50() -> Graph:
    """ResNet-50 (He et al. 2015, table 1), normalisation folded into the weights, one picture."""
    g = Builder()

    def conv(x: str, k: int, c: int, size: int, stride: int = 1) -> str:
        w = RNG.standard_normal((k, c, size, size)).astype(np.float32) * np.float32(
            (2 / (c * size * size)) ** 0.5
        )
        pad = size // 2
        return str(
            g.Conv(
                x, g.const(w), g.const(np.zeros(k, np.float32)), strides=(stride, stride), pads=(pad,) * 4,
                kernel_shape=(size, size),
            )
        )  # fmt: skip

    y = g.Relu(conv(g.input("x", "float32", (1, 3, 224, 224)), 64, 3, 7, 2))
    y = g.MaxPool(y, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    c = 64
    for width, blocks, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(blocks):
            stride = first if i == 0 else 1
            inner = g.Relu(conv(g.Relu(conv(y, width, c, 1)), width, width, 3, stride))
            inner = conv(inner, 4 * width, width, 1)
            y = g.Relu(g.Add(inner, conv(y, 4 * width, c, 1, stride) if i == 0 else y))
            c = 4 * width
    y = g.Flatten(g.GlobalAveragePool(y))
    w = RNG.standard_normal((c, 1000)).astype(np.float32) * np.float32(0.01)
    return g.graph([g.Gemm(y, g.const(w), g.const(np.zeros(1000, np.float32)))])


def sessions(graph: Graph, names: Sequence[str], threads: int) -> dict[str, Any]:
    """Backend -> (session, feeds); outputs are compared with the first one's."""
    feeds = {
        n: RNG.standard_normal(graph.specs[n].sizes).astype(np.float32)
        if graph.specs[n].dtype.name == "float32"
        else np.ones(graph.specs[n].sizes, graph.specs[n].dtype.name)
        for n in graph.inputs
    }
    found, first = {}, None
    for name in names:
        session = walle.Session(graph, backend=name, threads=threads)
        made = [np.asarray(v, np.float64) for v in session.run(feeds).values()]
        first = first or made
        for a, b in zip(first, made, strict=True):
            assert np.abs(a - b).max() <= 1e-3 * max(1e-9, np.abs(a).max()), f"{name} differs"
        found[name] = session, feeds
    return found


def interleaved(held: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Backend -> (median seconds of a run, median share of it in which the calling thread works, lower quartile of the
    seconds: what calibration takes of its own runs too)."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in held}
    for _ in range(ROUNDS):
        for name, (session, feeds) in held.items():
            session.run(feeds)
            end = time.perf_counter() + SLICE_S
            while True:
                wall, own = time.perf_counter(), time.thread_time()
                session.run(feeds)
                took = time.perf_counter() - wall
                times[name].append((took, (time.thread_time() - own) / took))
                if time.perf_counter() >= end:
                    break
    found = {}
    for name, rows in times.items():
        seconds, shares = zip(*rows, strict=True)
        found[name] = (
            statistics.median(seconds),
            statistics.median(shares),
            sorted(seconds)[len(seconds) // 4],
        )
    return found


def calibrate(names: Sequence[str], threads: int) -> None:
    """Measures the rates of backends anew: other work on the machine changes from one hour to the next."""
    for engine in engines_for(names, threads, measured=False):
        made = engine.backend.calibrate(engine.device, threads, lambda _: None)
        cost._measured[cost.rates_key(engine.backend, engine.device, threads)] = made


def predictions(
    graph: Graph, held: dict[str, Any], threads: int
) -> tuple[dict[str, tuple[float, float]], dict[str, list[float]], str]:
    """Backend -> (seconds of a run, the caller's share); -> predicted over measured time in each round of calibrating,
    predicting and measuring; the backend that is first by prediction in most of them.
    """
    took: list[dict[str, tuple[float, float, float]]] = []
    ratios: dict[str, list[float]] = {name: [] for name in held}
    first: list[str] = []
    for _ in range(PREDICTIONS):
        calibrate(tuple(held), threads)
        order = walle.rank(graph, threads=threads)
        took.append(interleaved(held))
        first.append(order[0].backend)
        for row in order:
            if row.backend in ratios:
                ratios[row.backend].append(row.predicted_s / took[-1][row.backend][2])
    runs = {
        n: (statistics.median(t[n][0] for t in took), statistics.median(t[n][1] for t in took)) for n in held
    }
    return runs, ratios, statistics.mode(first)


def starts(path: Path, backend: str, threads: int) -> tuple[float, float]:
    """Seconds to the first result of two processes after one another, in a cache that holds the device's rates only."""
    code = (
        "import sys, time, numpy as np, walle_core as walle\n"
        "graph = walle.load(sys.argv[1])\n"
        "feeds = {n: np.zeros(graph.specs[n].sizes, graph.specs[n].dtype.name) for n in graph.inputs}\n"
        "from walle_core.plugins import load_plugins\n"
        "load_plugins().backends.get(sys.argv[2]).devices()\n"
        "start = time.perf_counter()\n"
        "walle.Session(sys.argv[1], backend=sys.argv[2], threads=int(sys.argv[3])).run(feeds)\n"
        "print(time.perf_counter() - start)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for i, cache in enumerate(("rates", "fresh", "fresh")):
            where = Path(folder) / cache
            if i == 1:
                where.mkdir()
                for rates in (Path(folder) / "rates").glob("rates-*.json"):
                    shutil.copy(rates, where)
            drivers = {"MESA_SHADER_CACHE_DIR": str(where / "mesa"), "POCL_CACHE_DIR": str(where / "pocl")}
            done = subprocess.run(
                [sys.executable, "-c", code, str(path), backend, str(threads)],
                env={**os.environ, "WALLE_CACHE": str(where), **drivers}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            taken.append(float(done.stdout.split()[-1]))
    return taken[1], taken[2]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--backends", required=True, help="names, with commas between them")
    parser.add_argument("--base", default=None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path, default=None)
    options = parser.parse_args()
    names = options.backends.split(",")
    ranked = walle.rank(product(), threads=options.threads)
    base = options.base or ranked[0].backend
    everyone = [base, *names]
    rates = {e.backend.name: e.rates for e in engines_for(everyone, options.threads, measured=False)}
    peak = rates[base].ops_per_s.get("peak", float("nan")) / 1e9
    device = next(r.device for r in ranked if r.backend == base)
    lines = [
        "## Devices", "",
        f"{date.today()}, {device}, {options.threads} threads; peak of {base}, measured: {peak:.0f} GFLOP/s. "
        f"`python benchmarks/devices.py --backends {options.backends}`", "",
    ]  # fmt: skip
    held = sessions(product(), everyone, options.threads)
    flops = 2e-9 * SIZE**3
    lines += [
        f"| product of {SIZE} x {SIZE} matrices | GFLOP/s, of the run | of its launches | of {base}'s run |",
        "|---|---|---|---|",
    ]
    took = interleaved(held)
    for name, (session, feeds) in held.items():
        alone = statistics.median(
            sum(row.get("seconds", 0.0) for row in session.profile(feeds)) for _ in range(15)
        )
        run = took[name][0]
        lines.append(f"| {name} | {flops / run:.1f} | {flops / alone:.1f} | {took[base][0] / run:.2f} |")
        print(lines[-1], flush=True)
    lines += [
        "", f"| model | backend | ms | over {base} | predicted / measured, median of {PREDICTIONS} (range) | first by rank | caller's share | second start / first |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "resnet50.walle"
        save(resnet50(), whole)
        for path in [whole, *options.models]:
            from walle_core.ranking import bind_shapes

            graph = bind_shapes(walle.load(str(path)))
            held = sessions(graph, everyone, options.threads)
            runs, ratios, best = predictions(graph, held, options.threads)
            for name in everyone:
                run, share = runs[name]
                first, second = starts(path, name, options.threads) if name != base else (1.0, 0.0)
                again = f"{second:.2f} s / {first:.2f} s = {second / first:.0%}" if name != base else ""
                lines.append(
                    f"| {path.stem} | {name} | {run * 1e3:.2f} | {run / runs[base][0]:.2f} | "
                    f"{statistics.median(ratios[name]):.2f} ({min(ratios[name]):.2f}–{max(ratios[name]):.2f}) | "
                    f"{best} | {share:.1%} | {again} |"
                )
                print(lines[-1], flush=True)
    if options.markdown:
        write_section(options.markdown, "devices", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
