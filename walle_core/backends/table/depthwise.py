"""Depthwise convolution, channels-last: one filter per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.backends.table.activation import activation_args, supports_activation
from walle_core.backends.table.emitter import Emitter, Rule
from walle_core.backends.table.image import conv_image, epilogue_fits, optional
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.values import Operand
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """One multiply-add per tap and output element, for float32 [N, H, W, C] (or [N, L, C]) with one filter per channel."""
    del constants
    image = conv_image(node, specs)
    if image is None or kernels.kernel("depthwise", "conv") is None or not supports_activation(node.attrs):
        return []
    if int(node.attrs.get("group", 1)) != image.c or image.k != image.c or not epilogue_fits(node, specs):
        return []
    moved = sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n)
    return [Candidate("depthwise", "depthwise", 2.0 * image.pixels * image.c * image.taps, float(moved))]


def _packed(em: Emitter, node: Node, c: int, taps: int) -> Operand:
    weight, pack = node.inputs[1], em.require("depthwise", "pack")
    if em.is_constant(weight):
        tensor = Tensor((taps, c), "float32", zero=False)
        em.run_now(pack, [tensor, em.constant_tensor(weight)], [c, taps], taps)
        return em.add_constant(tensor)
    packed = em.scratch(4 * taps * c)
    em.step(pack, [packed, em.value(weight)], [c, taps], taps, taps, f"{node.name}/pack")
    return packed


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over output rows; weights are packed at load, or before it when they are not constant."""
    del choice
    image = conv_image(node, em.graph.specs)
    assert image is not None
    weights = _packed(em, node, image.c, image.taps)
    source, bias, residual = (
        em.value(node.inputs[0]),
        em.value(optional(node, 2)),
        em.value(optional(node, 3)),
    )
    args = [
        *image.args(),
        image.c,
        em.distance(node.outputs[0], image.c),
        image.c,
        *activation_args(node.attrs),
    ]
    operands = [em.value(node.outputs[0]), source, weights, bias, residual]
    em.step(em.require("depthwise", "conv"), operands, args, image.n * image.out[0], image.grain, node.name)


def rules() -> list[Rule]:
    """The rule of depthwise convolution."""
    return [Rule("depthwise", ("FusedConv",), candidates, emit, places_rows=True)]
