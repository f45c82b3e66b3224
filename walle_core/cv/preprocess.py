"""What a network wants of a picture, in one pass over it: size, channels, mean and norm, layout."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import run, spare
from walle_core.cv.color import _GRAY, _PERMUTED
from walle_core.cv.geometry import INTER_LINEAR, INTER_LINEAR_EXACT, INTER_NEAREST
from walle_core.cv.images import look, size_of
from walle_core.errors import InputError
from walle_core.types import TensorSpec, dtype

LAYOUTS = ("NCHW", "CHW", "NHWC", "HWC")
MOST_KEPT = 16  # inputs of one session that are kept for its next runs


def _numbers(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    return tuple(float(v) for v in value) if hasattr(value, "__len__") else (float(value),)


@attrs.frozen
class Preprocess:
    """A picture as a network's input: `Preprocess(size, ...)(image)`.

    Equal to `cvtColor(resize(image, size, interpolation=...), code)` followed by `(x - mean) * norm` in float32 and a
    transpose, without the images in between. `Session(model, preprocess={"input": Preprocess(...)})` takes images instead
    of that input, and this becomes the first step of its plan.

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
        order, _ = self._channels(shape[2] if len(shape) == 3 else 1)
        return self.into(image, Tensor(self._shape(len(order)), "float32", zero=False))

    def into(self, image: Any, out: Tensor) -> Tensor:
        """The same, written into `out`.

        Raises:
            InputError: the image is not uint8 with the channels that the code takes; `out` has another shape or dtype.
        """
        shape, _ = look(image, "image", ("uint8",), (1, 3, 4))
        order, blue = self._channels(shape[2] if len(shape) == 3 else 1)
        if out.shape != self._shape(len(order)) or out.dtype != "float32":
            raise InputError(
                f"image has {shape[2] if len(shape) == 3 else 1} channels, which make float32"
                f"{self._shape(len(order))}, not {out.dtype}{out.shape}"
            )
        mean, norm = (
            self._per_channel(self.mean, 0.0, len(order)),
            self._per_channel(self.norm, 1.0, len(order)),
        )
        width, height = self.size
        args = [
            0 if self.interpolation == INTER_NEAREST else 1,
            1 / (width / shape[1]),
            1 / (height / shape[0]),
            self.layout in ("NCHW", "CHW"),
            len(order),
            blue,
        ]
        for k, source in enumerate(order):
            args += [source, mean[k], norm[k]]
        return run("preprocess", [image], out, args)

    def bind(self, spec: TensorSpec | None) -> Bound:
        """Itself as the step before a network's input.

        Args:
            spec: of the input; None where the model does not say.

        Raises:
            InputError: the input has another dtype, rank, size or number of channels than this makes.
        """
        shape = None if spec is None else spec.shape
        axis = self.layout.index("C")
        if self.code == -1:
            count = shape[axis] if shape is not None and len(shape) == len(self.layout) else "?"
            if count not in (1, 3, 4):
                raise InputError(
                    f"without a code the input must say that it has 1, 3 or 4 channels, not {count}"
                )
            taken = int(count)
        else:
            taken = (_GRAY.get(self.code) or _PERMUTED[self.code])[0]
        made = self._shape(len(self._channels(taken)[0]))
        for given in (self.mean, self.norm):
            self._per_channel(given, 0.0, made[axis])
        if spec is not None and spec.dtype.name != "float32":
            raise InputError(f"preprocessing makes float32, the input needs {spec.dtype.name}")
        if shape is not None and (
            len(shape) != len(made)
            or any(isinstance(w, int) and w != m for w, m in zip(shape, made, strict=True))
        ):
            raise InputError(f"preprocessing makes {list(made)}, the input needs {list(shape)}")
        sides = ("height", "width") if taken == 1 else ("height", "width", taken)
        return Bound(self, TensorSpec(dtype("uint8"), sides), made)

    def _shape(self, channels: int) -> tuple[int, ...]:
        width, height = self.size
        sizes = {"N": 1, "C": channels, "H": height, "W": width}
        return tuple(sizes[letter] for letter in self.layout)

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


class Bound:
    """A `Preprocess` as the first step of a session: from an image to a network's input, in memory that is used again.

    Attributes:
        takes: uint8, height × width (× channels).
    """

    def __init__(self, preprocess: Preprocess, takes: TensorSpec, shape: tuple[int, ...]) -> None:
        self.preprocess, self.takes = preprocess, takes
        self._shape = shape
        self._kept: list[Tensor] = []
        self._lock = threading.Lock()

    def __call__(self, image: Any) -> Tensor:
        """The input: memory that no run has and no caller can see, filled by one kernel.

        Raises:
            InputError: the image is not what `takes` says.
        """
        with self._lock:
            out: Tensor | None = spare(self._kept)
            if out is None:
                out = Tensor(self._shape, "float32", zero=False)
                if len(self._kept) < MOST_KEPT:
                    self._kept.append(out)
        return self.preprocess.into(image, out)

    def describe(self) -> Mapping[str, Any]:
        """The step, as plans list theirs."""
        nearest = self.preprocess.interpolation == INTER_NEAREST
        return {"op": "preprocess", "algorithm": f"{'nearest' if nearest else 'bilinear'}, one pass"}
