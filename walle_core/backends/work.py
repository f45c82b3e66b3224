"""What the steps of joined nodes are for, for `walle explain` and profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from walle_core.backends.table.executable import Work
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import operations
from walle_core.types import Candidate


def work_of(nodes: Sequence[Node], algorithm: str, graph: Graph, choices: Mapping[str, Candidate]) -> Work:
    """What the steps of joined nodes are for. They move their outer operands only; inner ones stay in the cache."""
    taken = [choices[n.name] for n in nodes]
    moved = sum(c.bytes for c in taken)
    if len(nodes) > 1:
        made = {o for n in nodes[:-1] for o in n.outputs}
        outer = {n for node in nodes for n in node.inputs if n and n not in made} | {*nodes[-1].outputs}
        moved = float(sum(graph.specs[n].nbytes for n in outer if n in graph.specs))
    params = {k: v for k, v in taken[0].params.items() if k != "rule"}
    flops = sum(operations(n, graph.specs, graph.constants) for n in nodes)
    return Work(algorithm or taken[0].algorithm, params, sum(c.ops for c in taken), moved, flops)
