"""``walle run``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from walle_core.cli.common import (
    backend_option,
    device_loss_option,
    json_option,
    milliseconds,
    model_argument,
    precision_option,
    print_json,
    print_table,
    progress,
    threads_option,
    walle_command,
)
from walle_core.cli.inputs import ImageOptions, collect
from walle_core.errors import InputError
from walle_core.ops.numpy_lazy import np


def _numbers(_ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(v) for v in value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a list of numbers such as 0.5 or 1,2,3", param=param
        ) from None


@walle_command(
    """walle run classifier.onnx --input cat.jpg --labels imagenet.txt
walle run detector.onnx --input people.jpg --mean 127 --scale 128 --outputs boxes.npz
walle run vad.onnx --input speech.wav --zeros
walle run model.onnx --inputs in.npz --outputs out.npz --backend reference --threads 1
walle run model.onnx --input ids=ids.npy --input mask=mask.npy --set temperature=0.7"""
)
@model_argument
@click.option(
    "--input",
    "-i",
    "files",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Image, .wav, .npy or .npz; repeatable.",
)
@click.option(
    "--inputs",
    "bundle",
    type=click.Path(exists=True, dir_okay=False),
    help=".npz with all inputs (NAME or in_NAME).",
)
@click.option("--set", "values", multiple=True, metavar="NAME=NUMBER", help="Fill an input with a number.")
@click.option("--zeros", is_flag=True, help="Fill inputs that were not given with zeros.")
@click.option("--outputs", type=click.Path(dir_okay=False), help="Write the outputs to this .npz.")
@click.option(
    "--labels", type=click.Path(exists=True, dir_okay=False), help="Class names: one per line, or JSON."
)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes to show.")
@click.option(
    "--mean",
    callback=_numbers,
    metavar="M[,M,M]",
    help="Subtracted from pixels 0..255. [default: ImageNet's]",
)
@click.option(
    "--scale", callback=_numbers, metavar="S[,S,S]", help="Pixels are divided by it. [default: ImageNet's]"
)
@click.option(
    "--layout", type=click.Choice(["NCHW", "NHWC"]), help="Of an image input; default: by its shape."
)
@click.option(
    "--channels",
    type=click.Choice(["rgb", "bgr"]),
    default="rgb",
    show_default=True,
    help="Order of colours.",
)
@click.option(
    "--fit",
    type=click.Choice(["stretch", "crop"]),
    default="stretch",
    show_default=True,
    help="To the model's size.",
)
@backend_option
@precision_option
@device_loss_option
@threads_option
@json_option
def command(
    model: str, files: tuple[str, ...], bundle: str | None, values: tuple[str, ...], zeros: bool, outputs: str | None,
    labels: str | None, top: int, mean: tuple[float, ...] | None, scale: tuple[float, ...] | None, layout: str | None,
    channels: str, fit: str, backend: str | None, precision: str,
    on_device_loss: str, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Run MODEL once on files and show its outputs; a classifier's as its most likely classes."""
    import walle_core as walle

    graph = walle.load(model)
    names = read_labels(labels) if labels else None
    feeds = collect(
        graph, files, bundle, values, image=ImageOptions(mean, scale, layout, channels, fit), zeros=zeros
    )
    with progress("run") as step:
        step("preparing")
        session = walle.Session(
            graph, backend=backend, threads=threads, precision=precision, on_device_loss=on_device_loss
        )
        step("running")
        start = time.perf_counter()
        made = session.run(feeds)
        seconds = time.perf_counter() - start
    arrays = {
        name: np.asarray(value) if not isinstance(value, (list, type(None))) else value
        for name, value in made.items()
    }
    if outputs:
        save(outputs, arrays)
    rows = [describe(name, value, names, top) for name, value in arrays.items()]
    used = sorted({row["backend"] for row in session.describe()})
    if as_json:
        print_json(
            {"model": model, "seconds": seconds, "backends": used, "lost": session.lost, "outputs": rows}
        )
        return
    if session.lost:
        click.echo(f"given up because their devices failed: {', '.join(session.lost)}", err=True)
    print_table(
        ("output", "dtype", "shape", ">min", ">max", ">mean"),
        [
            (r["name"], r["dtype"], r["shape"], *(_short(r.get(k)) for k in ("min", "max", "mean")))
            for r in rows
        ],
        title=f"{model} on {', '.join(used) or 'host'}: {milliseconds(seconds)} ms (first run)",
    )
    for row in rows:
        if row.get("top"):
            print_table(
                (">class", ">probability", "label"),
                [(t["class"], f"{t['probability']:.4f}", t.get("label", "")) for t in row["top"]],
                title=f"\n{row['name']}",
            )


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.6g}"


def read_labels(path: str) -> list[str]:
    """Class names from a text file (one per line) or JSON (list, or mapping of index to name or to list of names)."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: labels cannot be read as UTF-8 text: {error}") from error
    if text.lstrip()[:1] not in ("[", "{"):
        return text.splitlines()
    try:
        data = json.loads(text)
        if isinstance(data, dict):
            data = [data[key] for key in sorted(data, key=int)]
        return [str(v[-1] if isinstance(v, list) else v) for v in data]
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path}: labels must be lines, a JSON list, or a JSON object with class numbers ({error})"
        ) from None


def save(path: str, arrays: dict[str, Any]) -> None:
    """Writes outputs under their names to an .npz. Raises InputError if one is no array or the file cannot be written."""
    if bad := [n for n, v in arrays.items() if getattr(v, "dtype", np.dtype(object)).kind == "O"]:
        raise InputError(f"output {bad[0]!r} is no numeric array and cannot be written to {path}")
    try:
        with Path(path).open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise InputError(
            f"outputs cannot be written to {path}: {error.strerror or error}; check folder and space"
        ) from error


def describe(name: str, value: Any, labels: list[str] | None, top: int) -> dict[str, Any]:
    """Facts about one output; for scores of classes also the `top` most likely ones, by softmax where they need one."""
    if not hasattr(value, "dtype") or value.dtype.kind == "O":
        return {
            "name": name,
            "dtype": type(value).__name__,
            "shape": str(getattr(value, "shape", "")),
            "value": str(value)[:200],
        }
    row: dict[str, Any] = {"name": name, "dtype": str(value.dtype), "shape": list(value.shape)}
    if value.size and value.dtype.kind in "fiub":
        row |= {
            "min": float(value.min()),
            "max": float(value.max()),
            "mean": float(value.mean(dtype=np.float64)),
        }
        if value.size <= 8:
            row["value"] = value.tolist()
    scores = value.reshape(-1).astype(np.float64) if value.dtype.kind == "f" else None
    is_row = value.ndim >= 1 and value.size == max(value.shape) >= 3 and max(value.shape) in value.shape[:2]
    if scores is not None and is_row and np.isfinite(scores).all() and (labels or value.ndim in (1, 2, 4)):
        if scores.min() < 0 or abs(scores.sum() - 1) > 0.01:
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = np.argsort(-scores, kind="stable")[:top]
        row["top"] = [
            {"class": int(i), "probability": float(scores[i])}
            | ({"label": labels[i]} if labels and i < len(labels) else {})
            for i in best
        ]
    return row
