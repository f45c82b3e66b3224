"""How arguments of the structural and drawing functions become Tensors that their kernels take."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv._structure import finite
from walle_core.errors import InputError

_LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767), "int32": (-(1 << 31), (1 << 31) - 1)}  # fmt: skip
_FORMATS = {
    "uint8": "B",
    "int8": "b",
    "uint16": "H",
    "int16": "h",
    "int32": "i",
    "float32": "f",
    "float64": "d",
}


def wrapped(value: Any, name: str) -> Tensor:
    """`value` as a Tensor, without a copy. Raises InputError if it offers no contiguous buffer."""
    if isinstance(value, Tensor):
        return value
    try:
        return Tensor.wrap(value)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def as_image(value: Any, name: str, dtypes: Sequence[str], channels: int = 1) -> Tensor:
    """An image H × W, or H × W × C with C ≤ `channels`; C = 1 may be given either way.

    Raises:
        InputError: another rank, dtype or number of channels; an empty image.
    """
    image = wrapped(value, name)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image.reshape(image.shape[:2])
    if image.dtype not in dtypes:
        raise InputError(f"{name} has dtype {image.dtype}; it must be {' or '.join(dtypes)}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] > channels) or not image.size:
        wanted = "H x W" if channels == 1 else f"H x W or H x W x C with at most {channels} channels"
        raise InputError(f"{name} has shape {image.shape}; it must be {wanted}, and not empty")
    return image


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [item for part in value for item in _flat(part)]
    return value.tolist() if hasattr(value, "tolist") and not hasattr(value, "shape") else [value]


def as_points(value: Any, name: str = "points", *, whole: bool = False) -> Tensor:
    """Points N × 2, N × 1 × 2 or 1 × N × 2, or nested lists of them, as int32 or float32 N × 2.

    Args:
        value: int32 or float32 as they are; other integers become int32, float64 becomes float32. Lists become int32
            if all their numbers are integers.
        name: what it is called in errors.
        whole: only integers will do.

    Raises:
        InputError: another shape, numbers that do not fit, infinities and NaN.
    """
    if isinstance(value, (list, tuple)):
        value = [item.tolist() if isinstance(item, Tensor) else item for item in value]
        flat = [n if isinstance(n, (int, float)) else float(n) for n in _flat(value)]
        real = any(isinstance(n, float) for n in flat)
        made = Tensor.of(flat, "float32" if real else "int32") if flat else Tensor((0,), "int32")
        points = made.reshape(made.size // 2, 2) if made.size % 2 == 0 else made
    else:
        points = wrapped(value, name)
        if points.dtype in ("int8", "uint8", "int16", "uint16", "int64"):
            points = Tensor.of(points, "int32")
        elif points.dtype == "float64":
            points = Tensor.of(points, "float32")
    if points.size == 0:
        return Tensor((0, 2), points.dtype)
    if points.dtype not in ("int32", "float32") or (whole and points.dtype != "int32"):
        raise InputError(
            f"{name} have dtype {points.dtype}; they must be int32{'' if whole else ' or float32'}"
        )
    if points.shape[-1] != 2 or points.size // 2 != max(points.shape[:-1], default=0):
        raise InputError(f"{name} have shape {points.shape}; they must be N x 2, N x 1 x 2 or 1 x N x 2")
    if points.dtype == "float32" and not finite(points):
        raise InputError(f"{name} have coordinates that are not finite")
    return points.reshape(points.size // 2, 2)


def as_numbers(value: Any, name: str) -> Tensor:
    """A float64 copy of numbers in any form, with their shape."""
    source = value if isinstance(value, (list, tuple)) else wrapped(value, name)
    try:
        return Tensor.of(source, "float64")
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} are no numbers: {error}") from error


def pair(value: Any, name: str) -> tuple[int, int]:
    """Two integers. Raises InputError."""
    try:
        x, y = value
        if int(x) != x or int(y) != y:
            raise InputError(f"{name} is {value!r}; it must be two whole numbers")
        return int(x), int(y)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {value!r}; it must be two whole numbers") from error


def raw_colour(color: Any, dtype: str, channels: int) -> bytes:
    """A colour as the bytes of one pixel: rounded, saturated, missing channels 0; a number is the first channel."""
    values = [float(color)] if isinstance(color, (int, float)) else [float(v) for v in color]
    if len(values) > 4:
        raise InputError(f"a colour has at most 4 channels, not {len(values)}")
    values = (values + [0.0] * 4)[:channels]
    if dtype in _LIMITS:
        low, high = _LIMITS[dtype]
        whole = [min(max(round(v), low), high) if v == v else 0 for v in values]
        return struct.pack(f"<{channels}{_FORMATS[dtype]}", *whole)
    return struct.pack(f"<{channels}{_FORMATS[dtype]}", *values)
