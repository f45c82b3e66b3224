"""Graph, Node: the immutable intermediate representation. Values are names (strings).

Operator names and semantics are ONNX's newest opset (frontends upgrade older ones); operators that ONNX does
not have (``Raster``, ``FusedConv``, ...) live in the same catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from walle_core.errors import ModelError
from walle_core.types import TensorSpec


@attrs.frozen(eq=False)
class Node:
    """One operator applied to named values.

    Attributes:
        op: name in the operator catalogue (another domain than ONNX's own is a prefix, ``ai.onnx.ml.Scaler``).
        inputs: value names; ``""`` stands for an absent optional input.
        outputs: value names; ``""`` stands for an output nobody asked for.
        attrs: attribute values: int, float, str, bytes, Tensor, Graph, or a tuple of one of these.
        name: unique in the graph; errors and plans point at it.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = attrs.field(factory=dict)
    name: str = ""

    def evolve(self, **changes: Any) -> Node:
        """A copy with some fields replaced."""
        kept = {
            "op": self.op,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "attrs": self.attrs,
            "name": self.name,
        }
        return Node(**{**kept, **changes})

    def __str__(self) -> str:
        return f"{self.op} {self.name!r}"


@attrs.frozen(eq=False)
class Graph:
    """Nodes in topological order, with constants and what is known about values.

    Attributes:
        inputs: names that a run must give; `specs` has an entry for each.
        outputs: names that a run returns.
        nodes: in topological order (`sorted_nodes` makes it so).
        constants: value name -> walle Tensor (or, for strings and other host-only data, a NumPy object array).
        specs: value name -> TensorSpec, complete for inputs, as far as known for the rest.
        name: for people.
        source: path of the file it came from, "" if none.
        metadata: free text pairs from the model file.
        optional_inputs: inputs with a default in `constants`; a run may leave them out.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Any] = attrs.field(factory=dict)
    specs: Mapping[str, TensorSpec] = attrs.field(factory=dict)
    name: str = "graph"
    source: str = ""
    metadata: Mapping[str, str] = attrs.field(factory=dict)

    def evolve(self, **changes: Any) -> Graph:
        """A copy with some fields replaced."""
        return attrs.evolve(self, **changes)

    def producers(self) -> dict[str, Node]:
        """Value name -> the node that makes it."""
        return {out: node for node in self.nodes for out in node.outputs if out}

    def consumers(self) -> dict[str, list[Node]]:
        """Value name -> the nodes that read it, once per read."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                if name:
                    found.setdefault(name, []).append(node)
        return found

    def pruned(self) -> Graph:
        """Without nodes and constants that no output needs."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
                needed.update(captured(node))
                needed.discard("")
        constants = {k: v for k, v in self.constants.items() if k in needed}
        return self.evolve(nodes=tuple(reversed(kept)), constants=constants)


def subgraphs(node: Node) -> list[Graph]:
    """The graphs among a node's attributes (branches of If, body of Loop and Scan)."""
    found: list[Graph] = []
    for value in node.attrs.values():
        kind = type(value)
        if kind is Graph:
            found.append(value)
        elif kind is tuple and value and type(value[0]) is Graph:
            found += [v for v in value if isinstance(v, Graph)]
    return found


def captured(node: Node) -> set[str]:
    """Names from the outer scope that the node's subgraphs read."""
    names: set[str] = set()
    for graph in subgraphs(node):
        known = set(graph.inputs) | set(graph.constants)
        for inner in graph.nodes:
            names.update(n for n in (*inner.inputs, *captured(inner)) if n and n not in known)
            known.update(inner.outputs)
        names.update(n for n in graph.outputs if n not in known)
    return names


def sorted_nodes(nodes: Iterable[Node], known: Iterable[str], where: str = "graph") -> tuple[Node, ...]:
    """Nodes in topological order, stable. Raises ModelError on a cycle, a missing value or a value made twice."""
    pending = list(nodes)
    ready = {*known, ""}
    made: set[str] = set(ready)
    waits: dict[str, list[int]] = {}
    missing: list[int] = []
    for node in pending:
        for out in node.outputs:
            if out and out in made:
                raise ModelError(f"{where}: value {out!r} of node {node} is defined twice")
            made.add(out)
    for index, node in enumerate(pending):
        needs = ({*node.inputs} | captured(node)) - ready
        if unknown := sorted(needs - made):
            raise ModelError(f"{where}: node {node} reads {unknown[0]!r}, which nothing defines")
        missing.append(len(needs))
        for name in needs:
            waits.setdefault(name, []).append(index)
    order: list[Node] = []
    queue = [i for i, n in enumerate(missing) if n == 0]
    queue.reverse()
    while queue:
        index = queue.pop()
        order.append(pending[index])
        freed = []
        for out in pending[index].outputs:
            for waiter in waits.get(out, ()):
                missing[waiter] -= 1
                if missing[waiter] == 0:
                    freed.append(waiter)
        queue.extend(sorted(freed, reverse=True))
    if len(order) != len(pending):
        stuck = next(n for n, m in zip(pending, missing, strict=True) if m)
        raise ModelError(f"{where}: nodes form a cycle through {stuck}")
    return tuple(order)
