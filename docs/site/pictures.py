"""The pictures of the explanation pages: each is drawn from what the code itself says when the site is built.

python docs/site/pictures.py FOLDER
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import walle_core as walle

BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#b34700", "#1b7837", "#5f5f5f"


def regions() -> Any:
    """A transpose and a concatenation, before and after lowering: where each element of the result is read."""
    from walle_core.graph.raster import lower

    g = walle.Builder()
    a, b = g.input("a", "float32", (4, 3)), g.input("b", "float32", (3, 2))
    graph, report = lower(g.graph([g.Concat(g.Transpose(a, perm=(1, 0)), b, axis=1)]))
    (node,) = graph.nodes
    moves = node.attrs["regions"]
    shapes = [graph.specs[name].sizes for name in (*node.inputs, *node.outputs)]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), width_ratios=[3, 2, 6])
    colors = [np.full(shape, np.nan) for shape in shapes]
    labels: list[dict[int, int]] = [{} for _ in shapes]
    for number, move in enumerate(moves):
        for index in np.ndindex(*move.size):
            read = move.src.offset + sum(i * s for i, s in zip(index, move.src.strides, strict=True))
            write = move.dst.offset + sum(i * s for i, s in zip(index, move.dst.strides, strict=True))
            colors[move.origin].flat[read] = colors[-1].flat[write] = number
            labels[move.origin][read] = labels[-1][write] = read
    for axis, shape, color, text, name in zip(
        axes, shapes, colors, labels, (*node.inputs, "result"), strict=True
    ):
        axis.imshow(color, cmap=mpl.colors.ListedColormap(["#cfe1f5", "#f6d9c4"]), vmin=0, vmax=1)
        for place, read in text.items():
            axis.text(place % shape[1], place // shape[1], str(read), ha="center", va="center")
        axis.set_title(f"{name}  {shape[0]} × {shape[1]}")
        axis.set_xticks(np.arange(shape[1] + 1) - 0.5, [])
        axis.set_yticks(np.arange(shape[0] + 1) - 0.5, [])
        axis.grid(color="white", linewidth=2)
        axis.tick_params(length=0)
    figure.suptitle(
        f"{report.transforms} transforms, lowered to {len(graph.nodes)} raster with {len(moves)} regions"
    )
    return figure


def _convolutions() -> Any:
    g, rng = walle.Builder(), np.random.default_rng(0)
    x = g.input("x", "float32", (1, 8, 80, 80))
    for before, channels in ((8, 16), (16, 48), (48, 64)):
        weight = g.const(rng.standard_normal((channels, before, 3, 3)).astype(np.float32) * 0.05)
        x = g.MaxPool(g.Conv(x, weight, pads=[1] * 4), kernel_shape=[2, 2], strides=[2, 2])
    return g.graph([x])


def candidates() -> Any:
    """Every algorithm that the chosen backend offers for three convolutions: predicted against measured."""
    from walle_core.engines import engines_for
    from walle_core.tuning import cases, measured

    graph = _convolutions()
    best = walle.rank(graph, threads=1)[0].backend
    engines = engines_for(best, 1, measured=True)
    figure, axis = plt.subplots(figsize=(7, 4.2))
    every: list[float] = []
    colors = iter((BLUE, ORANGE, GREEN))
    for case in cases(graph, engines[0], engines).values():
        offers = engines[0].offers(case.node, case.graph.specs, case.graph.constants)
        if len(offers) < 2:
            continue
        found = measured(case, offers, engines[0], 1, time.perf_counter() + 3)
        points = [(engines[0].seconds(c) * 1e3, s * 1e3) for c, s in found]
        every += [value for point in points for value in point]
        weight = case.graph.specs[case.node.inputs[1]].sizes
        axis.scatter(
            *zip(*points, strict=True), color=next(colors), label=f"{case.node.op}, weights {tuple(weight)}"
        )
        for (candidate, _), point in zip(found, points, strict=True):
            axis.annotate(candidate.algorithm, point, textcoords="offset points", xytext=(6, 3), fontsize=8)
    axis.plot(
        [min(every), max(every)],
        [min(every), max(every)],
        color=GREY,
        linestyle="--",
        label="as predicted",
        zorder=0,
    )
    axis.margins(x=0.2)
    axis.set(xscale="log", yscale="log", xlabel="predicted, ms", ylabel="measured, ms")
    axis.set_title(f"Candidates of the backend {best!r} on this machine")
    axis.legend(fontsize=8)
    return figure


def timeline() -> Any:
    """Two runs of Python code at the same time, in threads under one GIL and apart."""
    from walle_core import vm

    source = "def main(n):\n    x = 0\n    for i in range(n): x = (x * 31 + i) % 65521\n    return x"
    figure, axes = plt.subplots(2, 1, figsize=(7, 3), sharex=True)
    for axis, isolation in zip(axes, ("thread", "auto"), strict=True):
        with vm.TaskHost(workers=2, isolation=isolation) as host:
            tasks = [vm.Task(f"task {i + 1}", source) for i in range(2)]
            for task in tasks:  # loaded and started before the clock runs
                host.submit(task, {"n": 10}).result()
            began, runs = time.perf_counter(), []
            for task in tasks:
                runs.append(
                    (time.perf_counter() - began, host.submit(task, {"n": 600_000}, vm.Limits(wall_s=30)))
                )
            for _, run in runs:
                run.result()
        for row, (submitted, run) in enumerate(runs):
            start = submitted + run.timings.queued_s
            axis.barh(row, run.timings.run_s * 1e3, left=start * 1e3, color=(BLUE, ORANGE)[row])
        axis.set_yticks([0, 1], [task.name for task in tasks])
        axis.set_title("threads under one GIL" if isolation == "thread" else "a GIL for each", fontsize=10)
    axes[1].set_xlabel("milliseconds since the first was submitted")
    return figure


def trie() -> Any:
    """Patterns of four tasks in one trie: what they begin with in common is matched once."""
    from walle_pipeline import Trigger, click, page_enter, page_exit, scroll

    enter = page_enter("item")
    patterns = {
        "dwell": enter.followed_by(page_exit("item")),
        "buys": enter.followed_by(click("cart")).followed_by(click("pay")),
        "doubts": enter.followed_by(click("cart")).followed_by(page_exit("item")),
        "reads": enter.followed_by(scroll("item")).followed_by(page_exit("item")),
    }
    trigger, alone = Trigger(), 0
    for task, pattern in patterns.items():
        trigger.add(task, pattern)
        single = Trigger()
        single.add(task, pattern)
        alone += single.stats()["nodes"]
    paths = {task: tuple(str(step.condition) for step in p.steps) for task, p in patterns.items()}
    nodes = sorted({path[:n] for path in paths.values() for n in range(len(path) + 1)})
    leaves = [node for node in nodes if not any(o[: len(node)] == node and o != node for o in nodes)]
    height = {leaf: float(at) for at, leaf in enumerate(leaves)}
    for node in sorted(nodes, key=len, reverse=True):
        below = [height[o] for o in nodes if len(o) == len(node) + 1 and o[: len(node)] == node]
        height.setdefault(node, sum(below) / len(below) if below else 0.0)
    figure, axis = plt.subplots(figsize=(9, 3.2))
    for node in nodes:
        if node:
            axis.plot([len(node) - 1, len(node)], [height[node[:-1]], height[node]], color=GREY, zorder=1)
        axis.text(len(node), height[node], node[-1] if node else "root", ha="center", va="center", fontsize=9,
                  bbox={"boxstyle": "round", "facecolor": "#cfe1f5" if node else "white", "edgecolor": BLUE})  # fmt: skip
    for task, path in paths.items():
        axis.text(len(path) + 0.4, height[path], f"→ {task}", va="center", color=ORANGE, fontsize=10)
    axis.set(xlim=(-0.4, 4.2), ylim=(-0.6, len(leaves) - 0.4))
    axis.axis("off")
    axis.set_title(
        f"{len(patterns)} tasks: {trigger.stats()['nodes']} nodes in one trie, {alone} in tries of their own"
    )
    return figure


def sequential() -> Any:
    """Evidence of the failure test over reports, for releases that are harmless and for one that is not."""
    import msgspec
    from walle_deploy.release.plan import Plan
    from walle_deploy.release.sequential import Failures

    (alpha,) = (field.default for field in msgspec.structs.fields(Plan) if field.name == "alpha")
    figure, axis = plt.subplots(figsize=(8, 4))
    for seed in range(8):
        bad = seed == 0
        rng, test, line = random.Random(seed), Failures(), []
        for at in range(2400):
            treated = at % 2 == 0
            test = test.add(treated=treated, failed=rng.random() < (0.05 if bad and treated else 0.01))
            line.append(test.log_e / math.log(10))
            if test.worse(alpha):
                break
        color = ORANGE if bad else BLUE
        label = {0: "5 % against 1 % fail", 1: "1 % against 1 % fail"}.get(seed)
        axis.plot(range(1, len(line) + 1), line, color=color, linewidth=1.8 if bad else 0.9, label=label)
        if test.worse(alpha):
            axis.annotate(f"rolled back after {len(line)} reports", (len(line), line[-1]), textcoords="offset points",
                          xytext=(12, -4), color=color)  # fmt: skip
    axis.axhline(-math.log10(alpha), color=GREY, linestyle="--", label=f"1 / alpha, alpha = {alpha}")
    axis.set(xlabel="reports of both arms", ylabel="evidence, powers of ten", ylim=(-4, None))
    axis.legend(loc="lower left")
    return figure


DRAWN: dict[str, Callable[[], Any]] = {
    "regions.svg": regions,
    "candidates.svg": candidates,
    "timeline.svg": timeline,
    "trie.svg": trie,
    "sequential.svg": sequential,
}


def draw(folder: Path) -> dict[str, Path]:
    """Draws all of them into a folder; name -> file."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, function in DRAWN.items():
        figure = function()
        made[name] = folder / name
        figure.tight_layout()
        figure.savefig(made[name])
        plt.close(figure)
    return made


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
