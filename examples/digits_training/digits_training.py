"""Trains a small network from random weights to read handwritten digits, on this machine.

    python examples/digits_training/digits_training.py --out build/digits

Prints loss and accuracy per epoch, keeps a checkpoint per epoch, and goes on from it when started again; in the end it
writes the trained model as digits.onnx and digits.walle. The digits are scikit-learn's (walle-core[demo]).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import walle_core as walle
from walle_core import train
from walle_core.errors import CheckpointError
from walle_core.frontends import walle_file
from walle_core.frontends.onnx import writer
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph

BATCH, TRAINED_ON = 64, 1437  # digits of 1,797; the rest judge


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [N, 1, 8, 8] with values from 0 to 1, and what they show; in an order of the seed's."""
    data = load_digits()
    order = np.random.default_rng(seed).permutation(len(data.target))
    images = (data.images[order, None] / 16).astype(np.float32)
    return images, data.target[order].astype(np.int64)


def network(seed: int) -> Graph:
    """Two convolutions and a linear layer, with random weights."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    g = Builder()
    x = g.input("image", "float32", ("N", 1, 8, 8))
    bias = [g.const(np.zeros(n, np.float32)) for n in (16, 32, 10)]
    y = g.Relu(g.Conv(x, g.const(weight(16, 1, 3, 3)), bias[0], pads=[1, 1, 1, 1]))
    y = g.Relu(g.Conv(y, g.const(weight(32, 16, 3, 3)), bias[1], pads=[1, 1, 1, 1], strides=[2, 2]))
    y = g.Dropout(g.Flatten(y), g.const(0.2), g.const(False, "bool"))
    return g.graph([g.Gemm(y, g.const(weight(10, 512)), bias[2], transB=1)], name="digits")


def accuracy(graph: Graph, images: np.ndarray, labels: np.ndarray, threads: int) -> float:
    """Share of the pictures that the model reads right."""
    scores = walle.Session(graph, threads=threads).run([images])[graph.outputs[0]]
    return float((np.asarray(scores).argmax(1) == labels).mean())


def main() -> None:
    """Trains, reports, saves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/digits"), help="folder for checkpoint and models"
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", help="a backend's name; the search chooses by default")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    images, labels = digits(options.seed)
    batches = TRAINED_ON // BATCH
    trainer = train.Trainer(
        network(options.seed), train.CrossEntropy(), train.AdamW(2e-3), clip=1.0, seed=options.seed,
        schedule=train.Cosine(options.epochs * batches), backend=options.backend, threads=options.threads,
    )  # fmt: skip
    checkpoint = options.out / "checkpoint"
    try:
        print(f"goes on from {train.restore(trainer, checkpoint)}, step {trainer.step_count}")
    except CheckpointError:
        print("begins with random weights")
    start = time.perf_counter()
    for epoch in range(trainer.step_count // batches, options.epochs):
        order = np.random.default_rng((options.seed, epoch)).permutation(TRAINED_ON)
        losses = []
        for i in range(batches):
            chosen = order[i * BATCH : (i + 1) * BATCH]
            losses.append(trainer.step({"image": images[chosen]}, labels[chosen]))
        train.save(trainer, checkpoint)
        print(f"epoch {epoch + 1:2}: loss {np.mean(losses):.3f} after {time.perf_counter() - start:.1f} s")
    trained = trainer.graph()
    right = accuracy(trained, images[TRAINED_ON:], labels[TRAINED_ON:], options.threads)
    print(f"test accuracy {right:.1%} on {len(labels) - TRAINED_ON} digits that it was not trained on")
    writer.save(trained, options.out / "digits.onnx")
    walle_file.save(trained, options.out / "digits.walle")
    print(f"written: {options.out / 'digits.onnx'} and {options.out / 'digits.walle'}")


if __name__ == "__main__":
    main()
