"""Concatenation without copies: an image kernel writes its result straight into a slice of the raster's result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import attrs

from walle_core.graph.ir import Graph, Node


@attrs.frozen
class Slice:
    """Where a value [..., channels] lies in a larger one.

    Attributes:
        into: name of the larger value.
        offset: elements before the first row.
        distance: elements from row to row.
    """

    into: str
    offset: int
    distance: int


def find_slices(graph: Graph, can_place: Callable[[Node], bool]) -> dict[str, Slice]:
    """The values that only a concatenating raster reads and whose producer can write rows at a distance.

    Args:
        graph: lowered, with static specs.
        can_place: True for a node whose chosen kernel takes the distance between the rows of its result.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    made = graph.producers()
    found: dict[str, Slice] = {}
    for node in graph.nodes:
        if node.op != "Raster" or node.attrs.get("fill") is not None:
            continue
        for index, name in enumerate(node.inputs):
            producer = made.get(name)
            regions = [r for r in node.attrs["regions"] if r.origin == index]
            if producer is None or uses[name] != 1 or len(regions) != 1 or not can_place(producer):
                continue
            place = _place(regions[0], graph.specs[name].sizes)
            if place is not None:
                found[name] = Slice(node.outputs[0], *place)
    return found


def _place(region: Any, sizes: tuple[int, ...]) -> tuple[int, int] | None:
    """(offset, distance) if the region copies a whole value [..., c] row by row; else None."""
    c, rows = sizes[-1], prod(sizes[:-1])
    dims = [
        (n, s, d)
        for n, s, d in zip(region.size, region.src.strides, region.dst.strides, strict=True)
        if n > 1
    ]
    if region.src.offset or rows < 2 or c < 2 or len(dims) != 2:
        return None
    (n, source, distance), inner = dims
    if inner != (c, 1, 1) or (n, source) != (rows, c) or distance < c:
        return None
    return region.dst.offset, distance


def unplaced(node: Node, slices: Mapping[str, Slice]) -> list[Any]:
    """The regions of a raster that its step still has to copy."""
    return [r for r in node.attrs["regions"] if prod(r.size) and node.inputs[r.origin] not in slices]
