"""Ranks the installed backends for a model: predicted, measured, and how well the one foretells the other.

    python examples/rank.py [MODEL.onnx] [--threads 2] [--plot ranking.png]

Without a model it ranks them for a small convolutional network that is made here.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import walle_core as walle
from walle_core.ranking import Ranked


def small() -> walle.Graph:
    """Three convolutions, pooling, a matrix product and a softmax, with weights fixed by a seed."""
    g, rng = walle.Builder(), random.Random(0)

    def weights(*sizes: int) -> str:
        count = 1
        for size in sizes:
            count *= size
        flat = walle.Tensor.of([rng.gauss(0, 0.1) for _ in range(count)], "float32")
        return g.Reshape(g.const(flat), g.const(list(sizes)))

    value = g.input("image", "float32", (1, 3, 64, 64))
    for before, after in ((3, 16), (16, 32), (32, 64)):
        value = g.MaxPool(
            g.Relu(g.Conv(value, weights(after, before, 3, 3), pads=[1] * 4)),
            kernel_shape=[2, 2],
            strides=[2, 2],
        )
    value = g.Reshape(g.GlobalAveragePool(value), g.const([1, 64]))
    return g.graph([g.Softmax(g.MatMul(value, weights(64, 10)), axis=-1)], "small")


def main() -> int:
    """Prints the ranking; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    graph = walle.load(options.model) if options.model else small()
    ranking = walle.rank(graph, threads=options.threads, measure=True)
    print(ranking.table())
    print(f"the search took {ranking.search_s * 1e3:.0f} ms")
    known = [row for row in ranking if not row.error and row.measured_s]
    pairs = [(a, b) for i, a in enumerate(known) for b in known[i + 1 :]]
    right = sum((a.predicted_s < b.predicted_s) == (a.measured_s < b.measured_s) for a, b in pairs)
    print(f"the prediction puts {right} of {len(pairs)} pairs of backends into the order that was measured")
    if options.plot:
        plot(known, options.plot)
    return 0


def plot(rows: list[Ranked], file: Path) -> None:
    """Two bars per backend, on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 3.6))
    at = range(len(rows))
    axis.bar([x - 0.2 for x in at], [row.predicted_s * 1e3 for row in rows], 0.4, label="predicted")
    axis.bar([x + 0.2 for x in at], [row.measured_s * 1e3 for row in rows], 0.4, label="measured")
    axis.set_xticks(list(at), [row.backend for row in rows])
    axis.set(yscale="log", ylabel="milliseconds per run")
    axis.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
