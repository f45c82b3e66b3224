"""What the functions with NumPy's names take: arrays, numbers, nested lists and buffers."""

from __future__ import annotations

from typing import Any

from walle_core.matrix import _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import FLOAT32, FLOAT64, INT64


def given(x: Any) -> Array:
    """`x` as an array."""
    made: Array = x if type(x) is Array else _array.asarray_core(x, -1, None)
    return made


def floating(x: Any) -> Array:
    """`x` as an array of floats: float64 for integers and bool."""
    made: Array = given(x)
    return _array.astype_core(made, FLOAT64, False) if made.code < FLOAT32 else made


def positions_int64(x: Any) -> Array:
    """`x` as int64, for positions and bins."""
    made: Array = _array.astype_core(given(x), INT64, False)
    return made
