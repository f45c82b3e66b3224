"""Which constants of a graph are weights that training may change."""

from __future__ import annotations

from walle_core._native import Tensor
from walle_core.errors import InputError
from walle_core.evaluate import evaluate
from walle_core.graph.fold import fold
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer, infer_node, with_constants

FLOATS = ("float32", "float64")
STATISTICS = slice(3, 5)  # inputs of BatchNormalization that training measures instead of differentiating


def unpacked(graph: Graph) -> Graph:
    """The graph with weights as operators read them: those kept in fewer bits are converted now, not in each run."""
    return fold(infer(with_constants(graph)), evaluate, keep=lambda node: node.op == "Dropout")


def parameters(graph: Graph) -> list[str]:
    """Names of the weights, in the order of the nodes that read them.

    They are the floating-point constants of more than one element whose value no shape depends on, without the
    statistics of batch normalisation. Shapes of the graph's inputs must be known.
    """
    graph = infer(with_constants(graph))
    excluded = {n for node in graph.nodes if node.op == "BatchNormalization" for n in node.inputs[STATISTICS]}
    found: dict[str, bool] = {}
    for node in graph.nodes:
        for name in node.inputs:
            value = graph.constants.get(name)
            if (
                isinstance(value, Tensor)
                and value.dtype in FLOATS
                and value.size > 1
                and name not in excluded
            ):
                found[name] = found.get(name, True) and _free(graph, node, name)
    return [name for name, free in found.items() if free]


def _free(graph: Graph, node: Node, name: str) -> bool:
    """True if the shapes of the node's outputs do not depend on the constant's value."""
    others = {n: graph.constants[n] for n in node.inputs if n in graph.constants and n != name}
    made = infer_node(node, graph.specs, others)
    return made is not None and all(spec.static for spec in made)


def last_layers(graph: Graph, count: int) -> list[str]:
    """Names of the weights that the last `count` operators with weights of two or more axes read, and of all after them."""
    if count < 1:
        raise InputError(f"count must be at least 1, not {count}")
    names = set(parameters(graph))
    found: list[str] = []
    for node in reversed(graph.nodes):
        own = [n for n in node.inputs if n in names and n not in found]
        found = own + found
        count -= any(len(graph.constants[n].shape) > 1 for n in own)
        if count <= 0:
            break
    return found
