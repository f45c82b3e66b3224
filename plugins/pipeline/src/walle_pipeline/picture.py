"""Pictures of flows."""

from __future__ import annotations

from pathlib import Path

from walle_core.errors import UnsupportedError
from walle_pipeline.flow import Flow, Node


def layers(flow: Flow) -> list[list[Node]]:
    """The steps by their distance from a beginning."""
    depth: dict[Node, int] = {}
    for node in flow.nodes:
        depth[node] = 1 + max((depth[source] for source, _ in node.inputs), default=-1)
    return [[n for n in flow.nodes if depth[n] == d] for d in range(max(depth.values(), default=-1) + 1)]


def draw(flows: list[Flow], path: str | Path, counts: dict[Node, int] | None = None) -> None:
    """Writes a picture (png, svg, pdf) of `flows`: steps from left to right, side outputs dashed.

    Raises UnsupportedError if matplotlib is missing or cannot write that kind of file.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise UnsupportedError("pictures need matplotlib; pip install 'walle-pipeline[plot]'") from error
    grids = [layers(flow) for flow in flows]
    height = sum(max(len(layer) for layer in grid) + 0.6 for grid in grids)
    width = max(len(grid) for grid in grids)
    figure, axes = plt.subplots(figsize=(2.6 * width + 0.6, 0.9 * height + 0.4))
    axes.set(xlim=(-0.6, width - 0.4), ylim=(-height - 0.1, 0.4))
    axes.axis("off")
    top = 0.0
    for flow, grid in zip(flows, grids, strict=True):
        axes.text(-0.5, -top, flow.name, weight="bold", size=11, va="center")
        places: dict[Node, tuple[float, float]] = {}
        boxes = {}
        tall = max(len(layer) for layer in grid)
        for x, layer in enumerate(grid):
            for row, node in enumerate(layer):
                y = -top - 0.6 - (row + (tall - len(layer)) / 2)
                places[node] = (x, y)
                boxes[node] = axes.text(
                    x, y, _label(node, counts), size=8, ha="center", va="center", zorder=3,
                    bbox={"boxstyle": "round,pad=0.45", "fc": "#eef3fb" if node.inputs else "#e3f4e4", "ec": "#4a6da7"},
                )  # fmt: skip
        figure.canvas.draw()  # only then do the boxes have their sizes
        back = axes.transData.inverted()
        edges = {
            node: back.transform_bbox(box.get_bbox_patch().get_window_extent()) for node, box in boxes.items()
        }
        for node in flow.nodes:
            for source, side in node.inputs:
                begin, end = (edges[source].x1, places[source][1]), (edges[node].x0, places[node][1])
                style = {
                    "arrowstyle": "-|>",
                    "color": "#777777",
                    "ls": "--" if side else "-",
                    "shrinkA": 0,
                    "shrinkB": 0,
                }
                axes.annotate("", xy=end, xytext=begin, arrowprops=style)
                if side:
                    middle = (begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2 + 0.1
                    axes.text(*middle, side, size=7, ha="center", style="italic")
        top += tall + 0.6
    try:
        figure.savefig(path, dpi=150, bbox_inches="tight")
    except ValueError as error:
        raise UnsupportedError(f"{path}: {error}") from error
    finally:
        plt.close(figure)


def _label(node: Node, counts: dict[Node, int] | None) -> str:
    words, lines = node.name.split(" "), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 22 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    text = "\n".join(lines[:6] + ["…"] * (len(lines) > 6))
    return text if counts is None or node not in counts else f"{text}\n{counts[node]:,}"
