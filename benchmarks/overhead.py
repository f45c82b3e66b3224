"""Python's share of a run: Session.run less the native call, by number of operators.

    python benchmarks/overhead.py [--backend NAME] [--repeat 3000]

Medians for graphs of 1 to 1000 operators; a line through them splits each into a part that grows with the operators
(the native program) and a constant one (the Python around it).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

import walle_core as walle
from walle_core.graph.builder import Builder


def chain(operators: int) -> walle.Graph:
    """A chain of reductions, none of which fuses with its neighbours."""
    g = Builder()
    value = g.input("x", "float32", (1, 16))
    for _ in range(operators):
        value = g.Softmax(value, axis=-1)
    return g.graph([value])


def microseconds(operators: int, backend: str, repeat: int) -> float:
    """Median of Session.run."""
    session = walle.Session(chain(operators), backend=backend, threads=1)
    feeds = {"x": np.ones((1, 16), np.float32)}
    times = []
    for _ in range(repeat):
        start = time.perf_counter_ns()
        session.run(feeds)
        times.append((time.perf_counter_ns() - start) / 1e3)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backend", default=walle.rank(chain(1), threads=1)[0].backend)
    parser.add_argument("--repeat", type=int, default=3000)
    options = parser.parse_args()
    counts = (1, 10, 30, 100, 300, 1000)
    times = [microseconds(count, options.backend, options.repeat) for count in counts]
    each, constant = np.polyfit(counts, times, 1, w=1 / np.array(times))
    print(f"{'operators':>9} {'run us':>9} {'native us':>10} {'Python us':>10}")
    for count, whole in zip(counts, times, strict=True):
        print(f"{count:>9} {whole:>9.2f} {each * count:>10.2f} {whole - each * count:>10.2f}")
    print(f"fitted: {constant:.2f} us per run + {each * 1e3:.0f} ns per operator")
    return 0


if __name__ == "__main__":
    sys.exit(main())
