"""Resize and Upsample: every axis is resampled on its own, as copies, gathers or a product with constant weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.interpolation import EXTRAPOLATED, Tap, numbers, plan, progression, samples, sampling
from walle_core.ops.numpy_lazy import np
from walle_core.ops.precision import widen
from walle_core.ops.rules import rule, text
from walle_core.types import TensorSpec

Specs = list[TensorSpec] | None
MAX_GATHERED = 4  # taps per output up to which shifted gathers beat a dense product


@rule
def _resize_infer(ctx: OpContext) -> Specs:
    sampling(ctx.attrs)
    given: list[list[float]] = []
    for i in (1, 2, 3):
        if ctx.has(i) and ctx.spec(i).size and not ctx.constant(i):
            if i > 1 or text(ctx.attrs["coordinate_transformation_mode"]) == EXTRAPOLATED:
                return None
            given.append([])
        else:
            given.append(numbers(ctx.values[i]) if ctx.constant(i) else [])
    roi, scales, sizes = given
    shape = list(ctx.shape(0))
    for a, axis in plan(shape, scales, sizes, roi, ctx.attrs).items():
        shape[a] = axis.out
    return [TensorSpec(ctx.dtype(0), tuple(shape))]


def _along(x: Any, a: int, taps: list[list[Tap]], extrapolation: float) -> Any:
    """Resamples axis a with a dense weight matrix."""
    weights = np.zeros((len(taps), x.shape[a]), x.dtype)
    for i, row in enumerate(taps):
        for k, w in row:
            weights[i, k] = w
    y = np.moveaxis(np.tensordot(x, weights, ((a,), (1,))), -1, a)
    outside = [i for i, row in enumerate(taps) if not row]
    if outside:
        y[(slice(None),) * a + (outside,)] = extrapolation
    return y


def _resize_reference(
    X: Any,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: str = "stretch",
) -> Any:
    attrs = {
        "mode": mode, "coordinate_transformation_mode": coordinate_transformation_mode, "nearest_mode": nearest_mode,
        "cubic_coeff_a": cubic_coeff_a, "exclude_outside": exclude_outside, "antialias": antialias, "axes": axes,
        "keep_aspect_ratio_policy": keep_aspect_ratio_policy,
    }  # fmt: skip
    how = sampling(attrs)
    y = X
    outside: list[tuple[int, list[int]]] = []
    for a, axis in plan(X.shape, numbers(scales), numbers(sizes), numbers(roi), attrs).items():
        taps = samples(axis, how)
        outside.append((a, [i for i, row in enumerate(taps) if not row]))
        if how.mode == "nearest":
            y = np.take(y, [row[0][0] if row else 0 for row in taps], a)
        else:
            wide = widen(y)
            y = _along(wide.astype(np.float64) if wide.dtype.kind in "iu" else wide, a, taps, 0.0)
    if X.dtype.kind in "iu" and y.dtype.kind == "f":
        limits = np.iinfo(X.dtype)
        y = np.clip(np.rint(y), limits.min, limits.max)
    y = np.array(y, X.dtype)
    for a, where in outside:
        y[(slice(None),) * a + (where,)] = extrapolation_value
    return y


def _nearest_along(g: Any, x: str, a: int, indices: list[int]) -> str:
    """Copies positions of axis a: a strided slice and a repetition where they are regular, else a gather."""
    pattern = progression(indices)
    if pattern is None:
        return str(g.Gather(x, g.const(indices, "int64"), axis=a))
    first, step, repeats = pattern
    count = len(indices) // repeats
    shape = list(g.shape(x))
    if (first, step, count) != (0, 1, shape[a]):
        bounds = [g.const([v], "int64") for v in (first, first + step * (count - 1) + 1, a, step)]
        x = g.Slice(x, *bounds)
    if repeats > 1:
        shape[a] = count
        x = g.Unsqueeze(x, g.const([a + 1], "int64"))
        x = g.Expand(x, g.const([*shape[: a + 1], repeats, *shape[a + 1 :]], "int64"))
        shape[a] = count * repeats
        x = g.Reshape(x, g.const(shape, "int64"))
    return x


def _weighted_along(g: Any, x: str, a: int, taps: list[list[Tap]], size: int) -> str:
    """Resamples axis a of a floating-point value."""
    rank, width = len(g.shape(x)), max(1, *map(len, taps))
    if width > MAX_GATHERED:
        perm = [k for k in range(rank) if k != a] + [a]
        matrix = [[0.0] * len(taps) for _ in range(size)]
        for i, row in enumerate(taps):
            for k, w in row:
                matrix[k][i] = w
        y = g.MatMul(g.Transpose(x, perm=perm), g.const(matrix, like=x))
        return str(g.Transpose(y, perm=[perm.index(k) for k in range(rank)]))
    total = ""
    for t in range(width):
        column = [row[t] if t < len(row) else (row[-1][0] if row else 0, 0.0) for row in taps]
        weights = g.Reshape(
            g.const([w for _, w in column], like=x),
            g.const([len(taps) if k == a else 1 for k in range(rank)], "int64"),
        )
        part = g.Mul(_nearest_along(g, x, a, [k for k, _ in column]), weights)
        total = g.Add(total, part) if total else part
    return total


@composite(
    "Resize",
    "resize",
    infer=_resize_infer,
    reference=_resize_reference,
    ulp=64,
    samples=(
        Sample(((1, 2, 3, 4), None, [1.0, 1.0, 2.0, 2.0])),
        Sample(((1, 2, 4, 5), None, None, [1, 2, 7, 3]), {"mode": "linear"}),
        Sample(((1, 1, 5, 4), None, [1.0, 1.0, 0.6, 1.7]), {"mode": "cubic", "exclude_outside": 1}),
        Sample(((1, 1, 9, 8), None, None, [1, 1, 4, 3]), {"mode": "linear", "antialias": 1}),
        Sample(((2, 6, 3), None, None, [3]), {"axes": (1,), "coordinate_transformation_mode": "asymmetric"}),
    ),
)
def resize(
    g: Any,
    X: str,
    roi: str | None = None,
    scales: str | None = None,
    sizes: str | None = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    keep_aspect_ratio_policy: str = "stretch",
) -> Any:
    """Resamples axes to other sizes by nearest, linear or cubic interpolation."""
    attrs = {
        "mode": mode, "coordinate_transformation_mode": coordinate_transformation_mode, "nearest_mode": nearest_mode,
        "cubic_coeff_a": cubic_coeff_a, "exclude_outside": exclude_outside, "antialias": antialias, "axes": axes,
        "keep_aspect_ratio_policy": keep_aspect_ratio_policy,
    }  # fmt: skip
    ratio, wanted, region = [
        numbers(g.constants[n]) if n is not None and n in g.constants else [] for n in (scales, sizes, roi)
    ]
    how = sampling(attrs)
    wide = (
        X
        if how.mode == "nearest" or (g.dtype(X).kind == "f" and g.dtype(X).itemsize >= 4)
        else g.Cast(X, to=1)
    )
    y = wide
    inside: str | None = None
    rank = len(g.shape(X))
    for a, axis in plan(g.shape(X), ratio, wanted, region, attrs).items():
        taps = samples(axis, how)
        if how.mode == "nearest":
            y = _nearest_along(g, y, a, [row[0][0] if row else 0 for row in taps])
        else:
            y = _weighted_along(g, y, a, taps, axis.size)
        if not all(taps):
            mask = g.Reshape(
                g.const([bool(row) for row in taps], "bool"),
                g.const([len(taps) if k == a else 1 for k in range(rank)], "int64"),
            )
            inside = mask if inside is None else g.And(inside, mask)
    if wide != X:
        y = g.CastLike(g.Round(y) if g.dtype(X).kind in "iu" else y, X)
    if inside is not None:
        y = g.Where(inside, y, g.const(extrapolation_value, like=X))
    return g.Identity(y) if y == X else y


@rule
def _upsample_infer(ctx: OpContext) -> Specs:
    if not ctx.constant(1):
        return None
    shape = list(ctx.shape(0))
    for a, axis in plan(shape, numbers(ctx.values[1]), [], [], _UPSAMPLE).items():
        shape[a] = axis.out
    return [TensorSpec(ctx.dtype(0), tuple(shape))]


_UPSAMPLE = {
    "axes": None,
    "keep_aspect_ratio_policy": "stretch",
    "coordinate_transformation_mode": "asymmetric",
}


def _upsample_reference(X: Any, scales: Any, *, mode: str = "nearest") -> Any:
    return _resize_reference(
        X, None, scales, mode=text(mode).replace("bilinear", "linear"),
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


@composite(
    "Upsample",
    "resize",
    infer=_upsample_infer,
    reference=_upsample_reference,
    samples=(Sample(((1, 1, 2, 2), [1.0, 1.0, 2.0, 3.0])),),
)
def upsample(g: Any, X: str, scales: str, *, mode: str = "nearest") -> Any:
    """The deprecated form of Resize: asymmetric coordinates, rounded down."""
    return g.Resize(
        X, None, scales, mode=text(mode).replace("bilinear", "linear"),
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
