"""Models in other engines' formats, each converted once: engines.py asks for them before its clock starts.

A conversion that fails leaves its reason in `<target>.failed`, so that the next start does not wait for it again;
remove the folder of converted models to try again. As a program, it is one conversion in a process of its own, so that
the converter's memory is not the engine's:

    python benchmarks/conversions.py litert|pytorch MODEL.onnx TARGET
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

LIMIT = 1800  # seconds of one conversion
OPSET = 13  # the oldest operator set that onnx2torch reads in full


def load_arrays(model: Path, prefixes: Sequence[str] = ("in_",)) -> dict[str, np.ndarray]:
    """Arrays stored beside a model: its inputs, or with other prefixes its outputs, in the model's order."""
    with np.load(model.with_suffix(".npz"), allow_pickle=False) as data:
        return {k.partition("_")[2]: data[k] for k in data.files if k.startswith(tuple(prefixes))}


def converted(model: Path, folder: Path, suffix: str, command: Sequence[str]) -> Path:
    """The model in another engine's format, converted once. Raises RuntimeError with the tool's last error."""
    target = folder / f"{model.stem}{suffix}"
    failed = target.with_name(target.name + ".failed")
    if failed.exists():
        raise RuntimeError(failed.read_text(encoding="utf-8"))
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )  # fmt: skip
            said = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            said = f"no result after {LIMIT} s"
        if not target.exists():
            why = f"conversion failed: {reason(said)}"
            failed.write_text(why, encoding="utf-8")
            raise RuntimeError(why)
    return target


def reason(text: str) -> str:
    """The last line of a tool's output that names an error, since some print advice after it; else its end."""
    lines = [line.strip() for line in text.splitlines() if "error" in line.lower()]
    return (lines[-1] if lines else text.strip())[-250:]


def to_mnn(model: Path, folder: Path) -> Path:
    tool = (
        shutil.which(
            "mnnconvert", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        )
        or "mnnconvert"
    )
    target = folder / f"{model.stem}.mnn"
    command = [
        tool, "-f", "ONNX", "--modelFile", str(model.resolve()), "--MNNModel", str(target.resolve()), "--bizCode", "walle",
    ]  # fmt: skip
    return converted(model, folder, ".mnn", command)


def to_ncnn(model: Path, folder: Path) -> Path:
    inputs = load_arrays(model)
    codes = {"float32": "f32", "int64": "i64", "int32": "i32"}
    shapes = ",".join(f"[{','.join(map(str, v.shape))}]{codes[v.dtype.name]}" for v in inputs.values())
    copy = folder / f"{model.stem}.onnx"  # the converter writes beside its input
    folder.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        copy.symlink_to(model.resolve())
    tool = str(Path(sys.executable).parent / "pnnx")
    return converted(model, folder, ".ncnn.param", [tool, copy.name, f"inputshape={shapes}", "fp16=0"])


def to_litert(model: Path, folder: Path) -> Path:
    return own(model, folder, "litert", ".tflite")


def to_pytorch(model: Path, folder: Path) -> Path:
    return own(model, folder, "pytorch", ".pt")


def own(model: Path, folder: Path, engine: str, suffix: str) -> Path:
    target = (folder / f"{model.stem}{suffix}").resolve()
    command = [sys.executable, str(Path(__file__).resolve()), engine, str(model.resolve()), str(target)]
    return converted(model, folder, suffix, command)


def write_litert(model: Path, target: Path) -> None:
    """A .tflite file by onnx2tf, channels last. It overwrites its input and, for models of images, fetches photos to
    compare the two graphs with unless they lie in the working folder: it gets a copy, and noise for photos."""
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        copy = folder / model.name
        shutil.copy(model, copy)
        noise = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
        np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", noise)
        shapes = [f"{k}:{','.join(map(str, v.shape))}" for k, v in load_arrays(model).items()]
        command = [
            "onnx2tf", "-i", str(copy), "-o", "made", "--overwrite_input_shape", *shapes,
            "--non_verbose", "--verbosity", "error",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}, capture_output=True, text=True, check=False
        )  # fmt: skip
        made = folder / "made" / f"{model.stem}_float32.tflite"
        if not made.exists():
            raise SystemExit(reason(done.stdout + done.stderr))
        made.replace(target)


def write_pytorch(model: Path, target: Path) -> None:
    """The model as a pickled torch module, made by onnx2torch."""
    onnx2torch, torch = import_onnx2torch()
    import onnx
    from onnx import version_converter

    graph = onnx.load(str(model))
    if any(s.version < OPSET for s in graph.opset_import if s.domain in ("", "ai.onnx")):
        graph = version_converter.convert_version(graph, OPSET)
    for node in graph.graph.node:  # an empty last name says the same as none, and is not understood
        while node.input and not node.input[-1]:
            node.input.pop()
    unfinished = target.with_name(target.name + ".part")
    torch.save(onnx2torch.convert(graph).eval(), unfinished)
    unfinished.replace(target)


def import_onnx2torch() -> tuple[Any, Any]:
    """(onnx2torch, torch). onnx2torch imports torchvision for NonMaxSuppression and RoiAlign; where that cannot be
    imported (its build must fit torch's), an empty module takes its place, and a model with one of the two fails."""
    import torch

    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        package, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
        vars(package)["ops"], vars(ops)["roi_align"] = ops, None
        sys.modules.update({"torchvision": package, "torchvision.ops": ops})
    import onnx2torch

    return onnx2torch, torch


CONVERSIONS = {"mnn": to_mnn, "ncnn": to_ncnn, "litert": to_litert, "pytorch": to_pytorch}

if __name__ == "__main__":
    {"litert": write_litert, "pytorch": write_pytorch}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
