"""How Resize samples one axis: for every output position the input positions it reads and their weights. No NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

import attrs

Tap = tuple[int, float]  # input index, weight
KEYS_A = -0.75  # free parameter of the cubic kernel in ONNX
OUTSIDE: list[Tap] = []  # a position that takes the extrapolation value

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple")


@attrs.frozen
class Axis:
    """One resized axis: sizes before and after, the scale (after / before, may be fractional) and the region of interest."""

    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@attrs.frozen
class Sampling:
    """The attributes of Resize that decide which elements are read."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = KEYS_A
    exclude_outside: bool = False
    antialias: bool = False


def coordinate(axis: Axis, i: int, kind: str) -> float:
    """The input coordinate that output position i stands for."""
    if kind == "align_corners":
        last = axis.scale * axis.size - 1  # not axis.out - 1: a fractional scale keeps its fraction
        return i * (axis.size - 1) / last if axis.out > 1 else 0.0
    if kind == "asymmetric":
        return i / axis.scale
    if kind == "tf_half_pixel_for_nn":
        return (i + 0.5) / axis.scale
    if kind == "tf_crop_and_resize":
        if axis.out > 1:
            return axis.start * (axis.size - 1) + i * (axis.end - axis.start) * (axis.size - 1) / (axis.out - 1)
        return 0.5 * (axis.start + axis.end) * (axis.size - 1)
    if kind == "pytorch_half_pixel" and axis.out <= 1:
        return 0.0
    x = (i + 0.5) / axis.scale - 0.5
    if kind == "half_pixel_symmetric":
        wanted = axis.scale * axis.size
        x += axis.size / 2 * (1 - axis.out / wanted)
    return x


def nearest(x: float, rounding: str, scale: float = 1.0) -> int:
    """The index nearest to a coordinate; `rounding` settles ties or replaces the nearest by a neighbour."""
    if rounding == "simple":
        return ceil(x) if scale < 1 else int(x)
    if rounding == "floor":
        return floor(x)
    if rounding == "ceil":
        return ceil(x)
    return ceil(x - 0.5) if rounding == "round_prefer_floor" else floor(x + 0.5)


def keys_kernel(t: float, a: float) -> float:
    """Keys' convolution kernel (IEEE ASSP 29(6), 1981, equation 4) with free parameter a."""
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0


def _taps(axis: Axis, x: float, how: Sampling) -> list[Tap]:
    """Weighted neighbours of a coordinate; the filter widens when an antialiased axis shrinks."""
    stretch = max(1.0, 1 / axis.scale) if how.antialias else 1.0
    radius = (1.0 if how.mode == "linear" else 2.0) * stretch
    first, last = ceil(x - radius), floor(x + radius)
    taps = []
    for k in range(first, last + 1):
        t = (k - x) / stretch
        weight = max(0.0, 1 - abs(t)) if how.mode == "linear" else keys_kernel(t, how.cubic)
        if weight:
            taps.append((k, weight))
    if how.exclude_outside:
        taps = [(k, w) for k, w in taps if 0 <= k < axis.size] or taps
    total = sum(w for _, w in taps)
    if how.exclude_outside or how.antialias:
        taps = [(k, w / total) for k, w in taps]
    return taps


def samples(axis: Axis, how: Sampling) -> list[list[Tap]]:
    """The taps of every output position, indices inside the axis, each index once."""
    found = []
    for i in range(axis.out):
        x = coordinate(axis, i, how.coordinates)
        if how.coordinates == "tf_crop_and_resize" and not 0 <= x <= axis.size - 1:
            found.append(OUTSIDE)
            continue
        taps = [(nearest(x, how.rounding, axis.scale), 1.0)] if how.mode == "nearest" else _taps(axis, x, how)
        weights: dict[int, float] = {}
        for k, w in taps:
            k = min(max(k, 0), axis.size - 1)
            weights[k] = weights.get(k, 0.0) + w
        found.append(sorted(weights.items()))
    return found


def progression(indices: Sequence[int]) -> tuple[int, int, int] | None:
    """(first, step, repeats) if the indices are first + step * (i // repeats), all of them repeated equally; else None."""
    repeats = next((i for i, k in enumerate(indices) if k != indices[0]), len(indices))
    if len(indices) % repeats:
        return None
    heads = indices[::repeats]
    step = heads[1] - heads[0] if len(heads) > 1 else 1
    expected = [heads[0] + step * (i // repeats) for i in range(len(indices))]
    return (heads[0], step, repeats) if step > 0 and list(indices) == expected else None
