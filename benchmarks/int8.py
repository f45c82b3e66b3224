"""Quantises networks with Walle and with ONNX Runtime, runs both in every engine side by side, and counts equal answers.

    python benchmarks/int8.py --python .venv-peers/bin/python [--paper build/paper] [--seconds 1] [--threads 1 2]

Latency: ONNX Runtime's QDQ file, with weights of 8 and of 7 bits (its reduce_range), in ONNX Runtime, OpenVINO and Walle, and
Walle's own QDQ file in Walle, each engine in a process of its own, timed in turns; the ratio is Walle (of the same file) to the
fastest other engine. Agreement: the float
network and Walle's QDQ network on 200 seeded crops and colour changes of the sample photos, of which calibration saw others.
Needs the packages onnx, onnxruntime and Pillow here, and the engines where --python is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from peers import Worker

import walle_core
from walle_core.cli.inputs import IMAGENET_MEAN, IMAGENET_SCALE
from walle_core.quantization import quantize
from walle_core.saving import save

ROUNDS = 7  # every engine is timed so often, in turns
NAMES = ("walle8", "walle7", "onnxruntime8", "onnxruntime7", "float")
CROPS, SHOWN = 200, 32  # for agreement and for calibration
PHOTOS = (
    "onnx_tutorials_cat.jpg",
    "onnx_tutorials_dog.jpg",
    "yolox_dog_bicycle_car.jpg",
    "ultraface_27_people.jpg",
)


def crops(folder: Path, seed: int, count: int) -> Iterator[np.ndarray]:
    """Seeded crops of the sample photos, [1, 3, 224, 224], with changed brightness, contrast and colour."""
    from PIL import Image

    photos = [Image.open(folder / name).convert("RGB") for name in PHOTOS]
    rng = np.random.default_rng(seed)
    for index in range(count):
        photo = photos[index % len(photos)]
        side = int(min(photo.size) * rng.uniform(0.5, 1.0))
        left, top = (int(rng.integers(0, n - side + 1)) for n in photo.size)
        crop = photo.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR)
        pixels = np.asarray(crop, np.float32)[:, :: -1 if rng.random() < 0.5 else 1]
        mean = pixels.mean()
        pixels = (pixels - mean) * rng.uniform(0.7, 1.3) + mean * rng.uniform(0.7, 1.3)
        pixels = np.clip(pixels * rng.uniform(0.9, 1.1, 3), 0, 255)
        pixels = (pixels - IMAGENET_MEAN) / IMAGENET_SCALE
        yield np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def onnxruntime_quantised(model: Path, out: Path, name: str, data: list[np.ndarray], bits: int) -> None:
    """ONNX Runtime's static quantisation: QDQ, uint8 activations, int8 weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.items = iter(data)

        def get_next(self) -> dict[str, Any] | None:
            x = next(self.items, None)
            return None if x is None else {name: x}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(out), Reader(), per_channel=True, reduce_range=bits == 7,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip


def latency(
    files: dict[str, Path],
    bits: int,
    outputs: tuple[str, ...],
    threads: int,
    python: str,
    seconds: float,
    folder: Path,
) -> str:
    """One line: milliseconds per engine (the median of its rounds' medians), and the ratio."""
    theirs, own = files[f"onnxruntime{bits}"], files[f"walle{bits}"]
    jobs = {
        "onnxruntime": ("onnxruntime", theirs, python), "openvino": ("openvino", theirs, python),
        "walle": ("walle", theirs, sys.executable), "walle, own file": ("walle", own, sys.executable),
        "walle, float": ("walle", files["float"], sys.executable),
    }  # fmt: skip
    workers = {
        k: Worker(engine, file, threads, folder, where, outputs) for k, (engine, file, where) in jobs.items()
    }
    times: dict[str, list[float]] = {k: [] for k, w in workers.items() if "error" not in w.facts}
    try:
        for _ in range(ROUNDS):
            for key, kept in times.items():
                kept.append(float(np.median(workers[key].ask(f"time {seconds / ROUNDS}"))))
    finally:
        for worker in workers.values():
            worker.close()
    medians = {k: 1e3 * float(np.median(v)) for k, v in times.items()}
    peer = min(medians.get(k, float("inf")) for k in ("onnxruntime", "openvino"))
    shown = "  ".join(f"{k} {v:.2f} ms" for k, v in medians.items())
    return f"{bits}-bit weights, {threads} threads: {shown}  ratio {medians['walle'] / peer:.2f}"


def main() -> None:
    """Prints what the module says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True, help="interpreter that has the other engines")
    parser.add_argument(
        "--models", type=Path, default=Path(os.environ.get("WALLE_MODELS", "../shared/models"))
    )
    parser.add_argument("--paper", type=Path, default=Path("build/paper"), help="folder of resnet50.onnx")
    parser.add_argument("--seconds", type=float, default=3.0, help="per engine")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--folder", type=Path, default=Path("build/int8"), help="for quantised files, which are kept"
    )
    parser.add_argument("--only", nargs="*", default=(), help="models; default: both")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    photos = options.models / "real" / "samples"
    chosen = (options.models / "real" / "mobilenetv2_imagenet.onnx", options.paper / "resnet50.onnx")
    for model in (m for m in chosen if not options.only or m.stem in options.only):
        graph = walle_core.load(model)
        (name,) = (n for n in graph.inputs if n not in graph.constants)
        files = {k: options.folder / f"{model.stem}_{k}.onnx" for k in NAMES}
        if not all(f.exists() for f in files.values()):
            shown = list(crops(photos, 1, SHOWN))
            for bits in (8, 7):
                onnxruntime_quantised(model, files[f"onnxruntime{bits}"], name, shown, bits)
                save(quantize(graph, [{name: x} for x in shown], weight_bits=bits)[0], files[f"walle{bits}"])
            shutil.copyfile(model, files["float"])
        for file in files.values():
            shutil.copyfile(model.with_suffix(".npz"), file.with_suffix(".npz"))
        print(model.stem)
        for key in NAMES[:-1] if model.parent.name == "real" else ():  # trained
            real, made = (walle_core.Session(str(files[k])) for k in ("float", key))
            same = 0
            for x in crops(photos, 2, CROPS):
                a, b = (np.asarray(next(iter(s.run({name: x}).values()))) for s in (real, made))
                same += int(a.argmax() == b.argmax())
            print(f"  same top-1 as float32, quantised by {key}: {100 * same / CROPS:.1f} % of {CROPS}")
        for bits, threads in product((8, 7), options.threads):
            line = latency(
                files, bits, graph.outputs, threads, options.python, options.seconds, options.folder
            )
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
