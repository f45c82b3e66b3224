"""Ranges of activations, from runs on calibration data: least squares, min-max, percentile, entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from walle_core.errors import InputError
from walle_core.ops.numpy_lazy import np

METHODS = ("mse", "minmax", "percentile", "entropy")
BINS = 2048
SHARES = tuple(i / 20 for i in range(20, 3, -1))  # of a range that the least-squares method tries


@attrs.define(eq=False)
class Range:
    """What was seen of one value.

    Attributes:
        low, high: smallest and largest element.
        mean: per channel (axis 1), None where there is no such axis.
        runs: how many runs went into `mean`.
        counts: histogram over [low, high], made in a second pass; None without one.
    """

    low: float = float("inf")
    high: float = -float("inf")
    mean: Any = None
    runs: int = 0
    counts: Any = None

    def see(self, value: Any, name: str) -> None:
        """Takes a run's value in. Raises InputError for NaN and infinity."""
        if not np.isfinite(value).all():
            raise InputError(f"value {name!r} is not finite on the calibration data; clean the data")
        self.low, self.high = min(self.low, float(value.min())), max(self.high, float(value.max()))
        if value.ndim > 1:
            now = value.mean(axis=tuple(i for i in range(value.ndim) if i != 1), dtype=np.float64)
            self.mean = now if self.mean is None else self.mean + (now - self.mean) / (self.runs + 1)
        self.runs += 1

    def count(self, value: Any) -> None:
        """Takes a run's value into the histogram."""
        made = np.histogram(value, BINS, (self.low, max(self.high, self.low + 1e-12)))[0]
        self.counts = made if self.counts is None else self.counts + made

    def limits(self, method: str, percentile: float) -> tuple[float, float]:
        """(low, high) of the values worth distinguishing."""
        if method == "minmax" or self.counts is None or self.low >= self.high:
            return self.low, self.high
        edges = np.linspace(self.low, self.high, BINS + 1)
        if method == "percentile":
            share = np.cumsum(self.counts) / self.counts.sum()
            tail = (1 - percentile / 100) / 2
            return float(edges[np.searchsorted(share, tail)]), float(
                edges[min(BINS, np.searchsorted(share, 1 - tail) + 1)]
            )
        return (_entropy if method == "entropy" else _least_squares)(self.counts, edges)


def _least_squares(counts: Any, edges: Any) -> tuple[float, float]:
    """The range whose 256 levels are nearest to the elements in the mean of squares."""
    middle, used = (edges[:-1] + edges[1:]) / 2, counts > 0
    middle, weight = middle[used], counts[used]
    low, high = min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)
    best, found = np.inf, (low, high)
    for a in SHARES if low < 0 else (1.0,):
        for b in SHARES if high > 0 else (1.0,):
            scale = max((high * b - low * a) / 255, 1e-12)
            zero = np.rint(-low * a / scale)
            levels = np.clip(np.rint(middle / scale) + zero, 0, 255)
            error = float((weight * ((levels - zero) * scale - middle) ** 2).sum())
            if error < best:
                best, found = error, (low * a, high * b)
    return found


def _entropy(counts: Any, edges: Any) -> tuple[float, float]:
    """The cut of the histogram whose levels lose the least information.

    Kullback-Leibler divergence between what is clipped and its coarse form (Migacz, 8-bit Inference with TensorRT, 2017).
    Elements near zero are left out, as an activation makes any number of them.
    """
    middle = (edges[:-1] + edges[1:]) / 2
    reach = max(abs(float(edges[0])), abs(float(edges[-1])))
    folded = np.histogram(np.abs(middle), BINS, (0.0, reach), weights=counts)[0].astype(np.float64)
    folded[0] = min(folded[0], folded[1])
    count = 256 if edges[0] >= 0 or edges[-1] <= 0 else 128
    best, cut = np.inf, BINS
    for size in range(count, BINS + 1, 16):
        clipped = folded[:size].copy()
        clipped[-1] += folded[size:].sum()
        groups = np.arange(size) * count // size
        filled = folded[:size] > 0
        sums, present = np.bincount(groups, folded[:size], count), np.bincount(groups, filled, count)
        coarse = np.where(filled, (sums / np.maximum(present, 1))[groups], 0.0)
        if not coarse.sum():
            continue
        p, q = clipped / clipped.sum(), coarse / coarse.sum()
        used = p > 0
        divergence = float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], 1e-12))))
        if divergence < best:
            best, cut = divergence, size
    limit = reach * cut / BINS
    return max(float(edges[0]), -limit), min(float(edges[-1]), limit)


def observe(
    run: Callable[[Mapping[str, Any]], Mapping[str, Any]], batches: Iterable[Mapping[str, Any]], method: str,
    progress: Callable[[str], None],
) -> dict[str, Range]:  # fmt: skip
    """Ranges of all values that `run` gives, over all batches; two passes where a histogram is needed."""
    found: dict[str, Range] = {}
    data = list(batches)
    for index, feeds in enumerate(data):
        progress(f"calibration {index + 1} of {len(data)}")
        for name, value in run(feeds).items():
            found.setdefault(name, Range()).see(np.asarray(value), name)
    if method != "minmax":
        for index, feeds in enumerate(data):
            progress(f"histograms {index + 1} of {len(data)}")
            for name, value in run(feeds).items():
                found[name].count(np.asarray(value))
    return found
