"""``walle convert``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import walle_core as walle
from walle_core.cli.common import (
    backend_option,
    json_option,
    print_json,
    print_table,
    progress,
    threads_option,
    walle_command,
)

EXIT_DIFFERENT = 1
# Share of the largest output that the new model may be off by, unless --tolerance says another: rounding of sums in
# another order, of 11 and of 8 bits; quantisation, which its own report judges better.
TOLERANCE = {"": 0.0, "optimize": 1e-4, "float16": 1e-2, "bfloat16": 5e-2, "quantize": 0.5}


@walle_command(
    """walle convert net.tflite net.walle
walle convert net.onnx net.walle --optimize --precision float16
walle convert net.onnx small.walle --quantize photos/ --tolerance 0.1
walle convert net.tflite net.onnx --input cat.jpg"""
)
@click.argument("source", type=click.Path(exists=True, dir_okay=False))
@click.argument("target", type=click.Path(dir_okay=False))
@click.option(
    "--optimize", is_flag=True, help="Compute constants, fold normalisations, drop what no output needs."
)
@click.option(
    "--precision", type=click.Choice(["float32", "float16", "bfloat16"]), default="float32", show_default=True,
    help="Store float32 weights in this type; runs stay in float32.",
)  # fmt: skip
@click.option(
    "--quantize", "calibration", type=click.Path(exists=True, file_okay=False), default=None, metavar="FOLDER",
    help="8-bit integers, calibrated with the typical inputs in FOLDER (see walle quantize).",
)  # fmt: skip
@click.option(
    "--input",
    "-i",
    "files",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Compare on these inputs instead of drawn ones.",
)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True, help="Inputs to draw.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn inputs.")
@click.option(
    "--tolerance", type=click.FloatRange(0), default=None, metavar="SHARE",
    help="Of the largest output that the new model may be off by. Default: 0 for a plain conversion, else by the options.",
)  # fmt: skip
@click.option(
    "--check/--no-check", default=True, show_default=True, help="Compare the outputs of both models."
)
@backend_option
@threads_option
@json_option
def command(
    source: str, target: str, optimize: bool, precision: str, calibration: str | None, files: tuple[str, ...], runs: int,
    seed: int, tolerance: float | None, check: bool, backend: str | None, threads: int, as_json: bool,
) -> int:  # fmt: skip
    """Convert SOURCE to the format that TARGET's name ends with, and say what changed.

    The written file is read again, and both models are run on the same inputs. The exit code is 1 if their outputs
    differ by more than --tolerance.
    """
    from walle_core import conversion
    from walle_core.cli.inputs import collect
    from walle_core.errors import InputError
    from walle_core.saving import save, saver_of

    saver_of(target)  # before any work
    if Path(target).exists() and Path(target).samefile(source):
        raise InputError(f"{target} is the model itself; write to another file")
    before = walle.load(source)
    with progress("convert") as step:
        made = _changed(before, optimize, precision, calibration, threads, step)
        step("writing")
        save(made, target)
        after = walle.load(target)
        found = []
        if check:
            step("comparing")
            inputs = (
                [collect(before, files)]
                if files
                else [conversion.draw(before, s) for s in range(seed, seed + runs)]
            )
            found = conversion.compare(before, after, inputs, backend=backend, threads=threads)
    asked = [TOLERANCE["optimize"]] * optimize + [TOLERANCE["quantize"]] * bool(calibration)
    allowed = tolerance if tolerance is not None else max([TOLERANCE.get(precision, 0.0), *asked])
    worst = max((d.relative for d in found), default=0.0)
    passed = worst <= allowed
    counts = [conversion.summary(g, Path(p).stat().st_size) for g, p in ((before, source), (after, target))]
    if as_json:
        rows = [
            {"name": d.name, "largest": d.largest, "relative": d.relative, "equal": d.equal} for d in found
        ]
        print_json(
            {
                "out": target,
                "before": counts[0],
                "after": counts[1],
                "outputs": rows,
                "tolerance": allowed,
                "passed": passed,
            }
        )
        return 0 if passed else EXIT_DIFFERENT
    _show(counts, found)
    if not check:
        click.echo(f"{target}: written; outputs were not compared")
    elif passed:
        equal = all(d.equal for d in found)
        click.echo(
            f"{target}: written; outputs are {'the same in every bit' if equal else f'within {allowed:g} of the largest'}"
        )
    else:
        click.echo(
            f"{target}: written, but its outputs are off by {worst:.3g} of the largest, more than {allowed:g}"
        )
    return 0 if passed else EXIT_DIFFERENT


def _changed(
    graph: Any, optimize: bool, precision: str, calibration: str | None, threads: int, step: Any
) -> Any:
    from walle_core import conversion

    if optimize:
        step("optimising")
        graph = conversion.optimise(graph)
    if calibration:
        from walle_core.cli.quantize import batches
        from walle_core.quantization import quantize
        from walle_core.ranking import bind_shapes

        graph = bind_shapes(graph)
        graph, _ = quantize(graph, batches(graph, calibration, 256), threads=threads, progress=step)
    if precision != "float32":
        step("storing weights")
        graph = conversion.narrow(graph, precision)
    return graph


def _show(counts: Sequence[Any], found: Sequence[Any]) -> None:
    old, new = counts
    rows: list[tuple[str, ...]] = [
        ("operators", str(sum(old.operators.values())), str(sum(new.operators.values())))
    ]
    for op in sorted({*old.operators, *new.operators}):
        pair = old.operators.get(op, 0), new.operators.get(op, 0)
        if pair[0] != pair[1]:
            rows.append((f"  {op}", *map(str, pair)))
    rows.append(("weights, bytes", f"{sum(old.weights.values()):,}", f"{sum(new.weights.values()):,}"))
    for kind in sorted({*old.weights, *new.weights}):
        rows.append((f"  {kind}", f"{old.weights.get(kind, 0):,}", f"{new.weights.get(kind, 0):,}"))
    rows.append(("file, bytes", f"{old.bytes:,}", f"{new.bytes:,}"))
    print_table(("what", ">before", ">after"), rows)
    if found:
        lines = [(d.name, f"{d.largest:.3g}", f"{d.relative:.3g}", "yes" if d.equal else "no") for d in found]
        print_table(("output", ">largest difference", ">share of largest", "every bit"), lines)
