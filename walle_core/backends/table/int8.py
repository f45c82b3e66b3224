"""Convolution and matrix product of 8-bit integers: an implicit product on widened rows, or depthwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.table.cut import Cut, TileShape, padded_ops, solve, stage_floats
from walle_core.backends.table.emitter import Emitter, Rule, f64
from walle_core.backends.table.executable import Kernels
from walle_core.backends.table.image import BYTES, Image, conv_image, optional
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

MAX_ROWS = 64  # kIntRows of int8_depthwise.hpp
SCALES = (1e-25, 1e25)  # float32 arithmetic of the kernels neither overflows nor vanishes


def result_args(node: Node) -> list[int]:
    """The four arguments of `Requantise` in int8_tile.hpp."""
    a = node.attrs
    return [
        f64(a.get("y_scale", 1.0)),
        int(a.get("y_zero", 0)),
        int(a.get("low", 0)),
        int(a.get("high", 255)),
    ]


def scales_fit(node: Node, *names: str) -> bool:
    """True if the scales among a node's attributes are within the kernels' range."""
    return all(SCALES[0] < float(node.attrs.get(n, 1.0)) < SCALES[1] for n in (*names, "y_scale"))


@attrs.frozen
class IntProduct:
    """A product of integers: rows of an image (a matrix is one of 1 x 1 windows) by packed weights.

    Attributes:
        image: geometry; one group reads c / groups of its channels.
        groups: independent products.
        strides: of the weights in output channel, input channel and tap, in elements.
    """

    image: Image
    groups: int
    strides: tuple[int, int, int]

    @classmethod
    def of(cls, node: Node, specs: Mapping[str, TensorSpec]) -> IntProduct | None:
        """The product of a QuantizedConv or QuantizedMatMul; None where the kernels do not take it."""
        if node.op == "QuantizedConv":
            image = conv_image(node, specs, BYTES)
            if image is None:
                return None
            groups = int(node.attrs.get("group", 1))
            return cls(image, groups, (image.c // groups * image.taps, image.taps, 1))
        x, (rows, cols) = specs[node.inputs[0]].sizes, specs[node.inputs[1]].sizes
        trans = bool(node.attrs.get("transB", 0))
        k = rows if trans else cols
        pixels, one = prod(x[:-1]), (1, 1)
        if 0 in x or k == 0:
            return None
        image = Image(1, x[-1], k, (1, pixels), (1, pixels), one, one, one, (0, 0, 0, 0))
        return cls(image, 1, (cols, 1, 0) if trans else (1, cols, 0))

    @property
    def channels(self) -> tuple[int, int]:
        """(input, output) channels of a group."""
        return self.image.c // self.groups, self.image.k // self.groups

    @property
    def pairs(self) -> int:
        """Depth of a sum in pairs of neighbouring products: one pair takes a float's place in the tile."""
        return (self.channels[0] * self.image.taps + 1) // 2

    @property
    def depthwise(self) -> bool:
        """True if there is one filter per channel and the depthwise kernel takes it."""
        return self.groups == self.image.c == self.image.k and self.image.kernel[0] <= MAX_ROWS

    def cut(self, tile: TileShape, threads: int) -> Cut:
        """The solved cut; sums stay in registers, so the depth is one piece."""
        return solve(
            self.image.pixels, self.channels[1], self.pairs, tile, threads, products=self.groups, piece=self.pairs,
            staged=True,
        )  # fmt: skip


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Products with constant weights: two multiply-adds take the place of one of float32."""
    kind, stored = specs[node.inputs[0]].dtype.name, specs[node.inputs[1]].dtype.name
    if any(n not in constants for n in node.inputs[1:] if n) or not scales_fit(node):
        return []
    if kernels.kernel("int8", "conv", kind) is None or kernels.kernel("int8", "pack", stored) is None:
        return []
    p, tile = IntProduct.of(node, specs), TileShape.of(kernels.lanes)
    if p is None or p.pairs == 0 or p.image.pixels >= 1 << 32:
        return []
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    offers = []
    if p.depthwise:
        ops = 2.0 * p.image.pixels * p.image.c * p.image.taps
        offers.append(Candidate("depthwise_int8", "depthwise_int8", ops, moved))
    cut = p.cut(tile, 1)
    c, k = p.channels
    params = {"tile": (tile.rows, tile.panel), "block": cut.block_tiles}
    ops = 2.0 * p.groups * padded_ops(p.image.pixels, k, p.pairs, tile)
    name = "gemm_int8" if p.image.taps == 1 else "direct_int8"
    why = f"{p.image.pixels} pixels x {c * p.image.taps} x {k}" + (
        f", {p.groups} groups" if p.groups > 1 else ""
    )
    return [*offers, Candidate(name, name, ops, moved, 1, params, why)]


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs the weights at load and multiplies."""
    p = IntProduct.of(node, em.graph.specs)
    assert p is not None
    emit_depthwise(em, node, p) if choice.algorithm == "depthwise_int8" else emit_product(em, node, p)


def _parameters(em: Emitter, node: Node, channels: int) -> tuple[list[int], list[float]]:
    """Bias and scale per output channel."""
    bias = optional(node, 3)
    scales = em.constant_tensor(node.inputs[2]).reshape(-1).tolist()
    return em.constant_tensor(bias).reshape(-1).tolist() if bias else [0] * channels, scales


def padded_parameters(em: Emitter, node: Node, channels: int, groups: int, width: int) -> tuple[Tensor, Tensor]:
    """Bias (int32) and scale (float32), each group's padded with zeros to `width` channels."""
    k = channels // groups
    biases, scales = ([v for g in range(groups) for v in (*values[g * k : (g + 1) * k], *[0] * (width - k))]
                      for values in _parameters(em, node, channels))  # fmt: skip
    return Tensor.of(biases, "int32"), Tensor.of(scales, "float32")


def emit_product(em: Emitter, node: Node, p: IntProduct) -> None:
    """One step; biases and scales are padded to whole panels."""
    tile, i = TileShape.of(em.lanes), p.image
    c, k = p.channels
    panels = -(-k // tile.panel)
    units, width = p.groups * panels, panels * tile.panel
    weights = em.constant_tensor(node.inputs[1])
    packed = Tensor((units * p.pairs * tile.panel,), "int32", zero=False)
    pack = [p.groups, k, c, i.taps, *p.strides, int(node.attrs.get("w_zero", 0))]
    em.run_now(em.require("int8", "pack", str(weights.dtype)), [packed, weights], pack, units)
    biases, scales = padded_parameters(em, node, i.k, p.groups, width)
    cut = p.cut(tile, em.threads)
    scratch = stage_floats(cut, tile)
    operands = [
        em.value(node.outputs[0]), em.value(node.inputs[0]), em.add_constant(packed),
        em.add_constant(biases), em.add_constant(scales),
        em.scratch(4 * scratch * em.threads),
    ]  # fmt: skip
    args = [
        i.pixels, k, *cut.args(), p.groups, c, i.c, i.k, scratch, int(node.attrs.get("x_zero", 0)), *result_args(node),
        *i.size, *i.out, *i.kernel, *i.strides, *i.pads[:2], *i.dilations, em.spec(node.inputs[0]).size,
    ]  # fmt: skip
    kernel = em.require("int8", "conv", em.spec(node.inputs[0]).dtype.name)
    em.step(kernel, operands, args, p.groups * cut.units, cut.grain, node.name)


def emit_depthwise(em: Emitter, node: Node, p: IntProduct) -> None:
    """One step over output rows."""
    i, weights = p.image, em.constant_tensor(node.inputs[1])
    pair = 2 * em.lanes
    blocks = -(-i.c // pair)
    bias, scale = _parameters(em, node, i.c)
    packed = Tensor((blocks * -(-i.kernel[0] // 2) * i.kernel[1] * pair,), "int32", zero=False)
    biases, scales = Tensor((blocks * pair,), "int32"), Tensor((blocks * pair,), "float32")
    tensors = [packed, biases, scales, weights, Tensor.of(bias, "int32"), Tensor.of(scale, "float32")]
    pack = [i.c, *i.kernel, int(node.attrs.get("w_zero", 0))]
    em.run_now(em.require("int8", "depthwise_pack", str(weights.dtype)), tensors, pack, blocks)
    args = [*i.args(), int(node.attrs.get("x_zero", 0)), *result_args(node)]
    operands = [
        em.value(node.outputs[0]),
        em.value(node.inputs[0]),
        *map(em.add_constant, (packed, biases, scales)),
    ]
    kernel = em.require("int8", "depthwise", em.spec(node.inputs[0]).dtype.name)
    em.step(kernel, operands, args, i.n * i.out[0], i.grain, node.name)


def rules() -> list[Rule]:
    """The rule of integer products."""
    return [Rule("int8", ("QuantizedConv", "QuantizedMatMul"), candidates, emit)]
