"""How a matrix product is cut into work units: tiles, blocks and panels under the register and cache limits.

The same cut serves gemm and the direct convolution (a product over output pixels); `gemm_block.hpp` executes it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import attrs

from walle_core.backends.table.emitter import CHUNKS_PER_THREAD
from walle_core.backends.table.kernels import Kernels


def second_level_cache(path: str = "/sys/devices/system/cpu/cpu0/cache/index2/size") -> int:
    """Bytes of a core's second-level cache; 512 KiB where the system does not tell."""
    try:
        text = Path(path).read_text("ascii").strip()
        size = int(text.rstrip("KM")) << {"K": 10, "M": 20}.get(text[-1:], 0)
    except (OSError, ValueError):
        return 1 << 19
    return min(max(size, 1 << 17), 1 << 22)


CACHE_BYTES = second_level_cache() * 7 // 8  # what a block may use
PANEL_BYTES = CACHE_BYTES // 7  # a piece of one panel: small beside the rows that it meets
TILE_TAPS = 128  # kTileTaps of gemm_block.hpp: pointers of a piece live on the stack
MAX_BLOCK_TILES = 32
MIN_PIECE = 512  # shorter passes over the sums cost more than they save
STREAM_OPS = 0.5  # operations in the time of one byte of rows or of B that a unit reads
UNIT_OPS = 8192.0  # starting a unit, in the operations that would fit into that time
TAIL = 0.25  # of a chunk: how long the other threads wait for the one that was disturbed
GRAIN_OPS = 1 << 17  # fewer operations than this are not worth another thread
ALIAS_BYTES = 2048  # rows at multiples of this distance share few sets of the first-level cache


@attrs.frozen
class TileShape:
    """The register tile: `rows` x `panel` sums (kMr, kNr of gemm_tile.hpp)."""

    rows: int
    panel: int

    @classmethod
    def of(cls, kernels: Kernels) -> TileShape:
        """The tile of products of float32."""
        return cls(*kernels.numbers("gemm", "tile", 2))


@attrs.frozen
class Cut:
    """A product of `rows` x `depth` by `depth` x `cols`, cut into units.

    Attributes:
        block_tiles: row tiles per unit.
        group_panels: column panels per unit.
        columns_first: consecutive units share a panel group, so that large weights stream once.
        piece: elements of the depth that one pass covers.
        blocks, groups: units per product = blocks * groups.
        unit_ops: operations of a unit.
    """

    block_tiles: int
    group_panels: int
    columns_first: bool
    piece: int
    blocks: int
    groups: int
    unit_ops: float

    @property
    def units(self) -> int:
        """Units of one product."""
        return self.blocks * self.groups

    @property
    def grain(self) -> int:
        """Units that are worth a thread."""
        return max(1, int(GRAIN_OPS / max(1.0, self.unit_ops)))

    def args(self) -> list[int]:
        """block_tiles, group_panels, columns_first."""
        return [self.block_tiles, self.group_panels, int(self.columns_first)]


def padded_ops(rows: int, cols: int, depth: int, tile: TileShape) -> float:
    """Q of a product: columns are computed in half panels."""
    half = tile.panel // 2
    return 2.0 * rows * depth * (-(-cols // half) * half)


@lru_cache(1024)
def solve(
    rows: int,
    cols: int,
    depth: int,
    tile: TileShape,
    threads: int,
    *,
    products: int = 1,
    run: int = 0,
    piece: int = 0,
    reuse: float = 1.0,
    staged: bool = False,
) -> Cut:
    """The cut of least estimated time.

    Args:
        rows, cols, depth: sizes of one product, all at least 1.
        tile: the register tile.
        threads: threads that share the units.
        products: products of this size in one step (batches, groups).
        run: contiguous elements per row (one tap); the piece is a multiple or a part of it. 0: the whole depth.
        piece: elements of the depth per pass, where the kernel prescribes it. 0: solved.
        reuse: how often neighbouring rows share an input (kernel taps / stride); shrinks the rows' footprint.
        staged: rows are copied to scratch before use, once per unit.
    """
    run = run or depth
    tiles, panels = -(-rows // tile.rows), -(-cols // tile.panel)
    sharing = 1.0 if staged else max(1.0, reuse)
    columns_first = cols * depth > rows * depth / max(1.0, reuse)

    def cut(block: int, group: int, piece: int) -> Cut:
        ops = 2.0 * block * (rows / tiles) * depth * min(group * tile.panel, cols)
        return Cut(block, group, columns_first, piece, -(-tiles // block), -(-panels // group), ops)

    def seconds(c: Cut) -> float:
        height = c.block_tiles * tile.rows
        stage = 3.0 * height * depth if staged else 0.0
        passes = -(-depth // c.piece) - 1
        read = tile.panel * depth * c.group_panels + height * depth / sharing
        again = 2 * passes * height * min(c.group_panels * tile.panel, cols)
        cost = c.unit_ops + stage + STREAM_OPS * 4 * (read + again) + UNIT_OPS
        units = c.units * products
        if threads == 1:
            return units * cost
        chunk = max(c.grain, -(-units // (threads * CHUNKS_PER_THREAD)))
        return (-(--(-units // chunk) // threads) + TAIL) * chunk * cost

    choices = []
    for size in [piece] if piece else _pieces(depth, run, tile):
        footprint = 4.0 * tile.rows * size / sharing
        most = int((CACHE_BYTES - 4 * tile.panel * size) / footprint)
        taps = 1 if size < run else size // run
        most = max(1, min(most, MAX_BLOCK_TILES, TILE_TAPS // taps, tiles))
        blocks = {-(-tiles // n) for n in {-(-tiles // most), *range(1, min(tiles, 4 * threads) + 1)}}
        groups = (
            {-(-panels // n) for n in range(1, min(panels, 8 * threads) + 1)} if threads > 1 else {panels}
        )
        choices += [cut(b, g, size) for b in sorted(b for b in blocks if b <= most) for g in sorted(groups)]
    return min(choices, key=seconds)


def _pieces(depth: int, run: int, tile: TileShape) -> list[int]:
    """Elements of the depth per pass, to choose from: smaller ones leave the cache more rows."""
    first = _piece(depth, run, tile)
    if first > run:
        return [first]
    parts = -(-run // first)
    return [first, *(-(-run // n) for n in range(parts + 1, min(parts + 2, run // MIN_PIECE) + 1))]


def _piece(depth: int, run: int, tile: TileShape) -> int:
    """Elements of the depth per pass: all of it, or equal parts of which a panel's share stays small."""
    limit = max(64, PANEL_BYTES // (4 * tile.panel))
    if depth <= limit + limit // 2 and depth // run <= TILE_TAPS:
        return depth
    if run >= limit:
        parts = -(-run // limit)
        return run if parts == 1 else -(-run // parts)
    taps = depth // run
    most = min(max(1, limit // run), TILE_TAPS)
    return -(-taps // -(-taps // most)) * run


def stage_floats(cut: Cut, tile: TileShape) -> int:
    """Scratch floats per thread for staged rows (stage_stride of gemm_block.hpp)."""
    return cut.block_tiles * tile.rows * ((cut.piece + 15) // 16 * 16 + 16)
