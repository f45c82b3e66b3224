"""Does the predicted ranking of the backends hold? Every model on every backend, predicted and measured.

    python benchmarks/ranking.py --models ../shared/models --paper build/paper --threads 1 2 [--json out.json]

Prints, per model and number of threads, each backend's predicted and measured time and whether the backend predicted
fastest is the one measured fastest; then the search time, and Spearman's rank correlation of predicted and measured
times: over all rows, and per backend over the models.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import walle_core as walle


def judge(model: Path, threads: int) -> dict[str, Any]:
    """Predicted and measured seconds per backend for one model."""
    with np.load(model.with_suffix(".npz"), allow_pickle=False) as data:
        inputs = {k[3:]: data[k] for k in data.files if k.startswith("in_")}
    shapes = {name: value.shape for name, value in inputs.items()}
    ranking = walle.rank(walle.load(model), threads=threads, measure=True, inputs=inputs, shapes=shapes)
    times = {r.backend: (r.predicted_s, r.measured_s) for r in ranking if not r.error}
    return {
        "model": model.stem, "threads": threads, "search_s": ranking.search_s, "times": times,
        "predicted_best": min(times, key=lambda b: times[b][0]), "measured_best": min(times, key=lambda b: times[b][1]),
    }  # fmt: skip


def correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's rank correlation of (predicted, measured)."""
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def main() -> int:
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
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = sorted(options.paper.glob("*.onnx")) + sorted((options.models / "real").glob("*.onnx"))
    wanted = set(filter(None, options.only.split(",")))
    rows = []
    for file in files:
        if wanted and file.stem not in wanted:
            continue
        for threads in options.threads:
            row = judge(file, threads)
            rows.append(row)
            times = "  ".join(
                f"{name} {1e3 * p:.3f}/{1e3 * m:.3f}" for name, (p, m) in sorted(row["times"].items())
            )
            verdict = "ok" if row["predicted_best"] == row["measured_best"] else "WRONG"
            print(
                f"{row['model']:<26} {threads} thread(s)  {verdict:<5}  search {1e3 * row['search_s']:6.1f} ms  "
                f"predicted/measured ms: {times}",
                flush=True,
            )
    right = sum(row["predicted_best"] == row["measured_best"] for row in rows)
    print(f"predicted best is measured best: {right} of {len(rows)}")
    by_backend: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, pair in row["times"].items():
            by_backend.setdefault(name, []).append(pair)
    everything = [pair for pairs in by_backend.values() for pair in pairs]
    if len(rows) > 1:
        print(f"Spearman, all backends and models: {correlation(everything):.3f}")
        for name, pairs in sorted(by_backend.items()):
            print(f"Spearman, {name}: {correlation(pairs):.3f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0 if right == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
