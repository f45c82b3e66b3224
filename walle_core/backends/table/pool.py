"""Pooling, channels-last: sliding windows and whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from walle_core.backends.table.emitter import Emitter, Rule
from walle_core.backends.table.image import channels_last, pool_image
from walle_core.backends.table.kernels import Kernels
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

WINDOWS = {"MaxPool": "Max", "AveragePool": "Average"}
GLOBALS = {"GlobalMaxPool": "GlobalMax", "GlobalAveragePool": "GlobalAverage"}


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Sliding windows over float32 [N, H, W, C] (or [N, L, C]); the indices of MaxPool are left to its decomposition.

    A tap costs a load and an operation, what a depthwise multiply-add costs, so that rate applies.
    """
    del constants
    image = pool_image(node, specs)
    if image is None or any(node.outputs[1:]) or kernels.kernel("pool", WINDOWS[node.op]) is None:
        return []
    moved = specs[node.inputs[0]].nbytes + specs[node.outputs[0]].nbytes
    return [Candidate("pool", "depthwise", 2.0 * image.pixels * image.c * image.taps, float(moved))]


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over output rows."""
    del choice
    image = pool_image(node, em.graph.specs)
    assert image is not None
    args = [
        *image.args(),
        *image.pads[2:],
        em.distance(node.outputs[0], image.c),
        int(node.attrs.get("count_include_pad", 0)),
    ]
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    em.step(
        em.require("pool", WINDOWS[node.op]), operands, args, image.n * image.out[0], image.grain, node.name
    )


def global_candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Whole images of float32 [N, spatial..., C]."""
    del constants
    if channels_last(node, specs) is None or kernels.kernel("pool", GLOBALS[node.op]) is None:
        return []
    source = specs[node.inputs[0]]
    return [
        Candidate(
            "pool", "depthwise", 2.0 * source.size, float(source.nbytes + specs[node.outputs[0]].nbytes)
        )
    ]


def emit_global(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over blocks of channels; a block is four vectors, whole lines of the cache."""
    del choice
    n, *spatial, c = em.spec(node.inputs[0]).sizes
    block = max(64, 4 * em.lanes)
    blocks = -(-c // block)
    operands = [em.value(node.outputs[0]), em.value(node.inputs[0])]
    grain = max(1, 16384 // max(1, prod(spatial) * block))
    kernel = em.require("pool", GLOBALS[node.op])
    em.step(kernel, operands, [n, prod(spatial), c, block], n * blocks, grain, node.name)


def rules() -> list[Rule]:
    """The rules of the pooling operators."""
    return [
        Rule("pool", tuple(WINDOWS), candidates, emit, places_rows=True),
        Rule("pool_global", tuple(GLOBALS), global_candidates, emit_global),
    ]
