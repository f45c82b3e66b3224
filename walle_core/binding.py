"""What a caller gives as an input, as a Tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import InputError
from walle_core.types import DTYPES, TensorSpec


def host_dtype(value: Any, spec: TensorSpec) -> str:
    """Walle's name for the dtype of an array that no Tensor can hold: texts, and objects where texts are wanted."""
    kind = getattr(value.dtype, "kind", "")
    return "string" if kind in "UST" or (kind == "O" and spec.dtype.itemsize == 0) else str(value.dtype)


def fits(shape: Sequence[int], wanted: Sequence[int | str]) -> bool:
    """True if an array of this shape is what a spec wants, whose symbolic sizes take any."""
    return len(shape) == len(wanted) and all(
        isinstance(w, str) or s == w for s, w in zip(shape, wanted, strict=True)
    )


def to_tensor(value: Any) -> Any:
    """A Tensor over an array-like; without a copy where the memory is C-contiguous. Host objects pass through."""
    if isinstance(value, Tensor):
        return value
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", "-") in "OUST":
        return value
    if not getattr(dtype, "isnative", True):
        value = value.astype(value.dtype.newbyteorder("="))
    try:
        return Tensor.wrap(value)
    except InputError:
        if hasattr(value, "flags") and not value.flags.c_contiguous:
            return to_tensor(value.copy(order="C"))
        if dtype is not None and hasattr(value, "tobytes") and hasattr(value, "shape"):
            if str(dtype) in DTYPES:
                return Tensor.wrap(value.tobytes(), str(dtype), tuple(value.shape)).copy()
        if isinstance(value, (int, float, bool)):
            return Tensor.of(value)
        if hasattr(value, "__dlpack__"):
            return Tensor.from_dlpack(value)
        if hasattr(value, "__array__"):
            return to_tensor(value.__array__())
        raise


def check_finite(tensor: Tensor, where: str) -> None:
    """Raises InputError if a float tensor holds NaN or infinity."""
    flat = tensor.reshape(-1).tolist()
    for index, element in enumerate(flat):
        if element != element or element in (float("inf"), float("-inf")):
            raise InputError(
                f"{where}: element {index} is {element}; clean the input or pass check_finite=False"
            )
