"""``walle explain``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import click

from walle_core.cli.common import (
    backend_option,
    console,
    json_option,
    milliseconds,
    model_argument,
    precision_option,
    print_json,
    print_table,
    progress,
    si,
    threads_option,
    walle_command,
)
from walle_core.errors import locating
from walle_core.graph.ir import Graph


@walle_command(
    """walle explain model.onnx                      # operators before and after, and where time is expected to go
walle explain model.onnx --backend reference
walle explain model.onnx --steps              # every step of the plan
walle explain model.onnx --precision low      # which products would run on bfloat16
walle explain model.onnx --json"""
)
@model_argument
@click.option("--steps", is_flag=True, help="List every step of the plan, in order.")
@backend_option
@precision_option
@threads_option
@json_option
def command(
    model: str, steps: bool, backend: str | None, precision: str, threads: int, as_json: bool
) -> None:
    """Show MODEL before and after decomposition and merging, and the plan that a run follows.

    Stages: loaded; simplified (constants folded, normalisation folded, epilogues fused); atomic (every composite
    decomposed, transforms lowered to Raster and merged: what a backend with nothing but the atomic operators runs);
    plan (what the chosen backend runs, with its own kernels for some composites).
    """
    import walle_core as walle

    graph = walle.load(model)
    with progress("explain") as step, locating(model):
        found = explain(graph, backend, threads, step, precision)
    if as_json:
        print_json({"model": model, **found})
        return
    stages = found["stages"]
    names = sorted({op for s in stages for op in s["operators"]}, key=lambda op: (-_most(stages, op), op))
    print_table(
        ("operator", *(f">{s['stage']}" for s in stages)),
        [
            *((op, *(s["operators"].get(op, "") for s in stages)) for op in names),
            ("total", *(sum(s["operators"].values()) for s in stages)),
        ],
        title=f"{model}: operators per stage",
    )
    merge = found["merging"]
    console().print(
        f"\n{merge['transforms']} transforms became {merge['rasters']} rasters; {merge['vertical']} after vertical merging, "
        f"{merge['horizontal']} after horizontal merging ({merge['regions']} regions); {merge['identities']} moved nothing "
        f"and vanished"
    )
    if found["open"]:
        console().print(f"planned when shapes are known: everything from node {found['open']} on")
    for part in found["parts"]:
        title = f"\n{part['backend']} on {part['device']}: {len(part['nodes'])} steps{_copies(part['transfers'])}, "
        title += f"{milliseconds(part['predicted_s'])} ms predicted"
        if steps:
            print_table(
                (">predicted ms", "operator", "algorithm", "node", "why"),
                [
                    (milliseconds(n["predicted_s"]), n["op"], n["algorithm"], n["node"], n["why"])
                    for n in part["nodes"]
                ],
                title=title,
            )
        else:
            groups: Counter[tuple[str, str]] = Counter()
            seconds: Counter[tuple[str, str]] = Counter()
            for n in part["nodes"]:
                groups[n["op"], n["algorithm"]] += 1
                seconds[n["op"], n["algorithm"]] += n["predicted_s"]
            print_table(
                ("operator", "algorithm", ">nodes", ">predicted ms"),
                [(*key, groups[key], milliseconds(s)) for key, s in seconds.most_common()],
                title=title,
            )


def _copies(transfers: list[dict[str, Any]]) -> str:
    sums = {to: sum(t["nbytes"] for t in transfers if t["to_device"] is to) for to in (True, False)}
    return f", {si(sums[True], 'B')} to the device, {si(sums[False], 'B')} back" if transfers else ""


def _most(stages: list[dict[str, Any]], op: str) -> int:
    return max(int(s["operators"].get(op, 0)) for s in stages)


def _stage(name: str, graph: Graph) -> dict[str, Any]:
    return {"stage": name, "operators": dict(Counter(n.op for n in graph.nodes).most_common())}


def explain(
    graph: Graph, backend: str | None, threads: int, step: Any = lambda _: None, precision: str = "high"
) -> dict[str, Any]:
    """Stages of a graph (operator counts), the merging report, and the parts of the plan with their nodes."""
    from walle_core.engines import engines_for
    from walle_core.graph.decompose import decompose
    from walle_core.graph.raster import lower
    from walle_core.plan import compile_order, simplify, split
    from walle_core.ranking import bind_shapes

    bound = bind_shapes(graph)
    step("simplifying")
    simple = simplify(bound)
    static, barrier, _ = split(simple)
    step("lowering")
    atomic, report = lower(decompose(static, lambda *_: False))
    engines = engines_for(backend, threads, measured=True, progress=step, precision=precision)
    step("searching")
    stages = [_stage("loaded", graph), _stage("simplified", simple), _stage("atomic", atomic)]
    parts = []
    merged = Counter[str]()
    for engine, lowered in compile_order(static, engines, backend is not None):
        merged.update(n.op for n in lowered.graph.nodes)
        nodes = [
            {
                "node": n.name, "op": n.op, "algorithm": lowered.choices[n.name].algorithm,
                "precision": lowered.choices[n.name].precision,
                "predicted_s": engine.seconds(lowered.choices[n.name]), "why": lowered.choices[n.name].why,
            }
            for n in lowered.graph.nodes
        ]  # fmt: skip
        parts.append(
            {
                "backend": engine.backend.name,
                "device": engine.device.name,
                "predicted_s": engine.predict(lowered),
                "nodes": nodes,
                "transfers": [attrs.asdict(t) for t in engine.transfers(lowered.graph)],
            }
        )
    stages.append({"stage": "plan", "operators": dict(merged.most_common())})
    return {
        "stages": stages, "merging": attrs.asdict(report), "parts": parts,
        "open": f"{barrier.op} {barrier.name!r}" if barrier is not None else "",
    }  # fmt: skip
