"""Is the cheapest candidate by prediction the fastest by the clock? Every candidate of every operator of the models.

    python benchmarks/candidates.py --backend NAME --threads 1 build/paper/resnet50.onnx [...]

Each operator of the lowered graph that has several candidates is compiled once per candidate, alone, with its real
shapes and weights; the candidates run interleaved and medians count. Operators that look the same to the search are
measured once and weighted by how often they occur.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import walle_core as walle
from walle_core._native import Tensor
from walle_core.engines import engines_for
from walle_core.ranking import bind_shapes
from walle_core.search import Engine
from walle_core.tuning import Case, cases


def measure(case: Case, engine: Engine, threads: int, rounds: int) -> list[tuple[str, float, float]]:
    """(algorithm, predicted seconds, measured seconds) per candidate."""
    node, graph, alone = case.node, case.graph, case.alone()
    feeds = [Tensor(alone.specs[n].sizes, alone.specs[n].dtype.name) for n in alone.inputs]
    offers = engine.backend.candidates(node, graph.specs, graph.constants)
    built = [(c, engine.backend.prepare(alone, {node.name: c}, threads, "high")) for c in offers]
    times: list[list[float]] = [[] for _ in built]
    for _ in range(rounds):
        for i, (_, executable) in enumerate(built):
            executable.run(feeds)
            start = time.perf_counter()
            executable.run(feeds)
            times[i].append(time.perf_counter() - start)
    call = engine.rates.call_s
    return [
        (c.algorithm, engine.seconds(c), max(1e-9, statistics.median(t) - call))
        for (c, _), t in zip(built, times, strict=True)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--backend", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--all", action="store_true", help="also operators with one candidate (for the error of prediction)"
    )
    options = parser.parse_args()
    engines = engines_for(options.backend, options.threads, measured=True)
    engine = engines[0]
    seen: dict[Any, Case] = {}
    for model in options.models:
        for key, case in cases(bind_shapes(walle.load(model)), engine, engines).items():
            if key in seen:
                seen[key].count += case.count
            else:
                seen[key] = case
    right = total = 0
    lost = best_total = 0.0
    errors: list[float] = []
    for case in seen.values():
        offers = engine.backend.candidates(case.node, case.graph.specs, case.graph.constants)
        if len(offers) < 2 and not options.all:
            continue
        rows = measure(case, engine, options.threads, options.rounds)
        chosen = min(rows, key=lambda r: r[1])
        fastest = min(rows, key=lambda r: r[2])
        errors += [abs(chosen[1] / chosen[2] - 1)] * case.count
        lost += case.count * (chosen[2] - fastest[2])
        best_total += case.count * fastest[2]
        if len(rows) > 1:
            total += case.count
            good = chosen[2] <= 1.05 * fastest[2]
            right += case.count * good
            spec = case.graph.specs[case.node.inputs[0]]
            kernel = case.graph.specs.get(case.node.inputs[1]) if len(case.node.inputs) > 1 else ""
            detail = "  ".join(f"{a} {p * 1e3:.3f}/{m * 1e3:.3f}" for a, p, m in rows)
            print(
                f"{'ok   ' if good else 'WRONG'} x{case.count:<3} {case.node.op} {spec} {kernel}: {detail}",
                flush=True,
            )
    if total:
        print(f"chosen within 5 % of the fastest: {right} of {total} operators ({right / total:.1%})")
    print(f"time lost by choices: {lost * 1e3:.3f} ms of {best_total * 1e3:.3f} ms")
    print(f"error of the predicted time, median over operators: {statistics.median(errors):.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
