"""Histograms of images, and equalisation by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv import _structure as kernels
from walle_core.cv.points import as_image
from walle_core.errors import InputError

__all__ = [
    "calcHist", "equalizeHist",
]  # fmt: skip

MAX_BINS = 1 << 26


def calcHist(
    images: Sequence[Any], channels: Sequence[int], mask: Any, histSize: Sequence[int], ranges: Sequence[float],
    hist: Any = None, accumulate: bool = False,
) -> Tensor:  # fmt: skip
    """Counts pixels by the values of one to four channels.

    Args:
        images: of one size and dtype: uint8, uint16 or float32.
        channels: numbers of channels, counted through all images.
        mask: uint8, H × W, or None: pixels where it is 0 do not count.
        histSize: bins per channel.
        ranges: low and high per channel; values in [low, high) are counted. Empty for uint8: 0 to 256.
        hist: with `accumulate`, what the counts are added to.
        accumulate: whether `hist` is kept.

    Returns:
        float32, of shape `histSize`.

    Raises:
        InputError: images that differ, a channel that is not there, no or too many bins.
    """
    made = [as_image(i, "images", ("uint8", "uint16", "float32"), channels=1 << 16) for i in images]
    if not made or any((i.shape[:2], i.dtype) != (made[0].shape[:2], made[0].dtype) for i in made):
        raise InputError("images must be at least one, all of the same size and dtype")
    places = [(image, c) for image in made for c in range(image.shape[2] if image.ndim == 3 else 1)]
    sizes = [int(n) for n in histSize]
    total = 1
    for n in sizes:
        total *= n
    if not 1 <= len(sizes) <= 4 or len(channels) != len(sizes) or min(sizes) < 1 or total > MAX_BINS:
        raise InputError(
            f"channels {list(channels)} and histSize {sizes} must be of one length, 1 to 4, and positive"
        )
    limits = list(ranges) or ([0, 256] * len(sizes) if made[0].dtype == "uint8" else [])
    if len(limits) != 2 * len(sizes) or any(
        not a < b for a, b in zip(limits[::2], limits[1::2], strict=True)
    ):
        raise InputError(f"ranges {list(ranges)} must be a low and a higher number per channel")
    if not all(0 <= c < len(places) for c in channels):
        raise InputError(f"channels are {list(channels)}; the images have {len(places)}")
    where = None if mask is None else as_image(mask, "mask", ("uint8",))
    if where is not None and where.shape != made[0].shape[:2]:
        raise InputError(f"mask has shape {where.shape}; the images have {made[0].shape[:2]}")
    out = Tensor(sizes, "float32")
    if accumulate and hist is not None:
        before = Tensor.wrap(hist)
        if before.dtype != "float32" or before.size != total:
            raise InputError(
                f"hist is {before.dtype} {before.shape}; to add to it, it must be float32 {tuple(sizes)}"
            )
        out = before.reshape(sizes).copy()
    axes = [
        (*places[c], sizes[i], float(limits[2 * i]), float(limits[2 * i + 1])) for i, c in enumerate(channels)
    ]
    kernels.count(axes, where, out)
    return out


def equalizeHist(src: Any) -> Tensor:
    """A uint8 image H × W with its values spread so that their cumulated counts rise evenly."""
    return kernels.equalize(as_image(src, "src", ("uint8",)))
