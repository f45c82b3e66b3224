"""Geometry of strided copies: canonical form, regions of a kernel's rank, joining of adjacent ones. Pure Python.

A piece is the tuple (origin, size, src_offset, src_strides, dst_offset, dst_strides), any rank, all in elements. The
canonical form has no axis of size 1, positive destination strides in descending order, and no two axes that could be
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import Any

from walle_core.ops.define import Region, View

Ints = tuple[int, ...]
Piece = tuple[Any, Ints, int, Ints, int, Ints]

KERNEL_RANK = 3  # axes of one region of the raster kernel


def canonical(
    origin: Any, size: Sequence[int], so: int, ss: Sequence[int], do: int, ds: Sequence[int]
) -> Piece | None:
    """The piece in canonical form; None if it copies nothing."""
    axes = []
    for n, s, d in zip(size, ss, ds, strict=True):
        if n == 1:
            continue
        if n == 0:
            return None
        if d < 0:
            so, do, s, d = so + (n - 1) * s, do + (n - 1) * d, -s, -d
        axes.append((d, n, s))
    if len(axes) > 1:
        axes.sort(reverse=True)
        fused = [axes[0]]
        for d, n, s in axes[1:]:
            outer_d, outer_n, outer_s = fused[-1]
            if outer_d == n * d and outer_s == n * s:
                fused[-1] = (d, n * outer_n, s)
            else:
                fused.append((d, n, s))
        axes = fused
    return (
        origin,
        tuple([a[1] for a in axes]),
        so,
        tuple([a[2] for a in axes]),
        do,
        tuple([a[0] for a in axes]),
    )


def from_region(region: Region, origin: Any) -> Piece | None:
    """A `Region` in canonical form, its origin replaced."""
    src, dst = region.src, region.dst
    return canonical(origin, region.size, src.offset, src.strides, dst.offset, dst.strides)


def kernel_regions(piece: Piece, origin: int) -> list[Region]:
    """The piece as regions of exactly KERNEL_RANK axes; the shortest axes are unrolled."""
    _, size, so, ss, do, ds = piece
    extra = len(size) - KERNEL_RANK
    if extra <= 0:
        ones, zeros = (1,) * -extra, (0,) * -extra
        return [Region(origin, ones + size, View(so, zeros + ss), View(do, zeros + ds))]
    unrolled = sorted(sorted(range(len(size)), key=lambda k: size[k])[:extra])
    kept = [k for k in range(len(size)) if k not in unrolled]
    inner = tuple(size[k] for k in kept)
    src, dst = tuple(ss[k] for k in kept), tuple(ds[k] for k in kept)
    found = []
    for index in product(*(range(size[k]) for k in unrolled)):
        s = so + sum(i * ss[k] for i, k in zip(index, unrolled, strict=True))
        d = do + sum(i * ds[k] for i, k in zip(index, unrolled, strict=True))
        found.append(Region(origin, inner, View(s, src), View(d, dst)))
    return found


def region_count(pieces: Iterable[Piece]) -> int:
    """How many regions of KERNEL_RANK axes the pieces become."""
    return sum(prod(sorted(p[1])[: max(0, len(p[1]) - KERNEL_RANK)]) for p in pieces)


def is_identity(piece: Piece, size: int) -> bool:
    """True if the piece copies a tensor of `size` elements whole and in its own order."""
    _, n, so, ss, do, ds = piece
    return so == 0 and do == 0 and ((n == (size,) and ss == (1,) and ds == (1,)) or (n == () and size == 1))


def join(pieces: list[Piece]) -> list[Piece]:
    """Fewer pieces that copy the same: neighbours become one, equal ones at even distances get an axis."""
    while len(pieces) > 1:
        groups: dict[Any, list[Piece]] = {}
        for piece in pieces:
            groups.setdefault((piece[0], piece[1], piece[3], piece[5]), []).append(piece)
        joined: list[Piece] = []
        for (origin, size, ss, ds), members in groups.items():
            members.sort(key=lambda p: p[4])
            joined += _progressions(origin, size, ss, ds, members)
        joined = _neighbours(joined)
        if len(joined) == len(pieces):
            return joined
        pieces = joined
    return pieces


def _progressions(origin: Any, size: Ints, ss: Ints, ds: Ints, members: list[Piece]) -> list[Piece]:
    found: list[Piece] = []
    i = 0
    while i < len(members):
        end = i + 1
        if end < len(members):
            s, d = members[end][2] - members[i][2], members[end][4] - members[i][4]
            while end < len(members) and (
                members[end][2] - members[end - 1][2],
                members[end][4] - members[end - 1][4],
            ) == (s, d):
                end += 1
            if s and (end - i > 2 or end == len(members) or i > 0):
                piece = canonical(origin, (end - i, *size), members[i][2], (s, *ss), members[i][4], (d, *ds))
                found.append(piece)  # type: ignore[arg-type]
                i = end
                continue
        found.append(members[i])
        i += 1
    return found


def _neighbours(pieces: list[Piece]) -> list[Piece]:
    """Joins pieces that continue one another along an axis."""
    result: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: p[4]):
        for at in range(len(result) - 1, max(-1, len(result) - 9), -1):
            both = _continued(result[at], piece)
            if both is not None:
                result[at] = both
                break
        else:
            result.append(piece)
    return result


def _continued(a: Piece, b: Piece) -> Piece | None:
    """`a` and `b` as one piece if `b` starts where an axis of `a` ends."""
    if a[0] != b[0]:
        return None
    s, d = b[2] - a[2], b[4] - a[4]
    x, y = _axes(a), _axes(b)
    only_a, only_b = [v for v in x if v not in y], [v for v in y if v not in x]
    if len(only_a) > 1 or len(only_b) > 1 or not (only_a or only_b):
        return None
    count_a, ss_a, ds_a = only_a[0] if only_a else (1, *only_b[0][1:])
    count_b, ss_b, ds_b = only_b[0] if only_b else (1, ss_a, ds_a)
    if (ss_a, ds_a) != (ss_b, ds_b) or (s, d) != (count_a * ss_a, count_a * ds_a):
        return None
    axes = [v for v in x if v in y] + [(count_a + count_b, ss_a, ds_a)]
    return canonical(a[0], [v[0] for v in axes], a[2], [v[1] for v in axes], a[4], [v[2] for v in axes])


def _axes(piece: Piece) -> list[tuple[int, int, int]]:
    return list(zip(piece[1], piece[3], piece[5], strict=True))
