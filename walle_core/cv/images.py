"""What the pixel functions share: their images' shapes and dtypes, borders, kernels, results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv._pixels import describe, run
from walle_core.errors import InputError

__all__ = [
    "BORDER_CONSTANT",
    "BORDER_DEFAULT",
    "BORDER_ISOLATED",
    "BORDER_REFLECT",
    "BORDER_REFLECT101",
    "BORDER_REFLECT_101",
    "BORDER_REPLICATE",
    "BORDER_TRANSPARENT",
    "BORDER_WRAP",
    "CV_8S",
    "CV_8U",
    "CV_16S",
    "CV_16U",
    "CV_32F",
    "CV_32S",
    "CV_64F",
]

DEPTHS = ("uint8", "int8", "uint16", "int16", "int32", "float32", "float64")  # by OpenCV's numbers
FILTERED = ("uint8", "uint16", "int16", "float32", "float64")
CV_8U, CV_8S, CV_16U, CV_16S, CV_32S, CV_32F, CV_64F = range(7)
BORDER_CONSTANT, BORDER_REPLICATE, BORDER_REFLECT, BORDER_WRAP, BORDER_REFLECT_101, BORDER_TRANSPARENT = (
    range(6)
)
BORDER_REFLECT101 = BORDER_DEFAULT = BORDER_REFLECT_101
BORDER_ISOLATED = 16


def look(
    value: Any, name: str = "src", dtypes: Sequence[str] = DEPTHS, channels: Sequence[int] = ()
) -> tuple[tuple[int, ...], str]:
    """(shape, dtype) of an image H × W or H × W × C, of which neither side is 0.

    Raises:
        InputError: another rank, dtype or number of channels; an empty image; no buffer.
    """
    shape, dtype = describe(value)
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(f"{name} has shape {shape}; it must be H x W or H x W x C, and not empty")
    if dtype not in dtypes:
        raise InputError(f"{name} has dtype {dtype}; it must be {' or '.join(dtypes)}")
    count = shape[2] if len(shape) == 3 else 1
    if channels and count not in channels:
        raise InputError(f"{name} has {count} channels; it must have {' or '.join(str(n) for n in channels)}")
    return shape, dtype


def same(first: Any, second: Any, names: tuple[str, str] = ("src1", "src2")) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of two images that must agree in both. Raises InputError where they do not."""
    a, b = look(first, names[0]), look(second, names[1])
    if a != b:
        raise InputError(f"{names[0]} is {a[1]}{a[0]}, {names[1]} is {b[1]}{b[0]}; they must be the same")
    return a


def made(
    name: str,
    inputs: Sequence[Any],
    shape: Sequence[int],
    dtype: str,
    args: Sequence[float] = (),
    dst: Any = None,
) -> Tensor:
    """A pixel function's result: a new Tensor, whose pixels `dst` gets too if it is given."""
    return given(run(name, inputs, Tensor(shape, dtype, zero=False), args), dst)


def given(result: Tensor, dst: Any) -> Tensor:
    """`result`, which is also copied into `dst` unless that is None.

    Raises:
        InputError: dst cannot be written to, or has another shape or dtype.
    """
    if dst is None:
        return result
    target = dst if isinstance(dst, Tensor) else Tensor.wrap(dst)
    if target.shape != result.shape or target.dtype != result.dtype:
        raise InputError(
            f"dst is {target.dtype}{target.shape}, the result {result.dtype}{result.shape}; leave dst out, or give one like it"
        )
    return run("paste", [result], target, (0, 0))


def size_of(value: Any, name: str = "dsize") -> tuple[int, int]:
    """(width, height) as OpenCV has them. Raises InputError unless both are integers of at least 1."""
    try:
        width, height = (int(n) for n in value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is {value!r}; it must be (width, height)") from error
    if width < 1 or height < 1 or width > 1 << 30 or height > 1 << 30:
        raise InputError(f"{name} is {(width, height)}; both must be from 1 to 2^30")
    return width, height


def border_of(value: int, *, wrap: bool = False, transparent: bool = False) -> int:
    """A border's kind without BORDER_ISOLATED. Raises InputError for one that the function does not have."""
    kind = int(value) & ~BORDER_ISOLATED
    refused = kind not in range(6) or (kind == BORDER_WRAP and not wrap)
    if refused or (kind == BORDER_TRANSPARENT and not transparent):
        raise InputError(f"border {value!r} is not one that this function has")
    return kind


def scalar_of(value: Any) -> list[float]:
    """A number, or up to four of them, as four: a single number is the first channel's, as in OpenCV."""
    if value is None:
        return [0.0] * 4
    numbers = [float(n) for n in value] if hasattr(value, "__len__") else [float(value)]
    if len(numbers) > 4:
        raise InputError(f"a scalar has at most 4 numbers, not {len(numbers)}")
    return numbers + [0.0] * (4 - len(numbers))


def floats(value: Any) -> list[Any]:
    """A buffer or nested sequence as nested lists of Python numbers. Raises InputError if there are none."""
    if hasattr(value, "tolist"):
        made = value.tolist()
    elif isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        made = None
    else:
        made = [floats(part) if hasattr(part, "__len__") else float(part) for part in value]
    if not isinstance(made, list) or made in ([], [[]]):
        raise InputError(f"numbers are needed, in a buffer or nested lists, not {value!r}")
    return made


def matrix_of(value: Any, rows: int, columns: int, name: str) -> list[float]:
    """A matrix as one list, row by row. Raises InputError if it has another shape."""
    nested = floats(value)
    if len(nested) != rows or any(not isinstance(r, list) or len(r) != columns for r in nested):
        raise InputError(f"{name} must be a matrix of {rows} x {columns}")
    return [float(v) for r in nested for v in r]


def depth_of(ddepth: int, dtype: str) -> str:
    """The dtype of a result: -1 is the source's. Raises InputError for a number that is no depth."""
    if ddepth == -1:
        return dtype
    if not 0 <= ddepth < len(DEPTHS):
        raise InputError(f"ddepth is {ddepth}; it must be -1 or one of CV_8U to CV_64F")
    return DEPTHS[ddepth]
