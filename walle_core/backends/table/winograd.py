"""Winograd's minimal filtering for 3x3 convolutions, channels-last: F(2x2), F(4x4) and F(6x6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from walle_core.backends.table.activation import activation_args, supports_activation
from walle_core.backends.table.cut import CACHE_BYTES, TileShape
from walle_core.backends.table.emitter import Emitter, Rule
from walle_core.backends.table.image import Image, conv_image, epilogue_fits, optional
from walle_core.backends.table.kernels import Kernels
from walle_core.graph.ir import Node
from walle_core.types import Candidate, TensorSpec

UNITS = (4, 6, 2)  # outputs per tile side
COARSE_GAIN = (
    0.9  # F(6) rounds ten times as much as F(4): offered where it takes at most this share of the time
)
MIN_CHANNELS = 8  # with fewer input channels the transforms outweigh the products
BLOCK_BYTES = CACHE_BYTES * 3 // 4  # transformed tiles of a block: what the stream of weights leaves
SPILL_BLOCKS = 3  # a block may exceed the cache by this, where that spares the weights a pass
STREAM_OPS = 1.5, 5.0  # operations in the time of one byte of weights: from the shared cache, from memory
SHARED_BYTES = 4 << 20  # weights up to this size stay in the shared cache from block to block
SPILL_OPS = 1.5  # the same for transformed tiles that do not fit, read in short runs from the shared cache


@attrs.frozen
class Tiling:
    """The sizes that F(unit x unit, 3x3) works in.

    Attributes:
        unit: outputs per tile side u; a tile reads (u+2)^2 inputs and has as many points.
        tiles: tiles of all images.
        c, k: input channels, output channels.
        rows, panel: height and width of the register tile (kMr, kNr of gemm_tile.hpp).
    """

    unit: int
    tiles: int
    c: int
    k: int
    rows: int
    panel: int

    @classmethod
    def of(cls, image: Image, unit: int, tile: TileShape) -> Tiling:
        """The tiling of an image for products with a register tile."""
        tiles = image.n * -(-image.out[0] // unit) * -(-image.out[1] // unit)
        return cls(unit, tiles, image.c, image.k, tile.rows, tile.panel)

    @property
    def points(self) -> int:
        """Products per tile and channel pair."""
        return (self.unit + 2) ** 2

    @property
    def panels(self) -> int:
        """Panels of output channels."""
        return -(-self.k // self.panel)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the transformed weights."""
        return 4 * self.points * self.c * self.panels * self.panel

    @property
    def ops(self) -> float:
        """Q: operations of both transforms and the products, as MNN counts them, over padded output channels."""
        u, s = self.unit, self.unit + 2
        half = self.panel // 2
        k = -(-self.k // half) * half
        return float(self.tiles * (2 * s**3 * self.c + 2 * s**2 * self.c * k + (s + u) * u * 2 * s * k))

    def tile_bytes(self) -> int:
        """Scratch per tile: its transformed inputs and one panel of products."""
        return 4 * self.points * (self.c + self.panel)

    def scratch_floats(self, block: int) -> int:
        """Scratch per thread as winograd.hpp lays it out: rows and points an odd number of 16-float lines apart."""

        def odd(floats: int) -> int:
            return (-(-floats // 16) | 1) * 16

        return self.points * (odd(block * odd(self.c)) + odd(block * self.panel))

    def seconds(self, block: int, groups: int, threads: int) -> float:
        """Time of a schedule, in operations: the slowest thread's share of products, transforms and cache traffic."""
        u, s, panels = self.unit, self.unit + 2, -(-self.panels // groups)
        parts = -(-block // self.rows)
        height = max(-(-block // parts), 4)  # a lower register tile waits for its own sums
        products = 2.0 * self.points * self.c * self.panel * panels * parts * height
        transforms = block * (2.0 * s**3 * self.c + (s + u) * u * 2.0 * s * self.panel * panels)
        traffic = STREAM_OPS[self.weight_bytes > SHARED_BYTES] * self.weight_bytes / groups
        if block * self.tile_bytes() > BLOCK_BYTES:
            traffic += SPILL_OPS * panels * 4 * self.points * self.c * block
        units = -(-self.tiles // block) * groups
        return -(-units // threads) * (products + transforms + traffic)

    def schedule(self, threads: int) -> tuple[int, int]:
        """(tiles per block, panel groups) of least time: blocks that fit the cache, enough units for all threads."""
        fitting = -(-self.tiles // max(1, BLOCK_BYTES // self.tile_bytes()))
        fewest = -(-self.tiles // max(1, SPILL_BLOCKS * BLOCK_BYTES // self.tile_bytes()))
        counts = {
            max(fewest, n) for n in (1, fitting, threads, 2 * threads, -(-fitting // threads) * threads)
        }
        blocks = sorted({-(-self.tiles // min(count, self.tiles)) for count in counts}, reverse=True)
        splits = [g for g in (1, 2, 4, 8, 16, 32) if g == 1 or (threads > 1 and g <= self.panels)]
        return min(((b, g) for b in blocks for g in splits), key=lambda p: self.seconds(p[0], p[1], threads))


def candidates(
    kernels: Kernels, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
) -> Sequence[Candidate]:
    """F(2), F(4), F(6) for 3x3 filters, stride 1, dilation 1, one group, float32 [N, H, W, C], constant weights."""
    image = conv_image(node, specs)
    if image is None or len(specs[node.inputs[0]].sizes) != 4 or not supports_activation(node.attrs):
        return []
    if node.attrs.get("exact"):  # sums of integers must stay exact; the transforms round
        return []
    plain = image.kernel == (3, 3) and image.strides == (1, 1) and image.dilations == (1, 1)
    if not plain or int(node.attrs.get("group", 1)) != 1 or node.inputs[1] not in constants:
        return []
    if image.c < MIN_CHANNELS or not epilogue_fits(node, specs):
        return []
    moved = sum(specs[n].nbytes for n in (node.inputs[0], *node.inputs[2:], node.outputs[0]) if n)
    found, tile = [], TileShape.of(kernels)
    for unit in UNITS:
        tiling = Tiling.of(image, unit, tile)
        if kernels.kernel("winograd", f"F{unit}") is None or min(image.out) < unit // 2:
            continue
        if unit == 6 and tiling.ops > COARSE_GAIN * Tiling.of(image, 4, tile).ops:
            continue
        block, _ = tiling.schedule(1)
        why = f"{tiling.points} points, {tiling.tiles} tiles, {block} per block"
        params = {"unit": unit, "block": block}
        traffic = float(moved + tiling.weight_bytes)
        found.append(Candidate(f"winograd_f{unit}x3", "winograd", tiling.ops, traffic, 1, params, why, True))
    return found


def emit(em: Emitter, node: Node, choice: Candidate) -> None:
    """One step over (block of tiles, group of panels); the weights are transformed at load."""
    image = conv_image(node, em.graph.specs)
    assert image is not None
    unit = int(choice.params["unit"])
    tiling = Tiling.of(image, unit, TileShape.of(em.kernels))
    pack = em.require("winograd", f"pack_F{unit}")
    weights = em.packed(pack, node.inputs[1], [image.k, image.c], tiling.panels, tiling.weight_bytes // 4)
    block, groups = tiling.schedule(em.threads)
    scratch = tiling.scratch_floats(block)
    shape = [
        image.n,
        *image.size,
        image.c,
        *image.out,
        image.k,
        *image.pads[:2],
        em.distance(node.outputs[0], image.k),
        image.k,
    ]
    args = [*shape, block, groups, scratch, *activation_args(node.attrs)]
    operands = [
        em.value(node.outputs[0]), em.value(node.inputs[0]), weights,
        em.value(optional(node, 2)), em.value(optional(node, 3)), em.scratch(4 * scratch * em.threads),
    ]  # fmt: skip
    units = -(-tiling.tiles // block) * groups
    em.step(em.require("winograd", f"F{unit}"), operands, args, units, 1, node.name)


def rules() -> list[Rule]:
    """The rule of Winograd convolution."""
    return [Rule("winograd", ("FusedConv",), candidates, emit, places_rows=True)]
