"""Lowers composite operators to the operators that their definition is written in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from walle_core.errors import ModelError
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer_node, naming
from walle_core.ops import find
from walle_core.ops.define import OpDef
from walle_core.types import TensorSpec

MAX_DEPTH = (
    8  # composites are written in simpler operators; deeper nesting means a definition refers to itself
)


@attrs.frozen
class Decomposition:
    """Nodes that replace one node, the constants they need, and which values stand for its outputs."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Any]
    specs: Mapping[str, TensorSpec]
    results: tuple[str, ...]


def decompose_node(
    node: Node, op: OpDef, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Decomposition:
    """One step of decomposition of one node; inputs must have static specs."""
    from walle_core.graph.builder import Builder

    if op.decompose is None:
        raise ModelError(f"node {node} has no decomposition")
    known = {n: specs[n] for n in node.inputs if n and n in specs}
    values = {n: constants[n] for n in node.inputs if n and n in constants}
    g = Builder(prefix=f"{node.name}/", specs=known, constants=values)
    g.n_outputs = max(1, len(node.outputs))
    with naming(node):
        made = op.decompose(g, *[n or None for n in node.inputs], **op.bind(node.attrs))
    results = (made,) if isinstance(made, str) else tuple(made)
    return Decomposition(tuple(g.nodes), g.new_constants, g.specs, results[: max(1, len(node.outputs))])


Keep = Callable[[Node, Mapping[str, TensorSpec], Mapping[str, Any]], bool]


def decompose(graph: Graph, keep: Keep, depth: int = 0) -> Graph:
    """Replaces composite nodes by their decomposition, repeatedly, except those that `keep(node, specs, constants)` claims.

    Nodes whose input specs are not static, or whose result depends on data that is not constant, are left as they are.
    """
    nodes: list[Node] = []
    specs, constants = dict(graph.specs), dict(graph.constants)
    renamed: dict[str, str] = {}
    changed = False
    for node in graph.nodes:
        if renamed:
            node = node.evolve(inputs=tuple(renamed.get(n, n) for n in node.inputs))
        op = find(node.op)
        static = all(n in specs and specs[n].static for n in node.inputs if n)
        if op is None or not op.divisible(len(node.inputs)) or not static or keep(node, specs, constants):
            nodes.append(node)
            continue
        if op.infer is not None and infer_node(node, specs, constants) is None:
            nodes.append(node)
            continue
        part = decompose_node(node, op, specs, constants)
        changed = True
        back = {made: out for made, out in zip(part.results, node.outputs, strict=False) if out}
        direct = {
            made: out for made, out in back.items() if made not in node.inputs and made not in part.constants
        }
        for inner in part.nodes:
            inputs = tuple(direct.get(n, n) for n in inner.inputs)
            nodes.append(inner.evolve(inputs=inputs, outputs=tuple(direct.get(n, n) for n in inner.outputs)))
        constants.update(part.constants)
        specs.update({direct.get(n, n): s for n, s in part.specs.items()})
        for made, out in zip(part.results, node.outputs, strict=False):
            if out and direct.get(made) != out:
                nodes.append(Node("Identity", (direct.get(made, made),), (out,), {}, f"{node.name}/{out}"))
                specs[out] = part.specs[made]
    result = graph.evolve(nodes=tuple(nodes), constants=constants, specs=specs)
    if not changed:
        return result
    if depth >= MAX_DEPTH:
        raise ModelError(f"decomposition of {graph.name} does not end: a definition refers to itself")
    return decompose(result, keep, depth + 1)
