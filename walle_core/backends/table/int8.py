"""Convolution and matrix product of 8-bit integers: an implicit product of quads of bytes, or depthwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.table.cut import Cut, TileShape, padded_ops, solve
from walle_core.backends.table.emitter import Emitter, Rule, f64
from walle_core.backends.table.image import BYTES, Image, conv_image, optional
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.values import NONE
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

MAX_ROWS = 64  # kIntRows of int8_depthwise.hpp
SCALES = (1e-25, 1e25)  # float32 arithmetic of the kernels neither overflows nor vanishes


def narrow_args(node: Node) -> list[int]:
    """The arguments of `narrow_make` in int8_tile.hpp: zero point and clamp of the result."""
    return [int(node.attrs.get(n, default)) for n, default in (("y_zero", 0), ("low", 0), ("high", 255))]


def result_args(node: Node) -> list[int]:
    """The arguments of `Requantise` in int8_tile.hpp: scale, zero point and clamp of the result."""
    return [f64(node.attrs.get("y_scale", 1.0)), *narrow_args(node)]


def scales_fit(node: Node, *names: str) -> bool:
    """True if the scales among a node's attributes are within the kernels' range."""
    return all(SCALES[0] < float(node.attrs.get(n, 1.0)) < SCALES[1] for n in (*names, "y_scale"))


PAIRS, PAIRED = 1.2, 0.8  # time of two pairs, and of a quad of two that share a sum, in that of one quad


def int_tile(kernels: Kernels) -> tuple[TileShape, str]:
    """The register tile of a product of quads, and which activations the quads hold as they are."""
    rows, panel, signed = kernels.numbers("int8", "tile", 3)
    return TileShape(rows, panel), "int8" if signed else "uint8"


def narrows(most: float) -> bool:
    """True if floats up to this size become bytes by way of int32 (`Narrow` in simd/scalar.hpp)."""
    return most < 2.0**31 - 1024


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
    def depth(self) -> int:
        """Products per sum."""
        return self.channels[0] * self.image.taps

    @property
    def quads(self) -> int:
        """Depth in quads of neighbouring products: one quad takes a float's place in the tile."""
        return (self.depth + 3) // 4

    @property
    def depthwise(self) -> bool:
        """True if there is one filter per channel and the depthwise kernel takes it."""
        return self.groups == self.image.c == self.image.k and self.image.kernel[0] <= MAX_ROWS

    @property
    def in_place(self) -> bool:
        """True if the rows of the product are whole quads of the image: they are read there if its sign is the quads'."""
        i = self.image
        return i.taps == 1 and not any(i.pads) and self.channels[0] % 4 == 0

    def cut(self, tile: TileShape, threads: int, steps: int, staged: bool) -> Cut:
        """The solved cut; sums stay in registers, so the depth is one piece."""
        return solve(
            self.image.pixels, self.channels[1], steps, tile, threads, products=self.groups, piece=steps,
            staged=staged,
        )  # fmt: skip


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Products with constant weights."""
    kind, stored = specs[node.inputs[0]].dtype.name, specs[node.inputs[1]].dtype.name
    if any(n not in constants for n in node.inputs[1:] if n) or not scales_fit(node):
        return []
    if kernels.kernel("int8", "conv", kind) is None or kernels.kernel("int8", "quads_pack", stored) is None:
        return []
    p, (tile, held) = IntProduct.of(node, specs), int_tile(kernels)
    if p is None or p.quads == 0 or p.image.pixels >= 1 << 32:
        return []
    scale = max(map(abs, constants[node.inputs[2]].reshape(-1).tolist())) / float(
        node.attrs.get("y_scale", 1.0)
    )
    if not narrows(scale * 2.0**31) and not narrows(scale * _largest_sum(node, constants, p)):
        return []
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    offers = []
    if p.depthwise:
        ops = 2.0 * p.image.pixels * p.image.c * p.image.taps
        offers.append(Candidate("depthwise_int8", "depthwise_int8", ops, moved))
    cut = p.cut(tile, 1, p.quads, not (p.in_place and kind == held))
    c, k = p.channels
    params = {"tile": (tile.rows, tile.panel), "block": cut.block_tiles}
    ops = 4.0 * p.groups * padded_ops(p.image.pixels, k, p.quads, tile)
    name = "gemm_int8" if p.image.taps == 1 else "direct_int8"
    why = f"{p.image.pixels} pixels x {c * p.image.taps} x {k}" + (
        f", {p.groups} groups" if p.groups > 1 else ""
    )
    return [*offers, Candidate(name, name, ops, moved, 1, params, why)]


def _largest_sum(node: Node, constants: Mapping[str, Any], p: IntProduct) -> float:
    bias = optional(node, 3)
    biases = constants[bias].reshape(-1).tolist() if bias else [0]
    return 255.0 * 255.0 * p.depth + float(max(map(abs, biases)))


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs the weights at load and multiplies."""
    p = IntProduct.of(node, em.graph.specs)
    assert p is not None
    emit_depthwise(em, node, p) if choice.algorithm == "depthwise_int8" else emit_product(em, node, p)


def _parameters(em: Emitter, node: Node, channels: int) -> tuple[list[int], list[float]]:
    """Bias and scale of the result per output channel."""
    bias, y_scale = optional(node, 3), float(node.attrs.get("y_scale", 1.0))
    scales = [v / y_scale for v in em.constant_tensor(node.inputs[2]).reshape(-1).tolist()]
    return em.constant_tensor(bias).reshape(-1).tolist() if bias else [0] * channels, scales


def emit_product(em: Emitter, node: Node, p: IntProduct) -> None:
    """One step; biases and scales are padded to whole panels."""
    (tile, held), i, dtype = int_tile(em.kernels), p.image, em.spec(node.inputs[0]).dtype.name
    c, k = p.channels
    panels = -(-k // tile.panel)
    width = panels * tile.panel
    bias, scale = _parameters(em, node, i.k)
    biases, scales = ([v for g in range(p.groups) for v in (*values[g * k : (g + 1) * k], *[0] * (width - k))]
                      for values in (bias, scale))  # fmt: skip
    x_zero = int(node.attrs.get("x_zero", 0))
    moved = 0 if dtype == held else 128 if dtype == "int8" else -128
    packed = _pack(em, node, p, biases, x_zero + moved)
    quads = packed[2] is not None
    steps, staged = p.quads if quads else (p.depth + 1) // 2, not (quads and p.in_place and dtype == held)
    cut = p.cut(tile, em.threads, steps, staged)
    scratch = cut.block_tiles * tile.rows * (-(-4 * steps // 64) * 64 + 64) if staged else 0
    constants = [NONE if t is None else em.add_constant(t) for t in (*packed, Tensor.of(scales, "float32"))]
    weights, biases_at, *plan, scales_at = constants
    operands = [
        em.value(node.outputs[0]), em.value(node.inputs[0]), weights, biases_at, scales_at, *plan,
        em.scratch(scratch * em.threads) if scratch else NONE,
    ]  # fmt: skip
    args = [
        i.pixels, k, *cut.args(), p.groups, c, i.c, i.k, scratch, x_zero, *narrow_args(node), *i.size, *i.out,
        *i.kernel, *i.strides, *i.pads[:2], *i.dilations, em.spec(node.inputs[0]).size,
    ]  # fmt: skip
    em.step(em.require("int8", "conv", dtype), operands, args, p.groups * cut.units, cut.grain, node.name)


def _pack(em: Emitter, node: Node, p: IntProduct, bias: list[int], x_zero: int) -> list[Tensor | None]:
    """Weights, biases, and of quads the plan, the starts, extra quads and their places (int8_quads.hpp)."""
    tile, _ = int_tile(em.kernels)
    weights = em.constant_tensor(node.inputs[1])
    c, k = p.channels
    units = len(bias) // tile.panel
    args = [p.groups, k, c, p.image.taps, *p.strides, int(node.attrs.get("w_zero", 0)), x_zero]
    plan, given = Tensor((units, 2), "int32"), Tensor.of(bias, "int32")
    em.run_now(em.require("int8", "quads_plan", str(weights.dtype)), [plan, weights], args, units)
    extras, paired = zip(*plan.tolist(), strict=True)
    seconds = sum(extras) + p.quads * sum(PAIRED if shared else 1.0 for shared in paired)
    if seconds > PAIRS * p.quads * units:
        packed = Tensor((units * -(-p.depth // 2) * tile.panel,), "int32", zero=False)
        em.run_now(em.require("int8", "pairs_pack", str(weights.dtype)), [packed, weights], args, units)
        return [packed, given, None, None, None, None]
    ends = list(accumulate(extras))
    starts = Tensor.of([0, *ends[:-1]], "int32")
    packed, extra = (
        Tensor((max(1, n) * tile.panel,), "int32", zero=False) for n in (units * p.quads, ends[-1])
    )
    places, biases = Tensor((max(1, ends[-1]),), "int32"), Tensor((len(bias),), "int32")
    tensors = [packed, weights, plan, starts, extra, places, biases, given]
    em.run_now(em.require("int8", "quads_pack", str(weights.dtype)), tensors, args, units)
    return [packed, biases, plan, starts, extra, places]


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
    args = [*i.args(), int(node.attrs.get("x_zero", 0)), *narrow_args(node)]
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
