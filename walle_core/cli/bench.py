"""``walle bench``."""

from __future__ import annotations

import statistics
import time
from typing import Any

import click

from walle_core.cli.common import (
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
from walle_core.errors import UnsupportedError, WalleError


@walle_command(
    """walle bench model.onnx
walle bench model.onnx --backend reference --threads 1 --seconds 5 --json
walle bench model.onnx --profile      # where the time goes, against what the processor can do
walle bench model.onnx --trace run.json   # open it in ui.perfetto.dev"""
)
@model_argument
@click.option(
    "--backend", "backends", metavar="NAME", multiple=True, help="Backend to measure; default: all."
)
@click.option(
    "--inputs", type=click.Path(exists=True, dir_okay=False), help=".npz with inputs; default: zeros."
)
@click.option(
    "--seconds", type=click.FloatRange(0.01, 3600), default=2.0, show_default=True, help="Time per backend."
)
@click.option("--profile", is_flag=True, help="Roofline per operator of the fastest backend.")
@click.option(
    "--trace", type=click.Path(dir_okay=False, writable=True), help="Write a Perfetto trace of its steps."
)
@precision_option
@threads_option
@json_option
def command(
    model: str,
    backends: tuple[str, ...],
    inputs: str | None,
    seconds: float,
    profile: bool,
    trace: str | None,
    precision: str,
    threads: int,
    as_json: bool,
) -> None:
    """Measure MODEL's latency, backends interleaved so that a busy moment hits all of them."""
    import walle_core as walle
    from walle_core.cli import profile as roof
    from walle_core.cost import rates_of
    from walle_core.ranking import placeholder_inputs

    graph = walle.load(model)
    feeds: dict[str, Any] = dict(placeholder_inputs(graph))
    if inputs:
        from walle_core.cli.inputs import collect

        feeds = collect(graph, [], inputs)
    registry = walle.load_plugins().backends
    wanted = backends or tuple(n for n, b in registry.items() if b.devices())
    sessions: dict[str, walle.Session] = {}
    rows: list[dict[str, Any]] = []
    with progress("benchmark") as step:
        for name in wanted:
            step(f"preparing {name}")
            try:
                sessions[name] = walle.Session(graph, backend=name, threads=threads, precision=precision)
                sessions[name].run(feeds)
            except WalleError as error:
                if backends:
                    raise
                rows.append({"backend": name, "error": str(error)})
                sessions.pop(name, None)
        if not sessions:
            reason = rows[0]["error"] if rows else "none is installed; `walle plugins` shows what is"
            raise UnsupportedError(f"no backend runs this model: {reason}")
        times = _measure(sessions, feeds, seconds, step)
    rows += [summary(name, values) for name, values in times.items()]
    steps: list[dict[str, Any]] = []
    if sessions and (profile or trace):
        first = min(times, key=lambda name: sorted(times[name])[len(times[name]) // 2])
        steps = roof.measure(sessions[first], feeds)
        if not steps:
            raise UnsupportedError(f"{first} does not time its steps; choose another with --backend")
    if trace:
        roof.write_trace(steps, trace)
    if as_json:
        print_json(
            {
                "model": model,
                "threads": threads,
                "precision": precision,
                "backends": rows,
                **({"steps": steps} if profile else {}),
            }
        )
        return
    print_table(
        ("backend", ">median ms", ">min ms", ">p90 ms", ">runs", ""),
        [
            (
                r["backend"],
                *(milliseconds(r.get(k)) for k in ("median_s", "min_s", "p90_s")),
                r.get("runs"),
                r.get("error"),
            )
            for r in rows
        ],
        title=f"{model}, {threads} thread{'s' * (threads > 1)}{', low precision' * (precision == 'low')}",
    )
    if profile and steps:
        backend = registry[first]
        rates = rates_of(backend, backend.devices()[0], threads)
        roof.print_roofline(steps, rates, f"\noperators on {first}, slowest first")


def _measure(
    sessions: dict[str, Any], feeds: dict[str, Any], seconds: float, step: Any
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in sessions}
    end = time.perf_counter() + seconds * len(sessions)
    while True:
        for name, session in sessions.items():
            step(name)
            stop = time.perf_counter() + min(0.2, seconds / 4)
            while True:
                start = time.perf_counter()
                session.run(feeds)
                now = time.perf_counter()
                times[name].append(now - start)
                if now >= stop:
                    break
        if time.perf_counter() >= end:
            return times


def summary(name: str, values: list[float]) -> dict[str, Any]:
    """Median, minimum and 90th percentile in seconds."""
    ordered = sorted(values)
    return {
        "backend": name, "median_s": statistics.median(ordered), "min_s": ordered[0],
        "p90_s": ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))], "runs": len(ordered),
    }  # fmt: skip
