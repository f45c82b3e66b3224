"""How Resize samples one axis: for every output position the input positions it reads and their weights. No NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite
from typing import Any

import attrs

from walle_core.ops.rules import normal_axes, text

Tap = tuple[int, float]  # input index, weight
MAX_OUT = 1 << 22  # positions along one resized axis, each of which is looked at when shapes are known
KEYS_A = -0.75  # free parameter of the cubic kernel in ONNX
OUTSIDE: list[Tap] = []  # a position that takes the extrapolation value

EXTRAPOLATED = "tf_crop_and_resize"  # coordinates of this kind may fall outside the input
MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    EXTRAPOLATED,
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
    if kind == EXTRAPOLATED:
        if axis.out > 1:
            return axis.start * (axis.size - 1) + i * (axis.end - axis.start) * (axis.size - 1) / (
                axis.out - 1
            )
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
        if how.coordinates == EXTRAPOLATED and not 0 <= x <= axis.size - 1:
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


def numbers(value: Any) -> list[float]:
    """A constant (Tensor or array) as a flat list; empty for None."""
    found = value.tolist() if value is not None else []
    return [float(v) for v in found] if isinstance(found, list) else [float(found)]


def plan(
    shape: Sequence[int],
    scales: Sequence[float],
    sizes: Sequence[float],
    roi: Sequence[float],
    attrs: Mapping[str, Any],
) -> dict[int, Axis]:
    """The axes to resize. Raises ValueError when scales, sizes, axes and roi do not fit."""
    axes = list(range(len(shape)))
    if attrs["axes"] is not None:
        normal_axes(attrs["axes"], len(shape))
        axes = [a % len(shape) for a in attrs["axes"]]
    if (len(scales) > 0) == (len(sizes) > 0):
        raise ValueError("needs either scales or sizes")
    given = scales or sizes
    if len(given) != len(axes) or (roi and len(roi) != 2 * len(axes)):
        raise ValueError(
            f"scales or sizes need {len(axes)} entries and roi twice as many, found {given} and {roi}"
        )
    if not all(isfinite(v) and v >= 0 for v in given) or (scales and min(scales) <= 0):
        raise ValueError(f"scales must be positive and sizes not negative, found {given}")
    policy = text(attrs["keep_aspect_ratio_policy"])
    if sizes and policy != "stretch":
        if policy not in ("not_larger", "not_smaller"):
            raise ValueError(f"keep_aspect_ratio_policy {policy!r} is not known")
        pick = min if policy == "not_larger" else max
        common = pick(s / shape[a] for s, a in zip(sizes, axes, strict=True))
        found = {a: Axis(shape[a], floor(common * shape[a] + 0.5), common) for a in axes}
    elif sizes:
        found = {
            a: Axis(shape[a], int(s), s / shape[a] if shape[a] else 1.0)
            for s, a in zip(sizes, axes, strict=True)
        }
    else:
        found = {a: Axis(shape[a], floor(shape[a] * s), s) for s, a in zip(scales, axes, strict=True)}
    if text(attrs["coordinate_transformation_mode"]) == EXTRAPOLATED:
        n = len(axes)
        region = roi or [0.0] * n + [1.0] * n
        for i, a in enumerate(axes):
            axis, span = found[a], region[i + n] - region[i]
            out = floor(axis.size * span * axis.scale) if scales else axis.out
            found[a] = Axis(axis.size, out, axis.scale, region[i], region[i + n])
    changed = {a: axis for a, axis in found.items() if axis != Axis(axis.size, axis.size, 1.0)}
    if any(
        not 0 <= axis.out <= MAX_OUT or (axis.size == 0 < axis.out) or (axis.out and axis.scale * MAX_OUT < 1)
        for axis in changed.values()
    ):
        raise ValueError(f"cannot resize {list(shape)} to {[a.out for a in found.values()]}")
    return changed


def sampling(attrs: Mapping[str, Any]) -> Sampling:
    """The sampling that a node's attributes ask for. Raises ValueError if they name an unknown mode."""
    mode, coordinates = text(attrs["mode"]), text(attrs["coordinate_transformation_mode"])
    rounding = text(attrs["nearest_mode"])
    if mode not in MODES or coordinates not in COORDINATES or rounding not in ROUNDINGS:
        raise ValueError(f"{mode!r}, {coordinates!r} or {rounding!r} is no mode of Resize")
    antialias = bool(attrs["antialias"]) and mode != "nearest"
    return Sampling(
        mode, coordinates, rounding, attrs["cubic_coeff_a"], bool(attrs["exclude_outside"]), antialias
    )
