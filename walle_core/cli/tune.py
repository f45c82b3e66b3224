"""``walle tune``."""

from __future__ import annotations

import re
from typing import Any

import attrs
import click

from walle_core.cli.common import (
    json_option,
    milliseconds,
    model_argument,
    print_json,
    print_table,
    progress,
    threads_option,
    walle_command,
)

UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0}


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Seconds from text like 500ms, 2s or 1.5min; a bare number is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) *(ms|s|min)?", str(value))
        if found is None or float(found[1]) == 0:
            self.fail(f"{value!r} is no duration; write 500ms, 2s or 1.5min", param, ctx)
        return float(found[1]) * UNITS[found[2] or "s"]


@walle_command(
    "walle tune model.onnx                        # 2 s on the backend that walle rank puts first\n"
    "walle tune model.onnx --backend NAME --budget 30s"
)
@model_argument
@click.option(
    "--budget", type=Duration(), default="2s", show_default=True, help="Begin nothing new after this time."
)
@click.option(
    "--backend", default=None, help="Tune this one; default: the one that is predicted to be fastest."
)
@threads_option
@json_option
def command(model: str, budget: float, backend: str | None, threads: int, as_json: bool) -> None:
    """Measure the algorithms that MODEL's operators could use, and remember the fastest for later runs.

    The search predicts from the rates of a device; this asks the device itself, the costliest operators first. What is
    found holds for this device, and for every model that has the same operators with the same shapes.
    """
    import walle_core as walle
    from walle_core.engines import engines_for
    from walle_core.ranking import bind_shapes
    from walle_core.tuning import tune

    graph = bind_shapes(walle.load(model))
    with progress("tuning") as step:
        name = backend or walle.rank(graph, threads=threads, progress=step)[0].backend
        engines = engines_for(name, threads, measured=False, progress=step)
        found, left, choices = tune(graph, engines[0], engines, threads, budget, step)
    if as_json:
        print_json(
            {"backend": name, "operators": [attrs.asdict(t) for t in found], "left": left, "choices": choices}
        )
        return
    if not found:
        known = "is known already" if choices else "needs none: every operator has one algorithm"
        click.echo(f"nothing was measured: what {model} needs on {name} {known}")
        return
    better = [t for t in found if t.after != t.before]
    if better:
        print_table(
            (">saved ms", ">count", "operator", "predicted", ">ms", "measured", ">ms", "node"),
            [
                (milliseconds(t.gain_s), t.count, t.op, t.before, milliseconds(t.before_s), t.after,
                 milliseconds(t.after_s), t.node)
                for t in better
            ],
        )  # fmt: skip
    saved = sum(t.gain_s for t in better)
    total = sum(t.count * t.before_s for t in found)
    click.echo(
        f"{model} on {name}, {threads} thread{'s' * (threads > 1)}: {sum(t.measured for t in found)} candidates of "
        f"{len(found)} operators measured, {len(better)} choices changed, {milliseconds(saved)} of "
        f"{milliseconds(total)} ms saved"
    )
    if left:
        click.echo(
            f"{left} of {choices} operators were left for lack of time; run it again, or give a larger --budget"
        )
