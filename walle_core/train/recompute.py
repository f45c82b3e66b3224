"""Memory for time: what the backward pass reads of cheap forward operators is computed again there, not kept."""

from __future__ import annotations

from walle_core.graph.ir import Graph, Node
from walle_core.ops import find

CHEAP = frozenset(("unary", "binary", "select"))  # families that cost about as much as reading the result


def recompute(graph: Graph, forward: int) -> Graph:
    """The graph whose nodes behind the first `forward` ones read no results of elementwise operators or moves before.

    Where such a result is an output of the graph it is kept as well.
    """
    producers = {o: node for node in graph.nodes[:forward] for o in node.outputs if o}
    renamed: dict[str, str] = {}
    nodes = list(graph.nodes[:forward])
    specs = dict(graph.specs)

    def again(name: str) -> str:
        node = producers.get(name)
        if node is None or not _cheap(node):
            return name
        if name not in renamed:
            inputs = tuple(again(n) for n in node.inputs)
            for out in node.outputs:
                if out:
                    renamed[out] = f"again/{out}"
                    specs[renamed[out]] = specs[out]
            outputs = tuple(renamed.get(o, o) for o in node.outputs)
            nodes.append(node.evolve(inputs=inputs, outputs=outputs, name=f"again/{node.name}"))
        return renamed[name]

    for node in graph.nodes[forward:]:
        inputs = tuple(again(n) for n in node.inputs)
        nodes.append(node.evolve(inputs=inputs))
    return graph.evolve(nodes=tuple(nodes), specs=specs)


def _cheap(node: Node) -> bool:
    op = find(node.op)
    return op is not None and (op.kind == "transform" or (op.kind == "atomic" and op.family in CHEAP))
