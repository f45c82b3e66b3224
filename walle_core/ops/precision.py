"""How NumPy references treat element types: lookup by name, and 16-bit floats computed in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import prod
from typing import Any

from walle_core.ops.numpy_lazy import np

_EXTENSION = ("bfloat16", "float8_", "float4_", "float6_", "int4", "uint4", "int2", "uint2")


def np_dtype(name: str) -> Any:
    """NumPy dtype for a Walle dtype name; the types that NumPy lacks come from ml_dtypes."""
    if name == "string":
        return np.dtype(object)
    if name.startswith(_EXTENSION):
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


def is_narrow(x: Any) -> bool:
    """True for a float type of at most 16 bits."""
    name = x.dtype.name
    return bool(name == "float16" or name.startswith(("bfloat", "float8_", "float6_", "float4_")))


def widen(x: Any) -> Any:
    """`x` in float32 if it is a narrower float array, else `x`."""
    return x.astype(np.float32) if x is not None and hasattr(x, "dtype") and is_narrow(x) else x


def average(x: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """Average over `axes` in the dtype of `x`; of nothing it is NaN, of which np.mean would warn."""
    if x.size:
        return np.mean(x, axes, dtype=x.dtype, keepdims=keepdims)
    count = prod(x.shape[a] for a in axes)
    with np.errstate(all="ignore"):
        return np.sum(x, axes, dtype=x.dtype, keepdims=keepdims) / x.dtype.type(count)


def _arrays(made: Any, convert: Callable[[Any], Any]) -> Any:
    return tuple(map(convert, made)) if isinstance(made, tuple) else convert(made)


def widened(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a reference: narrow floats are computed in float32 and rounded once; warnings are silenced.

    Every floating-point result gets the dtype of the first array operand if that one was narrow.
    """

    @functools.wraps(fn)
    def run(*operands: Any, **attributes: Any) -> Any:
        with np.errstate(all="ignore"):
            first = next((a for a in operands if hasattr(a, "dtype")), None)
            if first is None or not is_narrow(first):
                return _arrays(fn(*operands, **attributes), np.asarray)
            made = fn(*[widen(a) for a in operands], **attributes)
            return _arrays(made, lambda y: np.asarray(y, first.dtype if y.dtype.kind == "f" else None))

    return run


def quiet(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a reference: silences NumPy's floating-point warnings."""

    @functools.wraps(fn)
    def run(*operands: Any, **attributes: Any) -> Any:
        with np.errstate(all="ignore"):
            return _arrays(fn(*operands, **attributes), np.asarray)

    return run
