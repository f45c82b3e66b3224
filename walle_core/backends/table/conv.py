"""Direct convolution, channels-last, as an implicit matrix product over taps and input channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.backends.table.activation import activation_args, supports_activation
from walle_core.backends.table.blocking import TILE, solve
from walle_core.backends.table.emitter import NONE, Emitter, Kernels, Rule
from walle_core.backends.table.gemm import Product, emit_product, pack
from walle_core.backends.table.image import Image, conv_image, epilogue_fits, optional
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

FEW_CHANNELS = 16  # at most this many input channels: a whole kernel row is one run of K


def _pointwise(image: Image, groups: int) -> bool:
    return image.kernel == (1, 1) and image.strides == (1, 1) and not any(image.pads) and groups == 1


def _groups(node: Node) -> int:
    return int(node.attrs.get("group", 1))


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> list[Candidate]:
    """One way for any two-dimensional convolution with constant weights; 1x1 ones are plain products."""
    if kernels.kernel("conv", "direct") is None or not supports_activation(node.attrs):
        return []
    image = conv_image(node, specs)
    if image is None or node.inputs[1] not in constants or not epilogue_fits(node, specs):
        return []
    groups = _groups(node)
    if groups > 1 and image.k // groups < 4:
        return []
    ops = 2.0 * image.pixels * image.k * image.taps * image.c / groups
    moved = float(sum(specs[n].nbytes for n in (*node.inputs, *node.outputs) if n))
    plain = _pointwise(image, groups)
    why = "1x1: a plain product over pixels" if plain else f"{image.taps} taps read in place"
    return [Candidate("gemm_1x1" if plain else "direct", "gemm" if plain else "direct", ops, moved, 1, {}, why)]


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """Packs the weights at load, then one step."""
    image = conv_image(node, em.graph.specs)
    assert image is not None
    if choice.algorithm == "gemm_1x1":
        product = Product(image.pixels, image.k, image.c, image.c, 1, image.c, (), (), (), (), False)
        packed = pack(em, node, product, 1.0)
        operands = em.value(optional(node, 2)), em.value(optional(node, 3))
        emit_product(em, node, product, em.value(node.inputs[0]), packed, *operands)
        return
    groups = _groups(node)
    mr, nr = TILE[em.lanes]
    out, c = image.k // groups, image.c // groups
    by_row = c <= FEW_CHANNELS and groups == 1 and image.dilations[1] == 1 and image.kernel[1] > 1
    taps, run = (image.kernel[0], image.kernel[1] * c) if by_row else (image.taps, c)
    cut = solve(image.pixels, out, taps, run, image.c * image.strides[1], (mr, nr), em.threads, groups)
    scratch, mode = cut.scratch, 1 if cut.stage else 0
    if by_row:
        tiles = min(cut.block_tiles, max(1, 128 // taps))
        cut = attrs.evolve(cut, kc=taps * run, block_tiles=tiles, units=_units(image.pixels, out, tiles, cut.group_panels, (mr, nr)))
        scratch, mode = tiles * mr * taps * run, 2
    weights = Tensor((groups * -(-out // nr) * nr * image.taps * c,), "float32", zero=False)
    pack_args = [groups, out, c, image.taps]
    em.run_now(em.require("pack_b", "conv"), [weights, em.constant_tensor(node.inputs[1])], pack_args, groups * -(-out // nr))
    args = [
        image.pixels, out, cut.block_tiles, cut.group_panels, cut.columns_first, groups, c, cut.kc, image.c, image.k,
        image.k, scratch, mode, *activation_args(node.attrs), *image.size, *image.out, *image.kernel, *image.strides,
        *image.pads[:2], *image.dilations,
    ]  # fmt: skip
    operands = [
        em.value(node.outputs[0]), em.value(node.inputs[0]), em.add_constant(weights), em.value(optional(node, 2)),
        em.value(optional(node, 3)), em.add_constant(Tensor((run,))),
        em.scratch(4 * scratch * em.threads) if scratch else NONE,
    ]  # fmt: skip
    ops = 2 * image.pixels * out * image.taps * c // max(1, cut.units)
    em.step(em.require("conv", "direct"), operands, args, groups * cut.units, max(1, 200_000 // max(1, ops)), node.name)


def _units(m: int, n: int, block_tiles: int, group_panels: int, tile: tuple[int, int]) -> int:
    return -(-(-(-m // tile[0])) // block_tiles) * -(-(-(-n // tile[1])) // group_panels)


def rules() -> list[Rule]:
    """The rule of direct convolution."""
    return [Rule("direct", ("FusedConv",), candidates, emit)]
