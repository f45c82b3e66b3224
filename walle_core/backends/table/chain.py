"""Joins runs of elementwise nodes into one step of the expression kernel, whose blocks stay in the first-level cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from walle_core._native import Kernel
from walle_core.backends.table.elementwise import GRAIN, parameters, row_of
from walle_core.backends.table.emitter import Emitter
from walle_core.backends.table.operand_modes import MAX_OPERANDS, MAX_REGISTERS, operand_mode
from walle_core.graph.ir import Graph, Node
from walle_core.types import Candidate

MAX_NODES = 24  # bounds the search


class Rows(Protocol):
    """Whatever tells which kernels exist: true for a row that does."""

    def kernel(self, family: str, op: str, dtype: str = "float32") -> Any:
        """The row, or something false."""


@attrs.frozen(eq=False)
class Item:
    """One node with its own rule, or several joined ones (`nodes`) with the function that emits them."""

    node: Node
    algorithm: str = ""
    nodes: tuple[Node, ...] = ()
    emit: Callable[[Any], None] | None = None


@attrs.define(eq=False)
class Group:
    """A chain that grows.

    Attributes:
        graph, shape: of all its results.
        most: outer operands and nodes.
        nodes: in order.
        inputs: outer operands with their (mode, inner).
    """

    graph: Graph
    shape: tuple[int, ...]
    most: tuple[int, int]
    nodes: list[Node] = attrs.field(factory=list)
    inputs: dict[str, tuple[int, int]] = attrs.field(factory=dict)

    def take(self, node: Node) -> bool:
        """Adds a node if the chain can still be run by the kernel."""
        made = {n.outputs[0] for n in self.nodes}
        added = {}
        for name in node.inputs[: 1 if node.op == "Clip" else None]:
            if name in made or name in self.inputs:
                continue
            mode = operand_mode(self.shape, _sizes(self.graph, name))
            if mode is None:
                return False
            added[name] = mode
        if len(self.inputs) + len(added) > self.most[0] or len(self.nodes) >= self.most[1]:
            return False
        self.inputs.update(added)
        self.nodes.append(node)
        return True


def _sizes(graph: Graph, name: str) -> tuple[int, ...]:
    if name in graph.specs:
        return graph.specs[name].sizes
    return tuple(graph.constants[name].shape)


def _row(node: Node, graph: Graph, kernels: Rows) -> tuple[str, str, str] | None:
    """The key of the float32 row of an elementwise node with one float32 output; None for all else."""
    if (
        len(node.outputs) != 1
        or graph.specs[node.outputs[0]].dtype.name != "float32"
        or not graph.specs[node.outputs[0]].size
    ):
        return None
    data = node.inputs[:1] if node.op == "Clip" else node.inputs
    if not 1 <= len(data) <= 2 or not all(data) or any(_dtype(graph, n) != "float32" for n in data):
        return None
    row = row_of(node, "float32")
    known = row is not None and row[0] in ("unary", "binary") and kernels.kernel(*row)
    return row if known else None


def _dtype(graph: Graph, name: str) -> str:
    return graph.specs[name].dtype.name if name in graph.specs else str(graph.constants[name].dtype)


def fuse_chains(
    graph: Graph, choices: Mapping[str, Candidate], kernels: Rows, most: tuple[int, int] = (MAX_OPERANDS, MAX_NODES),
    emitter: Callable[[Group], Callable[[Any], None]] | None = None,
) -> list[Item]:  # fmt: skip
    """The nodes in order; elementwise nodes whose results only the next ones read are joined.

    A chain grows along single readers: node after node of the same shape, each reading the one before or values that
    exist when the chain's last node runs.

    Args:
        graph, choices: lowered, with what runs each node.
        kernels: rows to choose from.
        most: outer operands and nodes of a chain.
        emitter: gives the function that emits a chain; default: a step of the expression kernel.
    """
    chain = kernels.kernel("expression", "Chain", "float32")
    emitter = emitter or _emitter
    uses = graph.consumers()
    position = {n.name: i for i, n in enumerate(graph.nodes)}
    absorbed: set[str] = set()
    groups: dict[str, Group] = {}
    for node in graph.nodes if chain else ():
        if node.name in absorbed or choices[node.name].params.get("rule") != "elementwise":
            continue
        if _row(node, graph, kernels) is None:
            continue
        group = Group(graph, graph.specs[node.outputs[0]].sizes, most)
        if not group.take(node):
            continue
        _grow(group, node, uses, choices, kernels, absorbed, position)
        if len(group.nodes) > 1:
            absorbed.update(n.name for n in group.nodes)
            groups[group.nodes[-1].name] = group
    items = []
    for node in graph.nodes:
        if node.name in groups:
            group = groups[node.name]
            names = "+".join(n.op for n in group.nodes)
            items.append(Item(node, f"chain {names}", tuple(group.nodes), emitter(group)))
        elif node.name not in absorbed:
            items.append(Item(node))
    return items


def _grow(
    group: Group, node: Node, uses: Mapping[str, Sequence[Node]], choices: Mapping[str, Candidate], kernels: Rows,
    absorbed: set[str], position: Mapping[str, int],
) -> None:  # fmt: skip
    graph = group.graph
    while node.outputs[0] not in graph.outputs:
        readers = {n.name: n for n in uses.get(node.outputs[0], ())}
        follower = min(readers.values(), key=lambda n: position[n.name], default=None)
        if (
            follower is None
            or follower.name in absorbed
            or choices[follower.name].params.get("rule") != "elementwise"
        ):
            return
        inside = {n.name for n in group.nodes} | {follower.name}
        if not set(readers) <= inside or graph.specs[follower.outputs[0]].sizes != group.shape:
            return
        if _row(follower, graph, kernels) is None or not group.take(follower):
            return
        node = follower


def _emitter(group: Group) -> Callable[[Emitter], None]:
    def emit(em: Emitter) -> None:
        graph = group.graph
        operands = list(group.inputs)
        last_use = {n: i for i, node in enumerate(group.nodes) for n in node.inputs}
        register: dict[str, int] = {}
        free = list(range(MAX_REGISTERS - 1, -1, -1))
        code: list[int | Kernel] = []
        for i, node in enumerate(group.nodes):
            key = _row(node, graph, em.kernels)
            assert key is not None
            row = em.require(*key)
            names = node.inputs[:1] if node.op == "Clip" else node.inputs
            sources = [register[n] if n in register else -1 - operands.index(n) for n in names]
            for n in dict.fromkeys(names):
                if n in register and last_use[n] == i:
                    free.append(register[n])
            target = free.pop()
            register[node.outputs[0]] = target
            params = parameters(node, graph.constants, "float32") or [] if row.family == "unary" else []
            code += [
                row,
                len(sources),
                target,
                *sources,
                *[0] * (2 - len(sources)),
                len(params),
                *params,
            ]
        modes = [v for n in operands for v in group.inputs[n]]
        out = group.nodes[-1].outputs[0]
        args = [len(group.nodes), len(operands), *modes, *code]
        kernel = em.require("expression", "Chain", "float32")
        where = [em.value(out), *(em.value(n) for n in operands)]
        em.step(kernel, where, args, em.spec(out).size, GRAIN // 2, group.nodes[-1].name)

    return emit
