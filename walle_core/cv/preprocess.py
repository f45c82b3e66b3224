"""What a network wants of a picture, in one pass over it: size, channels, mean and norm, layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import run
from walle_core.cv.color import _GRAY, _PERMUTED
from walle_core.cv.geometry import INTER_LINEAR, INTER_LINEAR_EXACT, INTER_NEAREST
from walle_core.cv.images import look, size_of
from walle_core.errors import InputError

LAYOUTS = ("NCHW", "CHW", "NHWC", "HWC")


def _numbers(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    return tuple(float(v) for v in value) if hasattr(value, "__len__") else (float(value),)


@attrs.frozen
class Preprocess:
    """A picture as a network's input: `Preprocess(size, ...)(image)`.

    Equal to `cvtColor(resize(image, size, interpolation=...), code)` followed by `(x - mean) * norm` in float32 and a
    transpose, without the images in between.

    Attributes:
        size: (width, height).
        code: of cvtColor; those that change channels or make gray; -1 for none.
        mean, norm: one number per channel of the result, or one for all; None is 0 and 1.
        layout: NCHW (1 × C × H × W), CHW, NHWC or HWC.
        interpolation: INTER_LINEAR or INTER_NEAREST.
    """

    size: tuple[int, int] = attrs.field(converter=size_of)
    code: int = -1
    mean: tuple[float, ...] | None = attrs.field(default=None, converter=_numbers)
    norm: tuple[float, ...] | None = attrs.field(default=None, converter=_numbers)
    layout: str = "NCHW"
    interpolation: int = INTER_LINEAR

    def __attrs_post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise InputError(f"layout {self.layout!r} is not one of {', '.join(LAYOUTS)}")
        if self.code != -1 and self.code not in _PERMUTED and self.code not in _GRAY:
            raise InputError(
                f"code {self.code} is none that changes channels or makes gray; use cvtColor before"
            )
        if self.interpolation not in (INTER_LINEAR, INTER_LINEAR_EXACT, INTER_NEAREST):
            raise InputError(
                "interpolation must be INTER_LINEAR or INTER_NEAREST; use resize before for others"
            )

    def __call__(self, image: Any) -> Tensor:
        """float32 in the layout. Raises InputError unless the image is uint8 with the channels that the code takes."""
        shape, _ = look(image, "image", ("uint8",), (1, 3, 4))
        count = shape[2] if len(shape) == 3 else 1
        order, blue = self._channels(count)
        mean, norm = (
            self._per_channel(self.mean, 0.0, len(order)),
            self._per_channel(self.norm, 1.0, len(order)),
        )
        width, height = self.size
        planes = self.layout in ("NCHW", "CHW")
        result = (len(order), height, width) if planes else (height, width, len(order))
        nearest = self.interpolation == INTER_NEAREST
        args = [
            0 if nearest else 1,
            1 / (width / shape[1]),
            1 / (height / shape[0]),
            planes,
            len(order),
            blue,
        ]
        for k, source in enumerate(order):
            args += [source, mean[k], norm[k]]
        found = run("preprocess", [image], Tensor(result, "float32", zero=False), args)
        return found if len(self.layout) == 3 else found.reshape(1, *result)

    def _channels(self, count: int) -> tuple[Sequence[int], int]:
        """For each channel of the result the one of the image, and the place of blue if the result is gray, or -1."""
        if self.code == -1:
            return range(count), -1
        wanted, rest = _GRAY.get(self.code) or _PERMUTED[self.code]
        if wanted != count:
            raise InputError(f"image has {count} channels; code {self.code} takes {wanted}")
        if isinstance(rest, int):
            return (0,), rest
        if -1 in rest:
            raise InputError(
                f"code {self.code} adds an alpha channel, which no mean and norm are for; use cvtColor before"
            )
        return rest, -1

    def _per_channel(self, given: tuple[float, ...] | None, missing: float, count: int) -> Sequence[float]:
        if given is None:
            return [missing] * count
        if len(given) not in (1, count):
            raise InputError(f"mean and norm need 1 or {count} numbers, not {len(given)}")
        return given if len(given) == count else given * count
