"""Classifies a photo: SqueezeNet's three likeliest ImageNet classes.

    python examples/classify.py [PHOTO] [--model MODEL.onnx]

Needs walle-core[image]; model and photo come from the folder WALLE_MODELS unless others are named. Resizing, colours and layout are the
session's first step: one pass, on any size of picture.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import walle_core as walle
from walle_core import cv

MODELS = (
    Path(os.environ.get("WALLE_MODELS", Path(__file__).resolve().parents[2] / "shared" / "models")) / "real"
)
MEAN = (104.0, 117.0, 123.0)  # of ImageNet, blue, green, red: what this SqueezeNet was fitted to


def main() -> int:
    """Prints class numbers and probabilities; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", nargs="?", type=Path, default=MODELS / "samples" / "onnx_tutorials_cat.jpg")
    parser.add_argument("--model", type=Path, default=MODELS / "squeezenet11_imagenet.onnx")
    options = parser.parse_args()
    for file in (options.photo, options.model):
        if not file.is_file():
            print(
                f"{file}: there is no such file; set WALLE_MODELS, or name a photo and a model",
                file=sys.stderr,
            )
            return 2
    graph = walle.load(options.model)
    (name,) = graph.inputs
    height, width = graph.specs[name].sizes[2:]
    prepare = cv.Preprocess((width, height), mean=MEAN)
    session = walle.Session(graph, preprocess={name: prepare})
    picture = cv.imread(str(options.photo))
    (row,) = next(iter(session.run({name: picture}).values())).tolist()
    best = sorted(range(len(row)), key=row.__getitem__, reverse=True)[:3]
    print(f"{options.photo.name}, {picture.shape[1]} x {picture.shape[0]}, on {', '.join(session.backends)}")
    for number in best:
        print(f"  class {number:>3}  {row[number]:6.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
