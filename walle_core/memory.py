"""Arena planning: where each buffer of known lifetime lives in one block of memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

ALIGN = 64  # one cache line, and the widest vector
MAX_REPAIRS = 40  # further orders that are tried for one arena
REPAIR_WORK = 1 << 21  # pairs of buffers that these tries may compare


def available_bytes() -> int:
    """Bytes that this process can still take: the least of the machine's free memory, its container's and its own limit."""
    limits = [sys.maxsize]
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            limits.append(int(line.split()[1]) << 10)
    allowed, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if allowed.isdigit() and used.isdigit():
        limits.append(int(allowed) - int(used))
    try:
        import resource
    except ImportError:  # not a POSIX system
        return min(limits)
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    taken = _read("/proc/self/statm").split()
    if own != resource.RLIM_INFINITY and taken:
        limits.append(own - int(taken[0]) * resource.getpagesize())
    return max(0, min(limits))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


@attrs.frozen
class Lifetime:
    """A buffer of `nbytes` that must stay intact from step `first` to step `last`, both included."""

    nbytes: int
    first: int
    last: int


@attrs.frozen
class ArenaPlan:
    """Byte offset per buffer, the arena's size, and the most bytes that are live at once (no plan can be smaller)."""

    offsets: tuple[int, ...]
    nbytes: int
    lower_bound: int


def _round(nbytes: int) -> int:
    return (nbytes + ALIGN - 1) // ALIGN * ALIGN


def _place(lifetimes: Sequence[Lifetime], order: Sequence[int]) -> tuple[list[int], int]:
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last; sorted by offset
    top = 0
    for index in order:
        item = lifetimes[index]
        need = _round(item.nbytes)
        best, best_gap, cursor = -1, -1, 0
        for offset, end, first, last in placed:
            if last < item.first or first > item.last:
                continue
            gap = offset - cursor
            if gap >= need and (best < 0 or gap < best_gap):
                best, best_gap = cursor, gap
            cursor = max(cursor, end)
        if best < 0:
            best = cursor
        offsets[index] = best
        top = max(top, best + need)
        entry = (best, best + need, item.first, item.last)
        low, high = 0, len(placed)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if placed[middle][0] < best else (low, middle)
        placed.insert(low, entry)
    return offsets, top


def lower_bound(lifetimes: Sequence[Lifetime]) -> int:
    """The most bytes that are live at one step."""
    steps = 1 + max((t.last for t in lifetimes), default=0)
    change = [0] * (steps + 1)
    for t in lifetimes:
        change[t.first] += _round(t.nbytes)
        change[t.last + 1] -= _round(t.nbytes)
    live = peak = 0
    for delta in change:
        live += delta
        peak = max(peak, live)
    return peak


def plan_arena(lifetimes: Sequence[Lifetime]) -> ArenaPlan:
    """Offsets by best fit, trying several orders until one reaches the lower bound (Pisarchyk & Lee 2020, greedy by size).

    Where none does, the buffers that stick out at the top of the best plan are placed first in the next try.
    """
    bound = lower_bound(lifetimes)
    indices = range(len(lifetimes))
    orders: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-lifetimes[i].nbytes, lifetimes[i].first),
        lambda i: (lifetimes[i].first, -lifetimes[i].nbytes),
        lambda i: (-(lifetimes[i].last - lifetimes[i].first), -lifetimes[i].nbytes),
        lambda i: (-lifetimes[i].nbytes * (1 + lifetimes[i].last - lifetimes[i].first), lifetimes[i].first),
    ]
    best: tuple[int, list[int], list[int]] | None = None  # arena size, order, offsets
    for key in orders:
        order = sorted(indices, key=key)
        offsets, top = _place(lifetimes, order)
        if best is None or top < best[0]:
            best = top, order, offsets
        if top <= bound:
            break
    assert best is not None
    top, order, offsets = best
    for _ in range(min(MAX_REPAIRS, REPAIR_WORK // max(1, len(lifetimes) ** 2))):
        if best[0] <= bound:
            break
        peak = {i for i in indices if offsets[i] + _round(lifetimes[i].nbytes) == top}
        order = [*(i for i in order if i in peak), *(i for i in order if i not in peak)]
        offsets, top = _place(lifetimes, order)
        if top < best[0]:
            best = top, order, offsets
    return ArenaPlan(tuple(best[2]), best[0], bound)
