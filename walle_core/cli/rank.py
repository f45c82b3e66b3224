"""``walle rank``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from walle_core.cli.common import (
    console,
    json_option,
    milliseconds,
    model_argument,
    print_json,
    print_table,
    progress,
    threads_option,
    walle_command,
)
from walle_core.errors import InputError

if TYPE_CHECKING:
    from walle_core.ranking import Ranking


@walle_command(
    """walle rank model.onnx                            # predicted time per backend
walle rank model.onnx --measure --threads 1      # and the real one
walle rank model.onnx --why                      # per operator: backend, algorithm, reason
walle rank model.onnx --measure --plot rank.png"""
)
@model_argument
@click.option("--measure", is_flag=True, help="Also run the model on every backend.")
@click.option("--why", is_flag=True, help="List the algorithm per operator on the fastest backend.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, writable=True), help="Write a bar chart (needs matplotlib)."
)
@threads_option
@json_option
def command(model: str, measure: bool, why: bool, plot: str | None, threads: int, as_json: bool) -> None:
    """Rank the installed backends for MODEL by predicted time; the first one is what `walle run` uses.

    Each device is measured once (at most 2 s) and remembered.
    """
    import walle_core as walle

    with progress("ranking") as step:
        ranking = walle.rank(walle.load(model), threads=threads, measure=measure, progress=step)
    if plot:
        draw(ranking, plot, model)
    if as_json:
        print_json(ranking.to_json())
        return
    print_table(
        ("#", "backend", ">predicted ms", ">measured ms", ">own", "device"),
        [
            (i, r.backend, "-" if r.error else milliseconds(r.predicted_s), milliseconds(r.measured_s) or "-",
             f"{r.own:.0%}", r.error or r.device)
            for i, r in enumerate(ranking, 1)
        ],
        title=f"{model}, {threads} thread{'s' * (threads > 1)}; search took {milliseconds(ranking.search_s)} ms",
    )  # fmt: skip
    if why and len(ranking):
        best = ranking[0]
        rows = sorted(best.choices, key=lambda c: -c.predicted_s)
        print_table(
            (">predicted ms", ">share", "operator", "algorithm", "backend", "node", "why"),
            [
                (milliseconds(c.predicted_s), f"{c.predicted_s / best.predicted_s:.1%}", c.op, c.algorithm, c.backend,
                 c.node, c.why)
                for c in rows
            ],
            title=f"\noperators on {best.backend}, costliest first",
        )  # fmt: skip
    if plot:
        console().print(f"chart: {plot}")


def draw(ranking: Ranking, path: str, title: str) -> None:
    """Writes a bar chart of predicted and measured milliseconds. Raises InputError if matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install 'walle-core[plot]'") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [r for r in ranking if not r.error]
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.8 * max(1, len(rows))), constrained_layout=True)
    for offset, label, values in (
        (-0.2, "predicted", [r.predicted_s * 1e3 for r in rows]),
        (0.2, "measured", [r.measured_s * 1e3 if r.measured_s is not None else 0.0 for r in rows]),
    ):
        if any(values):
            bars = axes.barh([i + offset for i in range(len(rows))], values, height=0.38, label=label)
            axes.bar_label(bars, fmt="%.3g", padding=3)
    axes.set_yticks(range(len(rows)), [r.backend for r in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel(f"milliseconds per run, {ranking.threads} threads (log scale)")
    axes.set_title(title)
    axes.legend()
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write the chart to {path}: {error}") from error
    finally:
        plt.close(figure)
