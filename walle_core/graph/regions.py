"""Geometry of strided copies: canonical form, composition of two copies, joining of adjacent ones. Pure Python.

A piece is the tuple (origin, size, src_offset, src_strides, dst_offset, dst_strides), any rank, all in elements. The
canonical form has no axis of size 1, positive destination strides in descending order, and no two axes that could be
one. Composition ("vertical merging" in Walle, OSDI'22) reads the tensor in between in mixed-radix coordinates whose
levels are the destination strides of the producer; a consumer axis that carries from one level into the next is split
where the carry happens, an axis that leaves the producer's box is clipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import gcd, prod
from typing import Any

import attrs

from walle_core.ops.define import Region, View

Ints = tuple[int, ...]
Piece = tuple[Any, Ints, int, Ints, int, Ints]
Box = tuple[Ints, int, Ints, int, Ints]  # a piece without its origin

KERNEL_RANK = 3  # axes of one region of the raster kernel


def canonical(origin: Any, size: Sequence[int], so: int, ss: Sequence[int], do: int, ds: Sequence[int]) -> Piece | None:
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
    return (origin, tuple([a[1] for a in axes]), so, tuple([a[2] for a in axes]), do, tuple([a[0] for a in axes]))


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


@attrs.frozen
class Level:
    """One digit of the coordinates of a tensor between two copies.

    Attributes:
        stride: elements per unit of this digit.
        radix: values the digit takes; 0 for the leading one, which has no bound.
        start, step, count: the digit values that the producer writes: start + step * t for t < count.
        src: source elements per step.
    """

    stride: int
    radix: int
    start: int
    step: int
    count: int
    src: int


def levels_of(producer: Piece) -> tuple[list[Level], int] | None:
    """Coordinates in which a producer's destination is a box, and the address they count from; None if there are none."""
    _, size, _, ss, do, ds = producer
    strides: list[int] = []
    for d in ds:
        strides.append(d if not strides or strides[-1] % d == 0 else gcd(strides[-1], d))
    rows = [(stride, d // stride, n, s) for stride, n, s, d in zip(strides, size, ss, ds, strict=True)]
    if not strides or strides[-1] != 1:
        rows.append((1, 1, 1, 0))
    for base in (0, do):
        rest, above = do - base, 0
        levels = []
        for stride, step, n, s in rows:
            start, rest = divmod(rest, stride)
            radix = above // stride
            if above and (above == stride or start + step * (n - 1) >= radix):
                break
            levels.append(Level(stride, radix, start, step, n, s))
            above = stride
        else:
            return levels, base
    return None


def _with_axis(box: Box, k: int, first: int, count: int, stride: int = 1) -> Box:
    """The part of a box with indices first, first + stride, ... of axis k."""
    size, so, ss, do, ds = box
    return (
        (*size[:k], count, *size[k + 1 :]),
        so + first * ss[k],
        (*ss[:k], ss[k] * stride, *ss[k + 1 :]),
        do + first * ds[k],
        (*ds[:k], ds[k] * stride, *ds[k + 1 :]),
    )


def _each(box: Box, k: int) -> list[Box]:
    return [_with_axis(box, k, i, 1) for i in range(box[0][k])]


def _split_at_carry(box: Box, k: int, radix: int, start: int, step: int, limit: int) -> list[Box] | None:
    """Cuts axis k, whose index i has the digit start + step * i, where that digit passes a multiple of radix."""
    n = box[0][k]
    if radix % step:
        parts, i = [], 0
        while i < n:
            count = min(n - i, -(-(radix - (start + step * i) % radix) // step))
            parts.append(_with_axis(box, k, i, count))
            i += count
            if len(parts) > limit:
                return None
        return parts
    period = radix // step
    head = min(n, -(start // step) % period)
    groups, tail = divmod(n - head, period)
    parts = [_with_axis(box, k, 0, head)] if head else []
    if groups:
        size, so, ss, do, ds = _with_axis(box, k, head, period)
        parts.append(((*size, groups), so, (*ss, ss[k] * period), do, (*ds, ds[k] * period)))
    if tail:
        parts.append(_with_axis(box, k, n - tail, tail))
    return parts


def _carry(box: Box, digits: list[list[int]], base: list[int], levels: list[Level], limit: int) -> list[Box] | None:
    """The parts of a box in which no digit carries into the next; [box] if none did, None if too many."""
    size, _, ss, _, _ = box
    for m in range(len(levels) - 1, 0, -1):
        radix = levels[m].radix
        reach = base[m] + sum([c[m] * (n - 1) for c, n in zip(digits, size, strict=True)])
        if reach < radix:
            continue
        taking = [k for k, c in enumerate(digits) if c[m]]
        k = max(taking, key=lambda k: digits[k][m])
        step = digits[k][m]
        others = sum(digits[i][m] * (size[i] - 1) for i in taking if i != k)
        if ss[k] < levels[m - 1].stride and (not others or (radix % step == 0 and base[m] % step + others < step)):
            return _split_at_carry(box, k, radix, base[m], step, limit)
        k = min(taking, key=lambda k: size[k])
        return _each(box, k) if size[k] <= limit else None
    return [box]


def _clip(box: Box, k: int, start: int, unit: int, level: Level) -> tuple[list[Box], list[Box]]:
    """(parts to look at again, parts outside) for axis k, the only one that moves this digit, by `unit` from `start`."""
    n = box[0][k]
    last = level.start + level.step * (level.count - 1)
    first = max(0, -((start - level.start) // unit))
    end = min(n, (last - start) // unit + 1)
    if first >= end:
        return [], [box]
    if first > 0 or end < n:
        outside = [_with_axis(box, k, 0, first)] if first else []
        if end < n:
            outside.append(_with_axis(box, k, end, n - end))
        return [_with_axis(box, k, first, end - first)], outside
    period = level.step // gcd(unit, level.step)
    if period == 1:
        return [], [box]
    return [_with_axis(box, k, r, -(-(n - r) // period), period) for r in range(min(period, n))], []


def _drop_ones(box: Box) -> Box:
    size, so, ss, do, ds = box
    if 1 not in size:
        return box
    kept = [k for k, n in enumerate(size) if n != 1]
    return tuple([size[k] for k in kept]), so, tuple([ss[k] for k in kept]), do, tuple([ds[k] for k in kept])


def _digits(value: int, levels: list[Level]) -> list[int]:
    found = []
    for level in levels:
        digit, value = divmod(value, level.stride)
        found.append(digit)
    return found


def _positive(box: Box) -> Box:
    size, so, ss, do, ds = box
    if not ss or min(ss) >= 0:
        return box
    so += sum([(n - 1) * s for n, s in zip(size, ss, strict=True) if s < 0])
    do += sum([(n - 1) * d for n, s, d in zip(size, ss, ds, strict=True) if s < 0])
    ds = tuple([-d if s < 0 else d for s, d in zip(ss, ds, strict=True)])
    return size, so, tuple([abs(s) for s in ss]), do, ds


def compose(consumer: Box, producer: Piece, limit: int) -> tuple[list[Piece], list[Box]] | None:
    """Reads through a producer.

    Returns (pieces that read the producer's origin, parts of the consumer that the producer does not write), or
    None if that takes more than about `limit` pieces.
    """
    found = levels_of(producer)
    if found is None:
        return None
    levels, base = found
    inside: list[Piece] = []
    outside: list[Box] = []
    work = [_positive(consumer)]
    budget = 4 * limit + 16
    while work:
        budget -= 1
        if budget < 0 or len(inside) + len(outside) > limit:
            return None
        box = _drop_ones(work.pop())
        size, so, ss, do, ds = box
        at = _digits(so - base, levels)
        digits = [_digits(s, levels) for s in ss]
        parts = _carry(box, digits, at, levels, limit)
        if parts is None:
            return None
        if len(parts) > 1 or parts[0] is not box:
            work += parts
            continue
        again, out = _members(box, digits, at, levels, limit)
        if again is None:
            return None
        work += again
        outside += out
        if not again and not out:
            piece = _through(box, digits, at, levels, producer)
            if piece is not None:
                inside.append(piece)
    return inside, outside


def _members(
    box: Box, digits: list[list[int]], at: list[int], levels: list[Level], limit: int
) -> tuple[list[Box] | None, list[Box]]:
    """([], []) if the producer writes the whole box; else (parts to look at again or None for too many, parts outside)."""
    size = box[0]
    for m, level in enumerate(levels):
        low = at[m]
        moving = [k for k, c in enumerate(digits) if c[m]]
        last = level.start + level.step * (level.count - 1)
        high = low + sum([digits[k][m] * (size[k] - 1) for k in moving])
        if high < level.start or low > last:
            return [], [box]
        aligned = level.step == 1 or (
            (low - level.start) % level.step == 0 and all(digits[k][m] % level.step == 0 for k in moving)
        )
        if aligned and low >= level.start and high <= last:
            continue
        if not moving:
            return [], [box]
        if len(moving) > 1:
            k = min(moving, key=lambda k: size[k])
            return (_each(box, k) if size[k] <= limit else None), []
        return _clip(box, moving[0], low, digits[moving[0]][m], level)
    return [], []


def _through(box: Box, digits: list[list[int]], at: list[int], levels: list[Level], producer: Piece) -> Piece | None:
    """The box, which lies in the producer's destination, as a piece that reads the producer's origin."""
    size, _, _, do, ds = box
    offset = producer[2]
    for digit, level in zip(at, levels, strict=True):
        offset += (digit - level.start) // level.step * level.src
    strides = [sum([c // lv.step * lv.src for c, lv in zip(row, levels, strict=True)]) for row in digits]
    return canonical(producer[0], size, offset, strides, do, ds)


def span(size: Sequence[int], offset: int, strides: Sequence[int]) -> tuple[int, int]:
    """Lowest and highest address of a view of non-zero size."""
    low = high = offset
    for n, s in zip(size, strides, strict=True):
        if s < 0:
            low += (n - 1) * s
        else:
            high += (n - 1) * s
    return low, high


def substitute(piece: Piece, producers: Sequence[Piece], limit: int) -> tuple[list[Piece], list[Box]] | None:
    """Reads the origins of `producers`, which together make the piece's origin.

    Returns (pieces, parts that no producer writes), or None if that takes more than about `limit` pieces.
    """
    done: list[Piece] = []
    rest: list[Box] = [piece[1:]]
    for producer in producers:
        if not rest:
            break
        low, high = span(producer[1], producer[4], producer[5])
        plain = producer[3] == producer[5] == (1,)
        left: list[Box] = []
        for box in rest:
            first, last = span(box[0], box[1], box[2])
            if last < low or first > high:
                left.append(box)
            elif plain and low <= first and last <= high:
                moved = canonical(producer[0], box[0], box[1] + producer[2] - low, box[2], box[3], box[4])
                done.append(moved)  # type: ignore[arg-type]
            else:
                cut = compose(box, producer, limit)
                if cut is None:
                    return None
                done += cut[0]
                left += cut[1]
        rest = left
        if len(done) + len(rest) > limit:
            return None
    return done, rest


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
            while end < len(members) and (members[end][2] - members[end - 1][2], members[end][4] - members[end - 1][4]) == (s, d):
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
