"""``walle quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import walle_core as walle
from walle_core.binding import fits
from walle_core.cli.common import (
    json_option,
    model_argument,
    print_json,
    print_table,
    progress,
    threads_option,
    walle_command,
)
from walle_core.errors import InputError

LAYERS = 8  # of the worst ones that are shown


def batches(graph: Any, folder: str, limit: int) -> list[dict[str, Any]]:
    """One run's inputs per file of a folder: .npz with all inputs, or an array, image or sound for the only input."""
    from walle_core.cli.inputs import collect

    files = sorted(p for p in Path(folder).iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise InputError(f"{folder} holds no file; put calibration data there, one run's inputs per file")
    found = []
    for path in files[:limit]:
        try:
            feeds = collect(graph, [str(path)])
        except InputError as error:
            raise InputError(f"calibration file {path}: {error}") from error
        for name, value in feeds.items():
            wanted = graph.specs[name].shape
            if wanted is not None and not fits(value.shape, wanted):
                raise InputError(
                    f"calibration file {path}: input {name!r} has shape {list(value.shape)}, needs {list(wanted)}"
                )
        found.append(feeds)
    return found


@walle_command(
    "walle quantize net.onnx --calibration photos/ --out net.int8.walle\n"
    "walle quantize net.onnx --calibration photos/ --method entropy --exclude /head/Gemm\n"
    "walle quantize net.onnx --calibration photos/ --weight-bits 7 --sqnr 22"
)
@model_argument
@click.option(
    "--calibration",
    required=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder with typical inputs: one .npz, .npy, image or sound per run.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default=None,
    help="A .walle or .onnx file; default: MODEL with the ending .int8.walle.",
)
@click.option(
    "--method",
    type=click.Choice(["mse", "minmax", "percentile", "entropy"]),
    default="mse",
    show_default=True,
)
@click.option(
    "--percentile", type=float, default=99.99, show_default=True, help="Share of elements inside the range."
)
@click.option(
    "--exclude", multiple=True, metavar="NAME", help="An operator that stays in float32; may be repeated."
)
@click.option("--bias-correction/--no-bias-correction", default=True, show_default=True)
@click.option(
    "--weight-bits",
    type=click.Choice(["7", "8"]),
    default="8",
    show_default=True,
    help="7 is faster on x86 processors without VNNI.",
)
@click.option(
    "--sqnr",
    type=float,
    default=None,
    metavar="DB",
    help="Keep the most sensitive operators in float32, until the outputs are so far above the noise.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=256, show_default=True, help="Files to take at most."
)
@threads_option
@json_option
def command(
    model: str, calibration: str, out: str | None, method: str, percentile: float, exclude: tuple[str, ...],
    bias_correction: bool, weight_bits: str, sqnr: float | None, limit: int, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Quantise a float32 model to 8-bit integers with typical inputs, and say how close it stays."""
    from walle_core.quantization import quantize
    from walle_core.ranking import bind_shapes
    from walle_core.saving import save

    graph = bind_shapes(walle.load(model))
    data = batches(graph, calibration, limit)
    target = Path(out) if out else Path(model).with_suffix(".int8.walle")
    with progress("quantise") as step:
        made, report = quantize(
            graph, data, method=method, percentile=percentile, exclude=exclude, bias_correction=bias_correction,
            weight_bits=int(weight_bits), sqnr_db=sqnr, threads=threads, progress=step,
        )  # fmt: skip
    save(made, target)
    before, after = Path(model).stat().st_size, target.stat().st_size
    if as_json:
        print_json({"out": str(target), "bytes": [before, after], "report": report})
        return
    top1 = "" if report.top1 is None else f", same first class in {report.top1:.1%} of rows"
    click.echo(
        f"{target}: {after / 1e6:.1f} MB instead of {before / 1e6:.1f}; {report.quantised} operators in 8-bit integers"
    )
    click.echo(f"on {len(data)} calibration runs: cosine {report.cosine:.5f}, {report.sqnr_db:.1f} dB{top1}")
    print_table(("worst operators", ">SQNR dB"), [(n, f"{db:.1f}") for n, db in report.layers[:LAYERS]])
