"""Products of float32 whose operands are rounded to 16 bits, two in a 32-bit word (windows.hpp, bf16_dot.hpp, fp16_dot.hpp).

Tables without such products have no rows of them, and then nothing is offered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import attrs

from walle_core._native import Kernel
from walle_core.backends.table.activation import activation_args, supports_activation
from walle_core.backends.table.cut import Cut, TileShape, padded_ops, solve, stage_floats
from walle_core.backends.table.emitter import Emitter, Rule, f64
from walle_core.backends.table.gemm import epilogue, product_of
from walle_core.backends.table.image import Image, conv_image, epilogue_fits
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.values import Operand
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec


@attrs.frozen
class WindowProduct:
    """A product of windows of an image (a matrix is one of 1 x 1 windows) by packed weights.

    Attributes:
        image: geometry; one group reads c / groups of its channels.
        groups: independent products.
        strides: of the weights in output channel, input channel and tap, in elements.
        numbers: in one word, which takes a float's place in the register tile.
    """

    image: Image
    groups: int
    strides: tuple[int, int, int]
    numbers: int

    @property
    def channels(self) -> tuple[int, int]:
        """(input, output) channels of a group."""
        return self.image.c // self.groups, self.image.k // self.groups

    @property
    def words(self) -> int:
        """Depth of a sum."""
        return -(-self.channels[0] * self.image.taps // self.numbers)

    @property
    def fits(self) -> bool:
        """True if there is something to do and the kernel can count it; one filter per channel is no product."""
        return self.words > 0 and self.image.pixels < 1 << 32 and not self.groups == self.image.c > 1

    def cut(self, tile: TileShape, threads: int) -> Cut:
        """The solved cut; sums stay in registers, so the depth is one piece."""
        return solve(
            self.image.pixels, self.channels[1], self.words, tile, threads, products=self.groups, piece=self.words,
            staged=True,
        )  # fmt: skip

    def candidate(self, kernels: Kernels, kind: str, moved: float, **attributes: Any) -> Candidate:
        """The candidate ``gemm_<kind>`` or ``direct_<kind>``."""
        tile, (c, k), image = TileShape.of(kernels), self.channels, self.image
        ops = self.numbers * self.groups * padded_ops(image.pixels, k, self.words, tile)
        name = f"gemm_{kind}" if image.taps == 1 else f"direct_{kind}"
        params = {"tile": (tile.rows, tile.panel), "block": self.cut(tile, 1).block_tiles}
        why = f"{image.pixels} pixels x {c * image.taps} x {k}" + f", {self.groups} groups" * (
            self.groups > 1
        )
        return Candidate(name, name, ops, moved, 1, params, why, **attributes)

    def panels(self, tile: TileShape) -> int:
        """Column panels of all groups."""
        return self.groups * -(-self.channels[1] // tile.panel)

    def emit(
        self,
        em: Emitter,
        node: Node,
        kernel: Kernel,
        own: Sequence[Operand],
        distance: int,
        args: Sequence[int],
    ) -> None:
        """The step: `own` are packed weights and the two operands of the kind, `args` its arguments."""
        tile, i, (c, k) = TileShape.of(em.kernels), self.image, self.channels
        cut = self.cut(tile, em.threads)
        scratch = stage_floats(cut, tile)
        operands = [
            em.value(node.outputs[0]),
            em.value(node.inputs[0]),
            *own,
            em.scratch(4 * scratch * em.threads),
        ]
        window = [*i.size, *i.out, *i.kernel, *i.strides, *i.pads[:2], *i.dilations]
        shared = [i.pixels, k, *cut.args(), self.groups, c, i.c, distance, scratch, *window]
        em.step(kernel, operands, [*shared, *args], self.groups * cut.units, cut.grain, node.name)

    def pack_args(self) -> list[int]:
        """The arguments that both pack kernels begin with."""
        c, k = self.channels
        return [self.groups, k, c, self.image.taps, *self.strides]


def _float(node: Node, specs: Mapping[str, TensorSpec]) -> WindowProduct | None:
    """The product of a float32 node whose weights are one matrix or filters; None where the kernel does not take it."""
    if node.op == "FusedConv":
        image = conv_image(node, specs)
        if image is None or not epilogue_fits(node, specs):
            return None
        groups = int(node.attrs.get("group", 1))
        return WindowProduct(image, groups, (image.c // groups * image.taps, image.taps, 1), 2)
    operands = [specs[n] for n in (*node.inputs[:2], node.outputs[0])]
    if any(s.dtype.name != "float32" or s.size == 0 for s in operands) or epilogue(node, specs) is None:
        return None
    if node.op == "Gemm" and len(node.inputs) > 2 and float(node.attrs.get("beta", 1.0)) != 1.0:
        return None
    p, one = product_of(node, specs), (1, 1)
    if p.batch or p.a_stride[1] != 1 or prod(operands[1].sizes) != p.k * p.n:
        return None
    image = Image(1, p.k, p.n, (1, p.m), (1, p.m), one, one, one, (0, 0, 0, 0))
    return WindowProduct(image, 1, (p.b_stride[1], p.b_stride[0], 0), 2)


KINDS = ("bf16", "fp16")  # bfloat16; IEEE half precision


def candidates(
    kind: str, kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Products by constant weights, of operands rounded to the kind; sums of integers, which must stay exact, are not."""
    if kernels.kernel(f"{kind}_dot", "conv") is None or not supports_activation(node.attrs):
        return []
    if node.attrs.get("exact") or node.inputs[1] not in constants:
        return []
    p = _float(node, specs)
    if p is None or not p.fits:
        return []
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    moved -= specs[node.inputs[1]].nbytes / 2
    return [p.candidate(kernels, kind, moved, approximate=True, precision="low")]


def emit(kind: str, em: Emitter, node: Node, choice: Candidate) -> None:
    """Rounds and packs the weights at load, and multiplies."""
    del choice
    p = _float(node, em.graph.specs)
    assert p is not None
    tile = TileShape.of(em.kernels)
    alpha = float(node.attrs.get("alpha", 1.0)) if node.op in ("Gemm", "FusedMatMul") else 1.0
    units = p.panels(tile)
    pack = em.require(f"{kind}_dot", "pack")
    packed = em.packed(
        pack, node.inputs[1], [*p.pack_args(), f64(alpha)], units, units * p.words * tile.panel
    )
    addends = (*node.inputs[2:], "", "")[:2] if node.op == "FusedConv" else epilogue(node, em.graph.specs)
    assert addends is not None
    own, k = [packed, *(em.value(n) for n in addends)], p.image.k
    args = [k, *activation_args(node.attrs)]
    p.emit(em, node, em.require(f"{kind}_dot", "conv"), own, em.distance(node.outputs[0], k), args)


def rules() -> list[Rule]:
    """The rules of products in reduced precision."""
    return [
        Rule(
            kind,
            ("FusedConv", "MatMul", "FusedMatMul", "Gemm"),
            partial(candidates, kind),
            partial(emit, kind),
            places_rows=True,
        )
        for kind in KINDS
    ]
