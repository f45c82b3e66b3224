"""Convolutions and matrix products of 8-bit integers with constant 8-bit weights, and the padding before them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import attrs

from walle_core._native import Tensor
from walle_core.graph.affine import RANGES, SCALES, Affine, f32, numbers
from walle_core.graph.ir import Node

if TYPE_CHECKING:
    from walle_core.graph.integer import IntegerPass

LIMIT = 2**31 - 1  # of a sum
WINDOW = ("kernel_shape", "strides", "pads", "dilations", "group", "auto_pad")


@attrs.frozen(eq=False)
class Weights:
    """Constant integer weights.

    Attributes:
        name: the integer constant.
        scales: one, or one per output channel.
        zero: zero point of all of them.
        channels: output channels.
        depth: products per sum.
    """

    name: str
    scales: list[float]
    zero: int
    channels: int
    depth: int


def weights_of(work: IntegerPass, head: Node) -> Weights | None:
    """The weights of a product; None where they are not constant 8-bit integers with scales per output channel."""
    node = work.made.get(head.inputs[1])
    if node is None or node.op != "DequantizeLinear" or node.attrs.get("block_size", 0):
        return None
    if any(n and n not in work.constants for n in node.inputs):
        return None
    kernel, scale = work.constants[node.inputs[0]], work.constants[node.inputs[1]]
    if str(kernel.dtype) not in RANGES or str(scale.dtype) != "float32":
        return None
    shape = tuple(kernel.shape)
    if (head.op != "Conv" and len(shape) != 2) or (head.op == "Conv" and len(shape) < 3):
        return None
    axis = 0 if head.op == "Conv" or (head.op == "Gemm" and head.attrs.get("transB", 0)) else 1
    if scale.size != 1 and (len(scale.shape) != 1 or int(node.attrs.get("axis", 1)) % len(shape) != axis):
        return None
    zeros = (
        {int(z) for z in numbers(work.constants[node.inputs[2]])}
        if len(node.inputs) > 2 and node.inputs[2]
        else {0}
    )
    scales = [float(s) for s in numbers(scale)]
    if len(zeros) != 1 or not all(SCALES[0] < s < SCALES[1] for s in scales):
        return None
    depth = prod(shape[1:]) if head.op == "Conv" else shape[1 - axis]
    return Weights(node.inputs[0], scales, zeros.pop(), shape[axis], depth)


def bias_of(work: IntegerPass, name: str, scales: list[float]) -> list[int] | None:
    """The bias in units of the sums, one per channel; a bias of real numbers is rounded. None if it is not constant."""
    node = work.made.get(name)
    if node is not None and node.op == "DequantizeLinear":
        if any(n and n not in work.constants for n in node.inputs) or node.attrs.get("block_size", 0):
            return None
        zero = work.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        if zero is not None and any(numbers(zero)):
            return None
        stored = [int(v) for v in numbers(work.constants[node.inputs[0]])]
        factors = [float(v) for v in numbers(work.constants[node.inputs[1]])]
        stored, factors = _spread(stored, len(scales)), _spread(factors, len(scales))
        close = all(abs(f - s) <= 1e-6 * s for f, s in zip(factors, scales, strict=True))
        return (
            stored if close else [_round(v * f / s) for v, f, s in zip(stored, factors, scales, strict=True)]
        )
    value = work.constants.get(name)
    if value is None or str(value.dtype) != "float32" or value.size not in (1, len(scales)):
        return None
    return [_round(v / s) for v, s in zip(_spread(numbers(value), len(scales)), scales, strict=True)]


def _spread(values: list[Any], count: int) -> list[Any]:
    return values * count if len(values) == 1 else values


def _round(value: float) -> int:
    return round(value) if abs(value) < 2.0**40 else 2**40


def product(work: IntegerPass, head: Node, node: Node, attributes: dict[str, Any]) -> list[Node] | None:
    """QuantizedConv or QuantizedMatMul for a product whose result `node` quantises with these attributes."""
    x, weights = work.dequantised(head.inputs[0]), weights_of(work, head)
    if x is None or weights is None:
        return None
    if head.op == "Gemm" and (
        head.attrs.get("transA", 0) or any(float(head.attrs.get(k, 1.0)) != 1.0 for k in ("alpha", "beta"))
    ):
        return None
    if len(weights.scales) not in (1, weights.channels):
        return None
    scales = _spread([f32(x.scale * s) for s in weights.scales], weights.channels)
    if not all(SCALES[0] < s < SCALES[1] for s in scales):
        return None
    bias: list[int] = []
    if len(head.inputs) > 2 and head.inputs[2]:
        found = bias_of(work, head.inputs[2], scales)
        if found is None or len(found) != weights.channels:
            return None
        bias = found
    largest = max((abs(b) for b in bias), default=0)
    if 255 * 255 * weights.depth + largest > LIMIT:
        return None
    operands = [x.name, weights.name, work.const(f"{node.name}/scale", Tensor.of(scales, "float32"))]
    operands += [work.const(f"{node.name}/bias", Tensor.of(bias, "int32"))] if bias else []
    common = {"x_zero": x.zero, "w_zero": weights.zero, **attributes}
    if head.op != "Conv":
        common["transB"] = int(head.op == "Gemm" and bool(head.attrs.get("transB", 0)))
        return [Node("QuantizedMatMul", tuple(operands), node.outputs, common, node.name)]
    window = {k: head.attrs[k] for k in WINDOW if k in head.attrs}
    operands[0], window = padded(work, x, window)
    return [Node("QuantizedConv", tuple(operands), node.outputs, {**window, **common}, node.name)]


def padded(work: IntegerPass, x: Affine, window: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(input, window attributes) with spatial padding by the zero point moved from a Pad node into the window."""
    pad = work.integer.get(x.name)
    if (
        pad is None
        or pad.op != "Pad"
        or len(pad.inputs) > 3
        or window.get("auto_pad", "NOTSET") not in ("NOTSET", b"NOTSET")
    ):
        return x.name, window
    pads = [int(p) for p in numbers(work.constants[pad.inputs[1]])]
    rank = len(pads) // 2
    spatial = pads[2:rank] + pads[rank + 2 :]
    outer = pads[:2] + pads[rank : rank + 2]
    if int(numbers(work.constants[pad.inputs[2]])[0]) != x.zero or any(outer) or min(pads) < 0 or rank < 3:
        return x.name, window
    own = window.get("pads") or [0] * len(spatial)
    return pad.inputs[0], {**window, "pads": tuple(a + b for a, b in zip(own, spatial, strict=True))}
