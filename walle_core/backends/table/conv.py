"""Direct convolution, channels last: an implicit matrix product, and 1x1 convolutions as a plain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.table.activation import activation_args, supports_activation
from walle_core.backends.table.cut import ALIAS_BYTES, Cut, TileShape, padded_ops, solve, stage_floats
from walle_core.backends.table.emitter import Emitter, Rule
from walle_core.backends.table.gemm import Product, emit_product
from walle_core.backends.table.image import Image, conv_image, epilogue_fits, optional
from walle_core.backends.table.kernels import Kernels
from walle_core.backends.values import NONE, Operand
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

TAPS_IN_PLACE, TAPS_STAGED, KERNEL_ROWS = 0, 1, 2  # modes of conv.hpp
FEW_CHANNELS = 16  # below this a kernel row is one run
PATCH_FLOATS = (
    2048  # longest patch (K) of the kernel-row mode: a block of them stays in the second-level cache
)


@attrs.frozen
class Direct:
    """A convolution as an implicit product.

    Attributes:
        image: geometry of the whole node.
        groups: independent products; each has `c` input and `k` output channels.
        c, k: channels per group.
        mode: how rows are read (conv.hpp).
    """

    image: Image
    groups: int
    c: int
    k: int
    mode: int

    @classmethod
    def of(cls, image: Image, groups: int) -> Direct:
        """Chooses the mode."""
        c, k = image.c // groups, image.k // groups
        few = c < FEW_CHANNELS and groups == 1 and image.dilations[1] == 1 and image.kernel[1] > 1
        if few and c * image.taps <= PATCH_FLOATS and image.kernel[0] <= 64:
            mode = KERNEL_ROWS
        elif 4 * image.c * image.strides[1] % ALIAS_BYTES == 0 and k > 64:
            mode = TAPS_STAGED
        else:
            mode = TAPS_IN_PLACE
        return cls(image, groups, c, k, mode)

    @property
    def depth(self) -> int:
        """K of the product."""
        return self.c * self.image.taps

    @property
    def run(self) -> int:
        """Contiguous elements of a row."""
        return self.c * self.image.kernel[1] if self.mode == KERNEL_ROWS else self.c

    @property
    def pointwise(self) -> bool:
        """True if it is a plain matrix product over pixels."""
        image = self.image
        return image.taps == 1 and image.strides == (1, 1) and image.pads == (0, 0, 0, 0) and self.groups == 1

    def cut(self, tile: TileShape, threads: int) -> Cut:
        """The solved cut."""
        image = self.image
        return solve(
            image.pixels, self.k, self.depth, tile, threads, products=self.groups, run=self.run,
            piece=self.depth if self.mode == KERNEL_ROWS else 0, reuse=image.taps / prod(image.strides),
            staged=self.mode == TAPS_STAGED,
        )  # fmt: skip

    def scratch_floats(self, cut: Cut, tile: TileShape) -> int:
        """Scratch floats per thread."""
        if self.mode == TAPS_STAGED:
            return stage_floats(cut, tile)
        return cut.block_tiles * tile.rows * self.depth if self.mode == KERNEL_ROWS else 0

    def args(self, node: Node, cut: Cut, scratch: int, distance: int) -> list[int]:
        """Arguments of conv/direct."""
        i = self.image
        return [
            i.pixels, self.k, *cut.args(), self.groups, self.c, cut.piece, i.c, distance, i.k, scratch, self.mode,
            *activation_args(node.attrs), *i.size, *i.out, *i.kernel, *i.strides, *i.pads[:2], *i.dilations,
        ]  # fmt: skip


def _direct(node: Node, specs: Mapping[str, TensorSpec]) -> Direct | None:
    image = conv_image(node, specs)
    return Direct.of(image, int(node.attrs.get("group", 1))) if image is not None else None


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """Any float32 convolution over one or two axes of a channels-last value."""
    if kernels.kernel("conv", "direct") is None or not supports_activation(node.attrs):
        return []
    direct = _direct(node, specs)
    if (
        direct is None
        or not epilogue_fits(node, specs)
        or direct.depth == 0
        or direct.image.pixels >= 1 << 32
    ):
        return []
    tile = TileShape.of(kernels)
    cut = direct.cut(tile, 1)
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, node.outputs[0]) if n))
    params = {
        "tile": (tile.rows, tile.panel),
        "block": cut.block_tiles,
        "piece": cut.piece,
        "mode": direct.mode,
    }
    pixels = direct.image.pixels
    ops = direct.groups * padded_ops(pixels, direct.k, direct.depth, tile)
    dispatches = 1 + (node.inputs[1] not in constants)
    why = f"{pixels} pixels x {direct.depth} x {direct.k}" + (
        f", {direct.groups} groups" if direct.groups > 1 else ""
    )
    name, rate = ("gemm", "gemm") if direct.pointwise else ("direct", "direct")
    return [Candidate(name, rate, ops, moved, dispatches, params, why)]


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs the weights (at load where they are constant) and multiplies."""
    del choice
    direct = _direct(node, em.graph.specs)
    assert direct is not None
    packed = _packed(em, node, direct)
    image = direct.image
    x, bias, residual = node.inputs[0], optional(node, 2), optional(node, 3)
    if direct.pointwise:
        p = Product((), image.pixels, image.k, image.c, (), (), (image.c, 1), (image.k, 1))
        emit_product(em, node, p, em.value(x), packed, (bias, residual))
        return
    tile = TileShape.of(em.kernels)
    cut = direct.cut(tile, em.threads)
    scratch = direct.scratch_floats(cut, tile)
    operands = [
        em.value(node.outputs[0]), em.value(x), packed, em.value(bias), em.value(residual),
        em.add_constant(Tensor((direct.run,), "float32")), em.scratch(4 * scratch * em.threads) if scratch else NONE,
    ]  # fmt: skip
    args = direct.args(node, cut, scratch, em.distance(node.outputs[0], image.k))
    em.step(em.require("conv", "direct"), operands, args, direct.groups * cut.units, cut.grain, node.name)


def _packed(em: Emitter, node: Node, direct: Direct) -> Operand:
    tile, name = TileShape.of(em.kernels), node.inputs[1]
    panels = -(-direct.k // tile.panel)
    units = direct.groups * panels
    args = [direct.groups, direct.k, direct.c, direct.image.taps]
    kernel = em.require("pack_b", "conv")
    if em.is_constant(name):
        return em.packed(kernel, name, args, units, units * tile.panel * direct.depth)
    out = em.scratch(4 * units * tile.panel * direct.depth)
    em.step(kernel, [out, em.value(name)], args, units, 1, node.name)
    return out


def rules() -> list[Rule]:
    """The rule of direct convolution."""
    return [Rule("direct", ("FusedConv",), candidates, emit, places_rows=True)]
