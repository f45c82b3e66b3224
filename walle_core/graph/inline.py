"""Replaces an If whose condition is known by the branch that it takes."""

from __future__ import annotations

from typing import Any

from walle_core.graph.control import check_control, condition_of
from walle_core.graph.ir import Graph, Node


def _renamed(graph: Graph, names: dict[str, str]) -> Graph:
    """The graph with values renamed, also where inner graphs read them."""
    own = {**names}
    for inner in (*graph.inputs,):
        own.pop(inner, None)
    nodes = []
    for node in graph.nodes:
        nodes.append(rename_node(node, own))
    return graph.evolve(
        nodes=tuple(nodes),
        outputs=tuple(own.get(o, o) for o in graph.outputs),
        constants={own.get(k, k): v for k, v in graph.constants.items()},
        specs={own.get(k, k): v for k, v in graph.specs.items()},
    )


def rename_node(node: Node, names: dict[str, str]) -> Node:
    """The node with its operands renamed, also inside its graphs."""
    attributes: dict[str, Any] = dict(node.attrs)
    for key, value in node.attrs.items():
        if isinstance(value, Graph):
            attributes[key] = _renamed(value, names)
        elif isinstance(value, tuple) and any(isinstance(v, Graph) for v in value):
            attributes[key] = tuple(_renamed(v, names) if isinstance(v, Graph) else v for v in value)
    return node.evolve(
        inputs=tuple(names.get(n, n) for n in node.inputs),
        outputs=tuple(names.get(n, n) for n in node.outputs),
        attrs=attributes,
    )


def branch_of(node: Node, condition: bool) -> Graph:
    """The branch of an If."""
    branch: Graph = node.attrs["then_branch" if condition else "else_branch"]
    return branch


def inline_if(graph: Graph) -> Graph:
    """The graph with every If of constant condition replaced by the nodes of its branch (until none is left to see)."""
    if not any(n.op == "If" and n.inputs[0] in graph.constants for n in graph.nodes):
        return graph
    nodes: list[Node] = []
    constants, specs = dict(graph.constants), dict(graph.specs)
    for node in graph.nodes:
        if node.op != "If" or node.inputs[0] not in graph.constants:
            nodes.append(node)
            continue
        check_control(node)
        branch = branch_of(node, condition_of(node, graph.constants[node.inputs[0]]))
        made = {o for inner in branch.nodes for o in inner.outputs if o} | set(branch.constants)
        names = {name: f"{node.name}/{name}" for name in made}
        body = _renamed(branch, names)
        constants.update(body.constants)
        specs.update({k: v for k, v in body.specs.items() if k not in specs})
        nodes.extend(inner.evolve(name=f"{node.name}/{inner.name}") for inner in body.nodes)
        for out, source in zip(node.outputs, body.outputs, strict=True):
            if out:
                nodes.append(Node("Identity", (source,), (out,), {}, f"{node.name}/{out}"))
    return graph.evolve(nodes=tuple(nodes), constants=constants, specs=specs)
