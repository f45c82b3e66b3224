"""The kernels of filters: Gaussian, derivatives, structuring elements. As Tensors and as plain numbers."""

from __future__ import annotations

import math
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv.images import CV_32F, CV_64F, size_of
from walle_core.errors import InputError

__all__ = [
    "FILTER_SCHARR",
    "MORPH_CROSS",
    "MORPH_ELLIPSE",
    "MORPH_RECT",
    "getDerivKernels",
    "getGaborKernel",
    "getGaussianKernel",
    "getStructuringElement",
]

MORPH_RECT, MORPH_CROSS, MORPH_ELLIPSE = range(3)
FILTER_SCHARR = -1
_SMALL = {1: [1.0], 3: [0.25, 0.5, 0.25], 5: [0.0625, 0.25, 0.375, 0.25, 0.0625],
          7: [0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125],
          9: [4 / 256, 13 / 256, 30 / 256, 51 / 256, 60 / 256, 51 / 256, 30 / 256, 13 / 256, 4 / 256]}  # fmt: skip


def gaussian(size: int, sigma: float) -> list[float]:
    """`size` (odd or even) samples of a Gaussian that add up to 1; a sigma of 0 or less is worked out from the size.

    Small odd kernels without a sigma are those that OpenCV has as constants.
    """
    if sigma <= 0 and size in _SMALL:
        return list(_SMALL[size])
    sigma = sigma if sigma > 0 else ((size - 1) * 0.5 - 1) * 0.3 + 0.8
    values = [math.exp(-((i - (size - 1) * 0.5) ** 2) / (2 * sigma * sigma)) for i in range(size)]
    total = math.fsum(values)
    return [v / total for v in values]


def in_256ths(kernel: list[float]) -> list[float]:
    """A symmetric kernel of odd size in whole 256ths that add up to 256; what rounding loses goes to the next one."""
    half, rest, found = len(kernel) // 2, 0.0, []
    for value in kernel[:half]:
        wanted = value * 256 + rest
        found.append(float(round(wanted)))
        rest = wanted - found[-1]
    return [*found, 256 - 2 * sum(found), *reversed(found)]


def getGaussianKernel(ksize: int, sigma: float, ktype: int = CV_64F) -> Tensor:
    """A Gaussian as a column (ksize × 1) of float32 or float64. Raises InputError unless ksize is odd."""
    if ksize < 1 or ksize % 2 == 0:
        raise InputError(f"ksize is {ksize}; it must be odd and at least 1")
    return _column(gaussian(ksize, sigma), ktype)


def getGaborKernel(
    ksize: Any,
    sigma: float,
    theta: float,
    lambd: float,
    gamma: float,
    psi: float = math.pi / 2,
    ktype: int = CV_64F,
) -> Tensor:
    """A Gaussian times a wave, as a matrix of float32 or float64 (Gabor 1946, in two dimensions).

    Args:
        ksize: (width, height), of which each is made odd; 0 or less is three standard deviations to both sides.
        sigma: standard deviation along the wave, in pixels; across it is sigma / gamma.
        theta: direction of the wave, in radians.
        lambd: its length, in pixels.
        gamma: see sigma.
        psi: its phase at the middle, in radians.
        ktype: CV_32F or CV_64F.

    Raises:
        InputError: another ktype.
    """
    if ktype not in (CV_32F, CV_64F):
        raise InputError(f"ktype is {ktype}; it must be CV_32F or CV_64F")
    along, across = sigma, sigma / gamma
    cosine, sine = math.cos(theta), math.sin(theta)
    width, height = (int(n) for n in ksize)
    right = width // 2 if width > 0 else round(max(abs(3 * along * cosine), abs(3 * across * sine)))
    down = height // 2 if height > 0 else round(max(abs(3 * along * sine), abs(3 * across * cosine)))
    rows = []
    for y in range(down, -down - 1, -1):
        row = []
        for x in range(right, -right - 1, -1):
            u, v = x * cosine + y * sine, y * cosine - x * sine
            fall = math.exp(-0.5 * (u / along) ** 2 - 0.5 * (v / across) ** 2)
            row.append(fall * math.cos(2 * math.pi / lambd * u + psi))
        rows.append(row)
    return Tensor.of(rows, "float32" if ktype == CV_32F else "float64")


def _column(values: list[float], ktype: int) -> Tensor:
    if ktype not in (CV_32F, CV_64F):
        raise InputError(f"ktype is {ktype}; it must be CV_32F or CV_64F")
    return Tensor.of([[v] for v in values], "float32" if ktype == CV_32F else "float64")


def derivative(order: int, size: int) -> list[float]:
    """Sobel's kernel for a derivative: a row of Pascal's triangle, differenced `order` times."""
    if size == 1 and order > 0:
        size = 3
    values = [1.0]
    for _ in range(size - order - 1):
        values = [a + b for a, b in zip([*values, 0.0], [0.0, *values], strict=True)]
    for _ in range(order):
        values = [b - a for a, b in zip([*values, 0.0], [0.0, *values], strict=True)]
    return values


def derivatives(dx: int, dy: int, ksize: int) -> tuple[list[float], list[float]]:
    """Kernels along rows and columns for dx, dy and a size (FILTER_SCHARR for Scharr's).

    Raises:
        InputError: derivatives that are negative, both 0, or too high for the size.
    """
    if ksize == FILTER_SCHARR:
        if (dx, dy) not in ((0, 1), (1, 0)):
            raise InputError(f"Scharr's kernels are for dx = 1, dy = 0 or dx = 0, dy = 1, not {dx}, {dy}")
        pair = [3.0, 10.0, 3.0], [-1.0, 0.0, 1.0]
        return (pair[1], pair[0]) if dx else pair
    if ksize not in range(1, 32, 2):
        raise InputError(f"ksize is {ksize}; it must be odd and at most 31")
    room = 3 if ksize == 1 else ksize
    if dx < 0 or dy < 0 or dx + dy < 1 or max(dx, dy) >= room:
        raise InputError(f"dx and dy are {dx} and {dy}; at least one must be above 0, both below {room}")
    return derivative(dx, ksize), derivative(dy, ksize)


def getDerivKernels(
    dx: int, dy: int, ksize: int, kx: Any = None, ky: Any = None, normalize: bool = False, ktype: int = CV_32F
) -> tuple[Tensor, Tensor]:
    """Kernels of `Sobel` or `Scharr` as columns, divided by their smoothing's sum if `normalize`.

    Raises:
        InputError: as of `Sobel`; another ktype than CV_32F and CV_64F.
    """
    rows, columns = derivatives(dx, dy, ksize)
    if normalize:
        sums = (
            (32, 32) if ksize == FILTER_SCHARR else (2 ** (len(rows) - dx - 1), 2 ** (len(columns) - dy - 1))
        )
        if ksize == FILTER_SCHARR:
            sums = (2, 16) if dx else (16, 2)
        rows, columns = [v / sums[0] for v in rows], [v / sums[1] for v in columns]
    return _column(rows, ktype), _column(columns, ktype)


def getStructuringElement(shape: int, ksize: Any, anchor: Any = (-1, -1)) -> Tensor:
    """An element of bytes, 1 inside: a rectangle, a cross through the anchor, or an ellipse; ksize is (width, height).

    Raises:
        InputError: another shape or size, an anchor outside.
    """
    width, height = size_of(ksize, "ksize")
    ax, ay = anchor_of(anchor, width, height)
    if shape not in (MORPH_RECT, MORPH_CROSS, MORPH_ELLIPSE):
        raise InputError(f"shape {shape!r} is not one of MORPH_RECT, MORPH_CROSS, MORPH_ELLIPSE")
    if width == height == 1:
        shape = MORPH_RECT
    rows = []
    r, c = height // 2, width // 2
    for y in range(height):
        begin, end = 0, width
        if shape == MORPH_CROSS and y != ay:
            begin, end = ax, ax + 1
        elif shape == MORPH_ELLIPSE:
            reach = round(c * math.sqrt(max(0, r * r - (y - r) ** 2)) / r) if r else 0
            begin, end = (max(c - reach, 0), min(c + reach + 1, width)) if abs(y - r) <= r else (0, 0)
        rows.append([int(begin <= x < end) for x in range(width)])
    return Tensor.of(rows, "uint8")


def anchor_of(anchor: Any, width: int, height: int) -> tuple[int, int]:
    """Where the anchor is, -1 meaning the middle. Raises InputError if it is outside."""
    x, y = int(anchor[0]), int(anchor[1])
    x, y = width // 2 if x == -1 else x, height // 2 if y == -1 else y
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"anchor {tuple(anchor)} is outside of {(width, height)}")
    return x, y
