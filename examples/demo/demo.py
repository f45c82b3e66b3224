"""Fits a small network on real handwritten digits, ranks the installed backends for it and runs it on each.

    python examples/demo/demo.py --out build/demo

Writes digits.onnx, digits.png (digits with predictions) and ranking.png (predicted against measured time). With the
models of WALLE_MODELS it also classifies a photo and finds the faces in another one. Then a server releases three versions
of a task to a fleet: dashboard/ (with Chromium) and releases.png show how that went.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from digits import export, train
from fleet.story import Story
from photos import classify, faces
from rich.console import Console

import walle_core as walle

say = Console(highlight=False).print


def picture(images: np.ndarray, labels: np.ndarray, shares: np.ndarray, out: Path) -> None:
    """48 digits with the predicted class; wrong ones in red."""
    figure, axes = plt.subplots(4, 12, figsize=(12, 4.8))
    for axis, image, label, share in zip(axes.flat, images, labels, shares, strict=False):
        guess = int(share.argmax())
        axis.imshow(image.reshape(8, 8), cmap="gray_r")
        axis.set_title(
            f"{guess} ({share[guess]:.0%})", fontsize=8, color="black" if guess == label else "red"
        )
        axis.axis("off")
    figure.suptitle("Handwritten digits and what the network reads")
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def bars(ranking: Any, out: Path) -> None:
    """Predicted and measured time per backend, logarithmic."""
    names = [row.backend for row in ranking]
    figure, axis = plt.subplots(figsize=(7, 3.6))
    at = np.arange(len(names))
    axis.bar(at - 0.2, [row.predicted_s * 1e6 for row in ranking], 0.4, label="predicted")
    axis.bar(at + 0.2, [row.measured_s * 1e6 for row in ranking], 0.4, label="measured")
    axis.set_xticks(at, names)
    axis.set_yscale("log")
    axis.set_ylabel("microseconds per run")
    axis.set_title("Which backend runs the digits network fastest")
    axis.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)


def main() -> int:
    """Runs the demonstration; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/demo"))
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)

    say("[bold]1.[/] fitting a network with two hidden layers on scikit-learn's digits")
    network, images, labels = train()
    export(network, out / "digits.onnx", len(images))
    graph = walle.load(out / "digits.onnx")

    say("[bold]2.[/] ranking the installed backends (each device is calibrated once)")
    ranking = walle.rank(graph, threads=2, measure=True, inputs={"image": images})
    say(ranking.table(), markup=False)

    say("[bold]3.[/] running on every backend")
    results = {}
    for row in ranking:
        shares = np.asarray(walle.Session(graph, backend=row.backend).run({"image": images})["probability"])
        results[row.backend] = shares
        say(
            f"   {row.backend:<10} accuracy {np.mean(shares.argmax(1) == labels):.1%} on {len(labels)} unseen digits"
        )
    first = results[ranking[0].backend]
    apart = max(float(np.abs(shares - first).max()) for shares in results.values())
    say(f"   largest difference between backends: {apart:.1e}")
    picture(images, labels, first, out / "digits.png")
    bars(ranking, out / "ranking.png")

    models = Path(os.environ.get("WALLE_MODELS", "../shared/models"))
    samples = models / "real" / "samples"
    if samples.is_dir():
        say("[bold]4.[/] photos")
        cat = samples / "onnx_tutorials_cat.jpg"
        best = classify(models / "real" / "squeezenet11_imagenet.onnx", cat, out / "cat.png")
        say(
            "   cat photo: "
            + ", ".join(f"ImageNet class {i} ({p:.0%})" for i, p in best)
            + "; 281 to 285 are cats"
        )
        crowd = samples / "ultraface_27_people.jpg"
        say(f"   faces found: {faces(models / 'real' / 'rfb320_face.onnx', crowd, out / 'faces.png')}")
    else:
        say(f"[bold]4.[/] photos: skipped, no models in {models} (set WALLE_MODELS)")
    came_out = Story(out).tell()
    say(f"pictures and models are in {out}")
    return 0 if came_out else 1


if __name__ == "__main__":
    sys.exit(main())
