"""From a graph with static specs to what one backend runs: layout, decomposition, rasters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from walle_core.errors import UnsupportedError
from walle_core.graph.decompose import decompose
from walle_core.graph.fold import fold
from walle_core.graph.ir import Graph, Node
from walle_core.graph.layout import channels_last
from walle_core.graph.raster import Report
from walle_core.graph.raster import lower as lower_transforms
from walle_core.protocols import BackendTraits
from walle_core.types import Candidate, TensorSpec

Pick = Callable[[Node, Mapping[str, TensorSpec], Mapping[str, Any]], Candidate | None]


@attrs.frozen(eq=False)
class Lowered:
    """A graph every node of which the backend runs.

    Attributes:
        graph: atomic operators, rasters, and the composites that the backend has kernels for.
        choices: node name -> the candidate taken.
        report: what lowering and merging did, for `walle explain`.
    """

    graph: Graph
    choices: Mapping[str, Candidate]
    report: Report


def lower(graph: Graph, pick: Pick, traits: BackendTraits, evaluate: Callable[..., Any]) -> Lowered:
    """Lowers for one backend.

    Args:
        graph: static specs for every value.
        pick: the cheapest way in which the backend runs a node, or None.
        traits: with layout ``NHWC`` image operators move to channels-last where `pick` takes them so.
        evaluate: computes nodes with constant inputs (see `fold`).

    Raises:
        UnsupportedError: a node that the backend cannot run and that has no decomposition.
    """

    def supported(node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]) -> bool:
        return pick(node, specs, constants) is not None

    if traits.layout == "NHWC":
        graph = channels_last(graph, supported)
    graph = decompose(graph, keep=supported)
    graph = fold(graph, evaluate)
    report = Report()
    if not traits.native_transforms:
        graph, report = lower_transforms(graph)
    choices: dict[str, Candidate] = {}
    for node in graph.nodes:
        choice = pick(node, graph.specs, graph.constants)
        if choice is None:
            raise UnsupportedError(
                f"{graph.name}: the backend has no kernel for node {node} and cannot decompose it"
            )
        choices[node.name] = choice
    return Lowered(graph, choices, report)
