"""Arithmetic and arrangement of images: OpenCV's core functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import run
from walle_core.cv.images import border_of, depth_of, given, look, made, same, scalar_of
from walle_core.errors import InputError

__all__ = [
    "NORM_INF",
    "NORM_L1",
    "NORM_L2",
    "NORM_MINMAX",
    "ROTATE_90_CLOCKWISE",
    "ROTATE_90_COUNTERCLOCKWISE",
    "ROTATE_180",
    "addWeighted",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "convertScaleAbs",
    "copyMakeBorder",
    "copyTo",
    "flip",
    "hconcat",
    "mean",
    "merge",
    "norm",
    "normalize",
    "repeat",
    "rotate",
    "split",
    "transpose",
    "vconcat",
]

ROTATE_90_CLOCKWISE, ROTATE_180, ROTATE_90_COUNTERCLOCKWISE = range(3)
NORM_INF, NORM_L1, NORM_L2, NORM_MINMAX = 1, 2, 4, 32


def flip(src: Any, flipCode: int, dst: Any = None) -> Tensor:
    """An image upside down (0), mirrored (above 0), or both (below 0)."""
    shape, dtype = look(src)
    return made("flip", [src], shape, dtype, (flipCode <= 0, flipCode != 0), dst)


def transpose(src: Any, dst: Any = None) -> Tensor:
    """Rows as columns: W × H (× C)."""
    shape, dtype = look(src)
    return made("transpose", [src], (shape[1], shape[0], *shape[2:]), dtype, (), dst)


def rotate(src: Any, rotateCode: int, dst: Any = None) -> Tensor:
    """An image turned by a quarter or a half. Raises InputError for a code that is none of ROTATE_..."""
    if rotateCode == ROTATE_180:
        return flip(src, -1, dst)
    if rotateCode not in (ROTATE_90_CLOCKWISE, ROTATE_90_COUNTERCLOCKWISE):
        raise InputError(f"rotateCode {rotateCode!r} is not one of ROTATE_90_CLOCKWISE, ROTATE_180, ROTATE_90_COUNTERCLOCKWISE")  # fmt: skip
    return flip(transpose(src), 1 if rotateCode == ROTATE_90_CLOCKWISE else 0, dst)


def merge(mv: Sequence[Any], dst: Any = None) -> Tensor:
    """Images of one size and dtype as the channels of one. Raises InputError where they differ, or for none."""
    if not mv:
        raise InputError("merge needs at least one image")
    looks = [look(m, f"mv[{i}]") for i, m in enumerate(mv)]
    if any((s[:2], d) != (looks[0][0][:2], looks[0][1]) for s, d in looks):
        raise InputError(f"merge needs images of one size and dtype, not {looks}")
    count = sum(s[2] if len(s) == 3 else 1 for s, _ in looks)
    shape = looks[0][0][:2] if count == 1 else (*looks[0][0][:2], count)
    return made("merge", list(mv), shape, looks[0][1], (), dst)


def split(m: Any, mv: Any = None) -> tuple[Tensor, ...]:
    """The channels, each as an image H × W."""
    shape, dtype = look(m, "m")
    count = shape[2] if len(shape) == 3 else 1
    return tuple(made("channel", [m], shape[:2], dtype, (k,)) for k in range(count))


def hconcat(src: Sequence[Any], dst: Any = None) -> Tensor:
    """Images of one height side by side. Raises InputError where height, channels or dtype differ."""
    return _joined(src, 1, dst)


def vconcat(src: Sequence[Any], dst: Any = None) -> Tensor:
    """Images of one width below each other. Raises InputError where width, channels or dtype differ."""
    return _joined(src, 0, dst)


def _joined(src: Sequence[Any], axis: int, dst: Any) -> Tensor:
    looks = [look(m, f"src[{i}]") for i, m in enumerate(src)]
    if not looks:
        raise InputError("there are no images to put together")
    first = list(looks[0][0])
    for shape, dtype in looks:
        if len(shape) != len(first) or dtype != looks[0][1] or any(a != b for i, (a, b) in enumerate(zip(shape, first, strict=True)) if i != axis):  # fmt: skip
            raise InputError(f"images that are put together differ: {looks[0]} and {(shape, dtype)}")
    first[axis] = sum(shape[axis] for shape, _ in looks)
    out, at = Tensor(first, looks[0][1], zero=False), 0
    for image, (shape, _) in zip(src, looks, strict=True):
        run("paste", [image], out, (at, 0) if axis == 0 else (0, at))
        at += shape[axis]
    return given(out, dst)


def repeat(src: Any, ny: int, nx: int, dst: Any = None) -> Tensor:
    """An image ny times below itself and nx times beside. Raises InputError unless both are at least 1."""
    if ny < 1 or nx < 1:
        raise InputError(f"ny and nx are {ny} and {nx}; both must be at least 1")
    return vconcat([hconcat([src] * nx)] * ny, dst)


def copyMakeBorder(
    src: Any, top: int, bottom: int, left: int, right: int, borderType: int, dst: Any = None, value: Any = 0
) -> Tensor:  # fmt: skip
    """An image with rows and columns of a border around it. Raises InputError for negative numbers of them."""
    shape, dtype = look(src)
    if min(top, bottom, left, right) < 0:
        raise InputError(f"borders are {(top, bottom, left, right)}; none may be negative")
    kind = border_of(borderType, wrap=True)
    count = shape[2] if len(shape) == 3 else 1
    numbers = scalar_of(value)
    pixel = Tensor.of([[[numbers[k % 4] for k in range(count)]]], "float64")
    constant = run("scale", [pixel], Tensor((1, 1, count), dtype), (1, 0, 0))
    result = (shape[0] + top + bottom, shape[1] + left + right, *shape[2:])
    return made("copy_border", [src, constant], result, dtype, (top, left, kind), dst)


def copyTo(src: Any, mask: Any, dst: Any = None) -> Tensor:
    """Src where the mask (uint8, H × W or of src's shape) is not 0; dst, or zeros, elsewhere."""
    shape, dtype = look(src)
    out = Tensor(shape, dtype)
    if dst is not None:
        same(src, dst, ("src", "dst"))
        run("paste", [dst], out, (0, 0))
    if mask is None:
        return given(run("paste", [src], out, (0, 0)), dst)
    _masked(mask, shape)
    return given(run("copy_masked", [src, mask], out), dst)


def _masked(mask: Any, shape: tuple[int, ...]) -> None:
    if look(mask, "mask", ("uint8",))[0] not in (shape, shape[:2]):
        raise InputError(f"mask has shape {look(mask)[0]}; it must be {shape[:2]}")


def _bits(op: int, srcs: list[Any], dst: Any, mask: Any) -> Tensor:
    shape, dtype = same(*srcs) if len(srcs) == 2 else look(srcs[0])
    found = run("bits", srcs, Tensor(shape, dtype, zero=False), (op,))
    return given(found, dst) if mask is None else copyTo(found, mask, dst)


def bitwise_and(src1: Any, src2: Any, dst: Any = None, mask: Any = None) -> Tensor:
    """src1 & src2, bit by bit, where the mask is not 0; dst or zeros elsewhere."""
    return _bits(0, [src1, src2], dst, mask)


def bitwise_or(src1: Any, src2: Any, dst: Any = None, mask: Any = None) -> Tensor:
    """src1 | src2, bit by bit, where the mask is not 0; dst or zeros elsewhere."""
    return _bits(1, [src1, src2], dst, mask)


def bitwise_xor(src1: Any, src2: Any, dst: Any = None, mask: Any = None) -> Tensor:
    """src1 ^ src2, bit by bit, where the mask is not 0; dst or zeros elsewhere."""
    return _bits(2, [src1, src2], dst, mask)


def bitwise_not(src: Any, dst: Any = None, mask: Any = None) -> Tensor:
    """~src, bit by bit, where the mask is not 0; dst or zeros elsewhere."""
    return _bits(3, [src], dst, mask)


def addWeighted(
    src1: Any, alpha: float, src2: Any, beta: float, gamma: float, dst: Any = None, dtype: int = -1
) -> Tensor:  # fmt: skip
    """src1 * alpha + src2 * beta + gamma, rounded and saturated; dtype: -1 or CV_8U to CV_64F."""
    shape, kind = same(src1, src2)
    return made("weighted", [src1, src2], shape, depth_of(dtype, kind), (alpha, beta, gamma), dst)


def convertScaleAbs(src: Any, dst: Any = None, alpha: float = 1, beta: float = 0) -> Tensor:
    """|src * alpha + beta| as uint8, rounded and saturated."""
    shape, _ = look(src)
    return made("scale", [src], shape, "uint8", (alpha, beta, 1), dst)


def _measures(src: Any, mask: Any) -> list[float]:
    shape, _ = look(src)
    if mask is not None:
        _masked(mask, shape[:2])
    return list(run("measure", [src] if mask is None else [src, mask], Tensor((5,), "float64")).tolist())


def norm(src1: Any, normType: int = NORM_L2, mask: Any = None) -> float:
    """The greatest size (NORM_INF), the sum of sizes (NORM_L1), or the root of the sum of squares (NORM_L2)."""
    _, _, greatest, sizes, squares = _measures(src1, mask)
    if normType not in (NORM_INF, NORM_L1, NORM_L2):
        raise InputError(f"normType {normType!r} is not one of NORM_INF, NORM_L1, NORM_L2")
    return greatest if normType == NORM_INF else sizes if normType == NORM_L1 else math.sqrt(squares)


def mean(src: Any, mask: Any = None) -> tuple[float, float, float, float]:
    """The mean of each channel, 0 for those that are not there.

    Args:
        src: at most 4 channels of any dtype.
        mask: None, or uint8 H × W: only where it is not 0 counts; all 0 where it is nowhere.

    Raises:
        InputError: more channels, a mask of another shape or dtype.
    """
    shape, _ = look(src, channels=(1, 2, 3, 4))
    if mask is not None:
        _masked(mask, shape[:2])
    images = [src] if mask is None else [src, mask]
    count, *sums = run("sums", images, Tensor((5,), "float64")).tolist()
    one, two, three, four = (total / max(count, 1.0) for total in sums)
    return one, two, three, four


def normalize(
    src: Any, dst: Any = None, alpha: float = 1, beta: float = 0, norm_type: int = NORM_L2, dtype: int = -1, mask: Any = None
) -> Tensor:  # fmt: skip
    """An image scaled so that its norm is alpha, or (NORM_MINMAX) its values go from alpha to beta.

    Args:
        src: any dtype.
        dst: None, or where the result goes too; what the mask leaves out stays as it is there.
        alpha, beta: the norm, or the bounds.
        norm_type: NORM_INF, NORM_L1, NORM_L2 or NORM_MINMAX.
        dtype: -1 or CV_8U to CV_64F.
        mask: None, or uint8 H × W: only where it is not 0 is measured and changed.

    Raises:
        InputError: another norm, a mask of another shape.
    """
    shape, kind = look(src)
    if norm_type == NORM_MINMAX:
        low, high = _measures(src, mask)[:2]
        lower, upper = min(alpha, beta), max(alpha, beta)
        scale = (upper - lower) / (high - low) if high - low > 2.220446049250313e-16 else 0.0
        shift = lower - low * scale
    else:
        size = norm(src, norm_type, mask)
        scale, shift = (alpha / size if size > 2.220446049250313e-16 else 0.0), 0.0
    found = run("scale", [src], Tensor(shape, depth_of(dtype, kind), zero=False), (scale, shift, 0))
    return given(found, dst) if mask is None else copyTo(found, mask, dst)
