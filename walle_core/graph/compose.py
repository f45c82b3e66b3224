"""Composition of strided copies: what a copy reads when it reads through another one. Pure Python.

The tensor between the two ("vertical merging" in Walle, OSDI'22) is read in mixed-radix coordinates whose levels are the
destination strides of the producer; a consumer axis that carries from one level into the next is split where the carry
happens, an axis that leaves the producer's box is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import attrs

from walle_core.graph.regions import Ints, Piece, canonical

Box = tuple[Ints, int, Ints, int, Ints]  # a piece without its origin


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


def _carry(
    box: Box, digits: list[list[int]], base: list[int], levels: list[Level], limit: int
) -> list[Box] | None:
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
        if ss[k] < levels[m - 1].stride and (
            not others or (radix % step == 0 and base[m] % step + others < step)
        ):
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
        at = _digits(box[1] - base, levels)
        digits = [_digits(s, levels) for s in box[2]]
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


def _through(
    box: Box, digits: list[list[int]], at: list[int], levels: list[Level], producer: Piece
) -> Piece | None:
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
