"""Thresholds and blending."""

from __future__ import annotations

import math
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import run
from walle_core.cv.filters import GaussianBlur, boxFilter
from walle_core.cv.images import BORDER_ISOLATED, BORDER_REPLICATE, FILTERED, look, made, same
from walle_core.errors import InputError

__all__ = [
    "ADAPTIVE_THRESH_GAUSSIAN_C",
    "ADAPTIVE_THRESH_MEAN_C",
    "THRESH_BINARY",
    "THRESH_BINARY_INV",
    "THRESH_MASK",
    "THRESH_OTSU",
    "THRESH_TOZERO",
    "THRESH_TOZERO_INV",
    "THRESH_TRIANGLE",
    "THRESH_TRUNC",
    "adaptiveThreshold",
    "blendLinear",
    "threshold",
]

THRESH_BINARY, THRESH_BINARY_INV, THRESH_TRUNC, THRESH_TOZERO, THRESH_TOZERO_INV = range(5)
THRESH_MASK, THRESH_OTSU, THRESH_TRIANGLE = 7, 8, 16
ADAPTIVE_THRESH_MEAN_C, ADAPTIVE_THRESH_GAUSSIAN_C = range(2)


def threshold(src: Any, thresh: float, maxval: float, type: int, dst: Any = None) -> tuple[float, Tensor]:
    """(the threshold that was used, the image with values above it replaced).

    Args:
        src: uint8, uint16, int16, float32 or float64.
        thresh: the bound; integer images use its whole part.
        maxval: of THRESH_BINARY and THRESH_BINARY_INV.
        type: one of THRESH_...; plus THRESH_OTSU (Otsu 1979) or THRESH_TRIANGLE (Zack 1977) to work out the bound of a
            uint8 image with one channel.
        dst: None, or where the result goes too.

    Raises:
        InputError: another type or dtype.
    """
    shape, dtype = look(src, dtypes=FILTERED)
    kind = type & THRESH_MASK
    if kind > THRESH_TOZERO_INV:
        raise InputError(f"type {type!r} is not one of THRESH_BINARY to THRESH_TOZERO_INV")
    if type & (THRESH_OTSU | THRESH_TRIANGLE):
        look(src, dtypes=("uint8",), channels=(1,))
        counts = run("count", [src], Tensor((256,), "int32")).tolist()
        thresh = _otsu(counts) if type & THRESH_OTSU else _triangle(counts)
    used = math.floor(thresh) if dtype[0] in "ui" else thresh
    value = round(maxval) if dtype[0] in "ui" else maxval
    return float(used if dtype[0] in "ui" else thresh), made(
        "threshold", [src], shape, dtype, (used, value, kind), dst
    )


def _otsu(counts: list[int]) -> float:
    total = sum(counts)
    mean = sum(i * n for i, n in enumerate(counts)) / total
    weight = below = best = 0.0
    found = 0
    for i, n in enumerate(counts):
        share = n / total
        below *= weight
        weight += share
        if min(weight, 1 - weight) < 1.1920929e-07 or max(weight, 1 - weight) > 1 - 1.1920929e-07:
            continue
        below = (below + i * share) / weight
        above = (mean - weight * below) / (1 - weight)
        between = weight * (1 - weight) * (below - above) ** 2
        if between > best:
            best, found = between, i
    return float(found)


def _triangle(counts: list[int]) -> float:
    used = [i for i, n in enumerate(counts) if n > 0]
    left, right = max(used[0] - 1, 0), min(used[-1] + 1, 255)
    peak = max(range(256), key=lambda i: (counts[i], -i))
    flipped = peak - left < right - peak
    if flipped:
        counts, left, peak = counts[::-1], 255 - right, 255 - peak
    a, b = counts[peak], left - peak
    found, best = left, 0.0
    for i in range(left + 1, peak + 1):
        distance = a * i + b * counts[i]
        if distance > best:
            best, found = distance, i
    found -= 1
    return float(255 - found if flipped else found)


def adaptiveThreshold(
    src: Any,
    maxValue: float,
    adaptiveMethod: int,
    thresholdType: int,
    blockSize: int,
    C: float,
    dst: Any = None,
) -> Tensor:
    """The value maxValue where a pixel is above the mean of its neighbourhood less C; 0 elsewhere (or the other way round).

    Args:
        src: uint8, one channel.
        maxValue: of the result.
        adaptiveMethod: ADAPTIVE_THRESH_MEAN_C, or ADAPTIVE_THRESH_GAUSSIAN_C for a weighted mean.
        thresholdType: THRESH_BINARY or THRESH_BINARY_INV.
        blockSize: side of the neighbourhood, odd and above 1.
        C: is taken from the mean.
        dst: None, or where the result goes too.

    Raises:
        InputError: another method, type or size.
    """
    shape, dtype = look(src, dtypes=("uint8",), channels=(1,))
    if thresholdType not in (THRESH_BINARY, THRESH_BINARY_INV) or blockSize < 3 or blockSize % 2 == 0:
        raise InputError(
            "thresholdType must be THRESH_BINARY or THRESH_BINARY_INV, blockSize odd and above 1"
        )
    border, sides = BORDER_REPLICATE | BORDER_ISOLATED, (blockSize, blockSize)
    if adaptiveMethod == ADAPTIVE_THRESH_MEAN_C:
        mean = boxFilter(src, -1, sides, None, (-1, -1), True, border)
    elif adaptiveMethod == ADAPTIVE_THRESH_GAUSSIAN_C:
        wide = run("scale", [src], Tensor(shape, "float32", zero=False), (1, 0, 0))
        mean = run(
            "scale",
            [GaussianBlur(wide, sides, 0, None, 0, border)],
            Tensor(shape, dtype, zero=False),
            (1, 0, 0),
        )
    else:
        raise InputError(
            f"adaptiveMethod {adaptiveMethod!r} is not one of ADAPTIVE_THRESH_MEAN_C and ..._GAUSSIAN_C"
        )
    if maxValue < 0:
        return Tensor(shape, dtype)
    return made("adaptive", [src, mean], shape, dtype, (round(maxValue), thresholdType, C), dst)


def blendLinear(src1: Any, src2: Any, weights1: Any, weights2: Any, dst: Any = None) -> Tensor:
    """(src1 * weights1 + src2 * weights2) / (weights1 + weights2 + 1e-5), of uint8 or float32.

    Args:
        src1, src2: images of one shape and dtype.
        weights1, weights2: float32, H × W.
        dst: None, or where the result goes too.

    Raises:
        InputError: other shapes or dtypes.
    """
    shape, dtype = same(src1, src2)
    look(src1, "src1", ("uint8", "float32"))
    for name, weights in (("weights1", weights1), ("weights2", weights2)):
        if look(weights, name, ("float32",), (1,))[0][:2] != shape[:2]:
            raise InputError(f"{name} must have the size of the images, {shape[:2]}")
    return made("blend", [src1, src2, weights1, weights2], shape, dtype, (), dst)
