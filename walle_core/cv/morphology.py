"""Morphology: the least and the greatest value under a structuring element, and what is made of them."""

from __future__ import annotations

from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import run
from walle_core.cv.images import BORDER_CONSTANT, FILTERED, border_of, floats, given, look, made, scalar_of
from walle_core.cv.kernels import anchor_of, getStructuringElement
from walle_core.errors import InputError

__all__ = [
    "MORPH_BLACKHAT",
    "MORPH_CLOSE",
    "MORPH_DILATE",
    "MORPH_ERODE",
    "MORPH_GRADIENT",
    "MORPH_OPEN",
    "MORPH_TOPHAT",
    "dilate",
    "erode",
    "morphologyEx",
]

MORPH_ERODE, MORPH_DILATE, MORPH_OPEN, MORPH_CLOSE, MORPH_GRADIENT, MORPH_TOPHAT, MORPH_BLACKHAT = range(7)


def _morphed(greatest: bool, src: Any, kernel: Any, dst: Any, anchor: Any, iterations: int, border: int, value: Any) -> Tensor:  # fmt: skip
    shape, dtype = look(src, dtypes=FILTERED)
    if kernel is None:
        kernel = getStructuringElement(0, (1 + iterations * 2, 1 + iterations * 2))
        anchor, iterations = (iterations, iterations), 1
    if look(kernel, "kernel")[1] != "uint8":
        kernel = Tensor.of([[int(v != 0) for v in r] for r in floats(kernel)], "uint8")
    rows = floats(kernel)
    ax, ay = anchor_of(anchor, len(rows[0]), len(rows))
    if iterations < 0 or not any(any(r) for r in rows):
        raise InputError("iterations must not be negative, and the kernel not be all zeros")
    if iterations > 1 and all(all(r) for r in rows):
        width, height = (len(rows[0]) - 1) * iterations + 1, (len(rows) - 1) * iterations + 1
        ax, ay, kernel, iterations = (
            ax * iterations,
            ay * iterations,
            getStructuringElement(0, (width, height)),
            1,
        )
    neutral = value is None
    args = (greatest, ax, ay, border_of(border), neutral, *scalar_of(None if neutral else value))
    found: Any = src
    for _ in range(iterations):
        found = run("morph", [found, kernel], Tensor(shape, dtype, zero=False), args)
    return given(found, dst) if iterations else made("paste", [src], shape, dtype, (0, 0), dst)


def erode(
    src: Any, kernel: Any, dst: Any = None, anchor: Any = (-1, -1), iterations: int = 1, borderType: int = BORDER_CONSTANT, borderValue: Any = None
) -> Tensor:  # fmt: skip
    """The least value under a structuring element (None: 3 × 3), `iterations` times. Outside counts for nothing unless borderValue says so."""  # fmt: skip
    return _morphed(False, src, kernel, dst, anchor, iterations, borderType, borderValue)


def dilate(
    src: Any, kernel: Any, dst: Any = None, anchor: Any = (-1, -1), iterations: int = 1, borderType: int = BORDER_CONSTANT, borderValue: Any = None
) -> Tensor:  # fmt: skip
    """The greatest value under a structuring element (None: 3 × 3), `iterations` times. Outside counts for nothing unless borderValue says so."""  # fmt: skip
    return _morphed(True, src, kernel, dst, anchor, iterations, borderType, borderValue)


def morphologyEx(
    src: Any, op: int, kernel: Any, dst: Any = None, anchor: Any = (-1, -1), iterations: int = 1, borderType: int = BORDER_CONSTANT,
    borderValue: Any = None,
) -> Tensor:  # fmt: skip
    """Erosion, dilation, and what is made of them: MORPH_OPEN, CLOSE, GRADIENT, TOPHAT, BLACKHAT.

    Raises:
        InputError: another operation.
    """
    more = (None, anchor, iterations, borderType, borderValue)
    if op == MORPH_ERODE:
        return erode(src, kernel, dst, *more[1:])
    if op == MORPH_DILATE:
        return dilate(src, kernel, dst, *more[1:])
    if op == MORPH_GRADIENT:
        return _less(dilate(src, kernel, *more), erode(src, kernel, *more), dst)
    if op in (MORPH_OPEN, MORPH_TOPHAT):
        found = dilate(erode(src, kernel, *more), kernel, *more)
        return given(found, dst) if op == MORPH_OPEN else _less(src, found, dst)
    if op in (MORPH_CLOSE, MORPH_BLACKHAT):
        found = erode(dilate(src, kernel, *more), kernel, *more)
        return given(found, dst) if op == MORPH_CLOSE else _less(found, src, dst)
    raise InputError(f"op {op!r} is not one of MORPH_ERODE to MORPH_BLACKHAT")


def _less(a: Any, b: Any, dst: Any) -> Tensor:
    shape, dtype = look(a)
    return made("weighted", [a, b], shape, dtype, (1, -1, 0), dst)
