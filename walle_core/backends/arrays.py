"""Between walle Tensors and NumPy arrays, both ways without a copy where memory allows."""

from __future__ import annotations

from typing import Any

from walle_core._native import Tensor
from walle_core.errors import BackendError
from walle_core.ops.numpy_lazy import np
from walle_core.types import DTYPES, TensorSpec


def to_array(value: Any) -> Any:
    """A value as the references take it.

    Args:
        value: a Tensor (becomes an ndarray over the same memory), an ndarray, a list (a sequence), None (an empty
            optional) or a Python number.
    """
    if isinstance(value, Tensor):
        return np.asarray(value)
    if isinstance(value, list):
        return [to_array(v) for v in value]
    if value is None or isinstance(value, np.ndarray):
        return value
    return np.asarray(value)


def to_tensor(value: Any) -> Any:
    """A reference's result as a run returns it: a Tensor; strings stay object arrays, sequences lists, empties None."""
    if isinstance(value, list):
        return [to_tensor(v) for v in value]
    if value is None or isinstance(value, Tensor) or value.dtype.kind in "OUS":
        return value
    name = dtype_name(value)
    if not value.flags.c_contiguous:
        value = value.copy(order="C")
    if not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if DTYPES[name].format is None or DTYPES[name].kind == "c":
        flat = value.reshape(-1).view(np.uint8)
        return Tensor.wrap(flat, name, value.shape) if flat.size else Tensor(value.shape, name)
    return Tensor.wrap(value)


def dtype_name(array: Any) -> str:
    """Walle's name for an array's dtype. Raises BackendError if there is none."""
    name: str = "string" if array.dtype.kind in "OUS" else array.dtype.name
    if name not in DTYPES:
        raise BackendError(f"no dtype for NumPy's {array.dtype}; known: {', '.join(DTYPES)}")
    return name


def spec_of(array: Any) -> TensorSpec:
    """Dtype and sizes of an array."""
    return TensorSpec(DTYPES[dtype_name(array)], tuple(array.shape))


def describe(value: Any) -> str:
    """Dtype and shape for a message."""
    if isinstance(value, np.ndarray):
        return str(spec_of(value))
    return (
        f"sequence of {len(value)}" if isinstance(value, list) else "absent" if value is None else repr(value)
    )
