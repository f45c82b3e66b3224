"""How a product is cut into units of work (the struct Cut of gemm_block.hpp): a small constrained problem, solved, not tried."""

from __future__ import annotations

from math import gcd

import attrs

L1_WAYS, L1_SETS, LINE = 8, 64, 64  # the smallest first-level cache in the field: 32 KiB
ROWS_BYTES = 384 << 10  # of a block, so that rows and one panel share a 1 MiB second-level cache
PANEL_BYTES = 160 << 10  # of one panel's piece of K
TILE_TAPS = 128  # kTileTaps
UNITS_PER_THREAD = 6  # enough that threads finish together

TILE = {1: (4, 8), 8: (6, 16), 16: (12, 32)}  # lanes -> (kMr, kNr) of gemm_tile.hpp


@attrs.frozen
class Blocking:
    """The solved cut.

    Attributes:
        block_tiles, group_panels: row tiles and column panels per unit.
        columns_first: 1 if consecutive units share their panels.
        kc: elements of K per piece.
        stage: True if rows are copied to scratch before use.
        scratch: floats per thread for that.
        units: units of one product.
    """

    block_tiles: int
    group_panels: int
    columns_first: int
    kc: int
    stage: bool
    scratch: int
    units: int


def conflicts(stride: int, rows: int) -> bool:
    """True if `rows` rows at a distance of `stride` floats do not fit the first-level cache's sets together."""
    lines, rest = divmod(stride * 4, LINE)
    if rest or not lines:
        return False
    return L1_SETS // gcd(lines, L1_SETS) * L1_WAYS < rows + 4


def solve(
    m: int, n: int, taps: int, run: int, stride: int, tile: tuple[int, int], threads: int, products: int = 1
) -> Blocking:
    """Cuts a product of m rows, n columns and K = taps * run.

    Constraints: a block's rows and one panel stay in the second-level cache; a piece holds whole taps, or part of one;
    row pointers fit the kernel's table; there are enough units for the threads.

    Args:
        stride: floats between consecutive rows' data.
        tile: (kMr, kNr).
        products: independent products of this size.
    """
    mr, nr = tile
    depth = taps * run
    most = PANEL_BYTES // (4 * nr)
    pieces = -(-depth // most)
    kc = -(-depth // pieces)
    if kc < run:
        kc = -(-run // -(-run // kc))
    else:
        per_piece = -(-taps // -(-taps // max(1, kc // run)))
        kc = per_piece * run
    taps_piece = max(1, kc // run) if kc >= run else 1
    tiles, panels = -(-m // mr), -(-n // nr)
    fit = max(1, min(ROWS_BYTES // (4 * mr * kc), TILE_TAPS // taps_piece))
    blocks = -(-tiles // fit)
    wanted = threads * UNITS_PER_THREAD if threads > 1 else 1
    if blocks * products < wanted and panels < wanted:
        blocks = min(tiles, -(-wanted // (panels * products)))
        blocks = max(blocks, -(-tiles // fit))
    block_tiles = -(-tiles // blocks)
    blocks = -(-tiles // block_tiles)
    groups = min(panels, max(1, -(-wanted // (blocks * products))))
    group_panels = -(-panels // groups)
    groups = -(-panels // group_panels)
    stage = conflicts(stride, mr) and panels > 1 and kc >= 64
    scratch = block_tiles * mr * ((kc + 15) // 16 * 16 + 16) if stage else 0
    columns_first = 1 if n * depth > m * depth and 4 * n * depth > ROWS_BYTES else 0
    return Blocking(block_tiles, group_panels, columns_first, kc, stage, scratch, blocks * groups)
