"""Reductions over axes that do not lie side by side, as several that do: kernels reduce one run of axes."""

from __future__ import annotations

from walle_core._native import Tensor
from walle_core.graph.ir import Graph, Node
from walle_core.ops.rules import reduced_shape
from walle_core.types import TensorSpec

SPLIT = frozenset(("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin"))


def split_reductions(graph: Graph) -> Graph:
    """The graph with one reduction per run of adjacent axes (axes of size 1 join any run). Shapes must be known."""
    nodes: list[Node] = []
    constants, specs = dict(graph.constants), dict(graph.specs)
    for node in graph.nodes:
        runs = _runs(graph, node)
        if len(runs) < 2:
            nodes.append(node)
            continue
        name, spec, keep = node.inputs[0], graph.specs[node.inputs[0]], node.attrs.get("keepdims", 1)
        for i, run in enumerate(reversed(runs)):  # from the back: the numbers of axes in front stay
            last = i == len(runs) - 1
            out = node.outputs[0] if last else f"{node.name}/run.{i}"
            axes = f"{node.name}/axes.{i}"
            constants[axes] = Tensor.of(list(run), "int64")
            specs[axes] = TensorSpec(graph.specs[node.inputs[1]].dtype, (len(run),))
            spec = TensorSpec(spec.dtype, reduced_shape(spec.sizes, run, keep))
            specs[out] = spec
            nodes.append(node.evolve(inputs=(name, axes), outputs=(out,), name=node.name if last else out))
            name = out
    return graph.evolve(nodes=tuple(nodes), constants=constants, specs=specs)


def _runs(graph: Graph, node: Node) -> list[list[int]]:
    """The axes of a reduction, in runs; empty where it stays as it is."""
    spec = graph.specs.get(node.inputs[0]) if node.inputs else None
    axes = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.op not in SPLIT or spec is None or not spec.static or not isinstance(axes, Tensor):
        return []
    rank = len(spec.sizes)
    runs: list[list[int]] = []
    for axis in sorted(int(a) % rank for a in axes.reshape(-1).tolist()):
        between = spec.sizes[runs[-1][-1] + 1 : axis] if runs else ()
        if runs and all(n == 1 for n in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return runs
