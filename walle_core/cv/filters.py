"""Filters: linear, median and bilateral; pyramids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv.images import (
    BORDER_CONSTANT,
    BORDER_DEFAULT,
    DEPTHS,
    FILTERED,
    border_of,
    depth_of,
    floats,
    look,
    made,
    size_of,
)
from walle_core.cv.kernels import anchor_of, derivatives, gaussian, in_256ths
from walle_core.errors import InputError

__all__ = [
    "GaussianBlur",
    "Laplacian",
    "Scharr",
    "Sobel",
    "bilateralFilter",
    "blur",
    "boxFilter",
    "filter2D",
    "medianBlur",
    "pyrDown",
    "pyrUp",
    "sepFilter2D",
    "spatialGradient",
    "sqrBoxFilter",
]


def _numbers(values: Sequence[float]) -> Tensor:
    return Tensor.of([list(values)], "float64")


def _separable(src: Any, ddepth: int, kx: Sequence[float], ky: Sequence[float], anchor: Any, delta: float, border: int, dst: Any) -> Tensor:  # fmt: skip
    shape, dtype = look(src, dtypes=FILTERED)
    ax, ay = anchor_of(anchor, len(kx), len(ky))
    args = (ax, ay, border_of(border), delta)
    return made("separable", [src, _numbers(kx), _numbers(ky)], shape, depth_of(ddepth, dtype), args, dst)


def sepFilter2D(
    src: Any, ddepth: int, kernelX: Any, kernelY: Any, dst: Any = None, anchor: Any = (-1, -1), delta: float = 0,
    borderType: int = BORDER_DEFAULT,
) -> Tensor:  # fmt: skip
    """Rows filtered with kernelX, then columns with kernelY (correlation); `delta` is added."""
    return _separable(src, ddepth, _vector(kernelX, "kernelX"), _vector(kernelY, "kernelY"), anchor, delta, borderType, dst)  # fmt: skip


def _vector(value: Any, name: str) -> list[float]:
    found: list[float] = []
    for part in floats(value):
        found += [float(v) for v in part] if isinstance(part, list) else [float(part)]
    if not found:
        raise InputError(f"{name} is empty")
    return found


def filter2D(
    src: Any, ddepth: int, kernel: Any, dst: Any = None, anchor: Any = (-1, -1), delta: float = 0, borderType: int = BORDER_DEFAULT
) -> Tensor:  # fmt: skip
    """Correlation with any kernel (h × w).

    Args:
        src: uint8, uint16, int16, float32 or float64.
        ddepth: -1 for the source's, or CV_8U to CV_64F.
        kernel: numbers; each channel is filtered with it.
        dst: None, or where the result goes too.
        anchor: (x, y) of the kernel's pixel that is above the result's; -1 is the middle.
        delta: is added.
        borderType: what is outside; the constant is 0.

    Raises:
        InputError: another dtype, an anchor outside, a border that is none.
    """
    shape, dtype = look(src, dtypes=FILTERED)
    rows = floats(kernel)
    rows = rows if rows and isinstance(rows[0], list) else [[v] for v in rows]
    ax, ay = anchor_of(anchor, len(rows[0]), len(rows))
    args = (ax, ay, border_of(borderType), delta)
    return made("filter", [src, Tensor.of(rows, "float64")], shape, depth_of(ddepth, dtype), args, dst)


def boxFilter(
    src: Any, ddepth: int, ksize: Any, dst: Any = None, anchor: Any = (-1, -1), normalize: bool = True, borderType: int = BORDER_DEFAULT
) -> Tensor:  # fmt: skip
    """Sums over windows of (width, height), or means if `normalize`."""
    return _boxed(src, ddepth, ksize, dst, anchor, normalize, borderType, False)


def sqrBoxFilter(
    src: Any, ddepth: int, ksize: Any, dst: Any = None, anchor: Any = (-1, -1), normalize: bool = True, borderType: int = BORDER_DEFAULT
) -> Tensor:  # fmt: skip
    """Sums or means of squares over windows; a ddepth of -1 is float32 for integers, else float64."""
    if ddepth == -1:
        ddepth = DEPTHS.index("float64" if look(src)[1].startswith("float") else "float32")
    return _boxed(src, ddepth, ksize, dst, anchor, normalize, borderType, True)


def _boxed(src: Any, ddepth: int, ksize: Any, dst: Any, anchor: Any, mean: bool, border: int, squares: bool) -> Tensor:  # fmt: skip
    shape, dtype = look(src, dtypes=FILTERED)
    width, height = size_of(ksize, "ksize")
    ax, ay = anchor_of(anchor, width, height)
    args = (width, height, ax, ay, border_of(border), 1 / (width * height) if mean else 1, squares)
    return made("box", [src], shape, depth_of(ddepth, dtype), args, dst)


def blur(
    src: Any, ksize: Any, dst: Any = None, anchor: Any = (-1, -1), borderType: int = BORDER_DEFAULT
) -> Tensor:
    """Means over windows of (width, height)."""
    return boxFilter(src, -1, ksize, dst, anchor, True, borderType)


def GaussianBlur(
    src: Any, ksize: Any, sigmaX: float, dst: Any = None, sigmaY: float = 0, borderType: int = BORDER_DEFAULT
) -> Tensor:
    """An image smoothed by a Gaussian.

    Args:
        src: uint8, uint16, int16, float32 or float64.
        ksize: (width, height), odd; (0, 0) works them out from the sigmas.
        sigmaX, sigmaY: standard deviations in pixels; sigmaY 0 is sigmaX, both 0 are worked out from ksize.
        dst: None, or where the result goes too.
        borderType: what is outside.

    Raises:
        InputError: even or negative sizes; neither size nor sigma.
    """
    shape, dtype = look(src, dtypes=FILTERED)
    sigmaY = sigmaY if sigmaY > 0 else sigmaX
    reach = 3 if dtype == "uint8" else 4
    width, height = (int(n) for n in ksize)
    width = round(sigmaX * reach * 2 + 1) | 1 if width <= 0 and sigmaX > 0 else width
    height = round(sigmaY * reach * 2 + 1) | 1 if height <= 0 and sigmaY > 0 else height
    if width < 1 or height < 1 or width % 2 == 0 or height % 2 == 0:
        raise InputError(
            f"ksize is {tuple(ksize)}, sigmas {sigmaX} and {sigmaY}; sizes must be odd, or sigmas above 0"
        )
    kx, ky = gaussian(width, max(sigmaX, 0)), gaussian(height, max(sigmaY, 0))
    border = border_of(borderType, wrap=True)
    if dtype == "uint8":
        args = (width // 2, height // 2, border)
        return made(
            "fixed_separable",
            [src, _numbers(in_256ths(kx)), _numbers(in_256ths(ky))],
            shape,
            dtype,
            args,
            dst,
        )
    return made(
        "separable",
        [src, _numbers(kx), _numbers(ky)],
        shape,
        dtype,
        (width // 2, height // 2, border, 0),
        dst,
    )


def Sobel(
    src: Any, ddepth: int, dx: int, dy: int, dst: Any = None, ksize: int = 3, scale: float = 1, delta: float = 0,
    borderType: int = BORDER_DEFAULT,
) -> Tensor:  # fmt: skip
    """A derivative of order dx, dy with kernels of `getDerivKernels`, times `scale` plus `delta`.

    Raises:
        InputError: orders that are both 0 or too high for the size, an even size.
    """
    kx, ky = derivatives(dx, dy, ksize)
    if scale != 1:
        kx, ky = (kx, [v * scale for v in ky]) if dx else ([v * scale for v in kx], ky)
    return _separable(src, ddepth, kx, ky, (-1, -1), delta, borderType, dst)


def Scharr(
    src: Any, ddepth: int, dx: int, dy: int, dst: Any = None, scale: float = 1, delta: float = 0, borderType: int = BORDER_DEFAULT
) -> Tensor:  # fmt: skip
    """A first derivative with Scharr's kernel. Raises InputError unless one of dx and dy is 1, the other 0."""
    return Sobel(src, ddepth, dx, dy, dst, -1, scale, delta, borderType)


def spatialGradient(
    src: Any, dx: Any = None, dy: Any = None, ksize: int = 3, borderType: int = BORDER_DEFAULT
) -> tuple[Tensor, Tensor]:
    """Both first derivatives of a uint8 image H × W, as int16."""
    look(src, dtypes=("uint8",), channels=(1,))
    if ksize != 3:
        raise InputError(f"ksize is {ksize}; it must be 3")
    return Sobel(src, 3, 1, 0, dx, 3, 1, 0, borderType), Sobel(src, 3, 0, 1, dy, 3, 1, 0, borderType)


def Laplacian(
    src: Any, ddepth: int, dst: Any = None, ksize: int = 1, scale: float = 1, delta: float = 0, borderType: int = BORDER_DEFAULT
) -> Tensor:  # fmt: skip
    """The sum of both second derivatives. Raises InputError unless ksize is odd and at most 31."""
    rows: list[list[float]]
    if ksize in (1, 3):
        rows = [[0, 1, 0], [1, -4, 1], [0, 1, 0]] if ksize == 1 else [[2, 0, 2], [0, -8, 0], [2, 0, 2]]
        return filter2D(src, ddepth, [[v * scale for v in r] for r in rows], dst, (-1, -1), delta, borderType)
    smooth, second = derivatives(0, 2, ksize)
    rows = [[(a * d + b * c) * scale for a, b in zip(smooth, second, strict=True)] for c, d in zip(smooth, second, strict=True)]  # fmt: skip
    return filter2D(src, ddepth, rows, dst, (-1, -1), delta, borderType)


def medianBlur(src: Any, ksize: int, dst: Any = None) -> Tensor:
    """Medians over squares; sizes of 3 and 5 for uint8, uint16, int16 and float32, any odd size for uint8."""
    shape, dtype = look(src, dtypes=FILTERED[:4])
    if ksize < 1 or ksize % 2 == 0 or (ksize > 5 and dtype != "uint8"):
        raise InputError(f"ksize is {ksize}; it must be odd, and at most 5 unless the image is uint8")
    if ksize == 1:
        return made("paste", [src], shape, dtype, (0, 0), dst)
    return made("median", [src], shape, dtype, (ksize,), dst)


def bilateralFilter(
    src: Any, d: int, sigmaColor: float, sigmaSpace: float, dst: Any = None, borderType: int = BORDER_DEFAULT
) -> Tensor:
    """Smoothing that keeps edges: means weighted by distance in space and in colour.

    Args:
        src: uint8 or float32 with 1 or 3 channels.
        d: diameter in pixels; 0 or less works it out from sigmaSpace.
        sigmaColor, sigmaSpace: standard deviations; 0 or less counts as 1.
        dst: None, or where the result goes too.
        borderType: what is outside.

    Raises:
        InputError: another dtype or number of channels.
    """
    shape, dtype = look(src, dtypes=("uint8", "float32"), channels=(1, 3))
    color, space = sigmaColor if sigmaColor > 0 else 1.0, sigmaSpace if sigmaSpace > 0 else 1.0
    radius = max(round(space * 1.5) if d <= 0 else d // 2, 1)
    return made("bilateral", [src], shape, dtype, (radius, color, space, border_of(borderType)), dst)


def pyrDown(src: Any, dst: Any = None, dstsize: Any = None, borderType: int = BORDER_DEFAULT) -> Tensor:
    """Every second pixel of the image smoothed with 1 4 6 4 1. dstsize: (width, height), within 2 of half."""
    shape, dtype = look(src, dtypes=FILTERED)
    width, height = size_of(dstsize, "dstsize") if dstsize else ((shape[1] + 1) // 2, (shape[0] + 1) // 2)
    if abs(width * 2 - shape[1]) > 2 or abs(height * 2 - shape[0]) > 2:
        raise InputError(f"dstsize is {dstsize}; twice of it must be within 2 of {(shape[1], shape[0])}")
    border = border_of(borderType)
    if border == BORDER_CONSTANT:
        raise InputError("pyrDown has no BORDER_CONSTANT")
    return made("pyr_down", [src], (height, width, *shape[2:]), dtype, (border,), dst)


def pyrUp(src: Any, dst: Any = None, dstsize: Any = None, borderType: int = BORDER_DEFAULT) -> Tensor:
    """Twice the size, smoothed with 1 4 6 4 1. Raises InputError for other sizes and borders than the default."""
    shape, dtype = look(src, dtypes=FILTERED)
    if borderType != BORDER_DEFAULT or (dstsize and tuple(dstsize) != (shape[1] * 2, shape[0] * 2)):
        raise InputError("pyrUp doubles both sides and has BORDER_DEFAULT only")
    return made("pyr_up", [src], (shape[0] * 2, shape[1] * 2, *shape[2:]), dtype, (), dst)
