"""Throughput of two sessions in two threads (one thread each) against one session alone.

    python benchmarks/parallel.py build/paper/resnet18.onnx ../shared/models/real/kws_dscnn.onnx [--backend NAME]

Rounds of one thread alone and of two together alternate; the figure is the ratio of the median throughputs. 2.0 is perfect
on two free cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from pathlib import Path

import numpy as np

import walle_core as walle


def load(model: Path, backend: str) -> tuple[walle.Session, dict[str, np.ndarray]]:
    with np.load(model.with_suffix(".npz"), allow_pickle=False) as data:
        inputs = {k[3:]: data[k] for k in data.files if k.startswith("in_")}
    session = walle.Session(walle.load(model), backend=backend, threads=1)
    session.run(inputs)
    return session, inputs


def throughput(sessions: list[tuple[walle.Session, dict[str, np.ndarray]]], seconds: float) -> float:
    """Runs per second of all sessions together, each in a thread of its own."""
    counts = [0] * len(sessions)
    gate = threading.Barrier(len(sessions) + 1)
    until = [0.0]

    def work(index: int) -> None:
        session, inputs = sessions[index]
        gate.wait()
        while time.perf_counter() < until[0]:
            session.run(inputs)
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(sessions))]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    until[0] = start + seconds
    gate.wait()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--backend", default="avx")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", type=float, default=0.5, help="seconds per round")
    options = parser.parse_args()
    print(f"{'model':<26} {'one /s':>9} {'two /s':>9} {'ratio':>6}")
    for model in options.models:
        pair = [load(model, options.backend) for _ in range(2)]
        alone, together = [], []
        for _ in range(options.rounds):
            alone.append(throughput(pair[:1], options.slice))
            together.append(throughput(pair, options.slice))
        one, two = statistics.median(alone), statistics.median(together)
        print(f"{model.stem:<26} {one:>9.1f} {two:>9.1f} {two / one:>6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
