"""Arrays: the Python array API standard, 2024.12, on Walle's Tensor; use it as `from walle_core import matrix as xp`.

Beyond the standard: `fused` for chains of elementwise functions in one pass, and names of NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from walle_core.matrix._array import Array
from walle_core.matrix.creation import (
    arange, asarray, astype, empty, empty_like, eye, from_dlpack, full, full_like, linspace, meshgrid, ones, ones_like,
    tril, triu, zeros, zeros_like,
)  # fmt: skip
from walle_core.matrix.dtypes import (
    bool, can_cast, complex64, complex128, finfo, float32, float64, iinfo, int8, int16, int32, int64, isdtype, uint8,
    uint16, uint32, uint64,
)  # fmt: skip
from walle_core.matrix.elementwise import (
    abs, acos, acosh, add, asin, asinh, atan, atan2, atanh, bitwise_and, bitwise_invert, bitwise_left_shift, bitwise_or,
    bitwise_right_shift, bitwise_xor, ceil, clip, conj, copysign, cos, cosh, divide, equal, exp, expm1, floor,
    floor_divide, greater, greater_equal, hypot, imag, isfinite, isinf, isnan, less, less_equal, log, log1p, log2, log10,
    logaddexp, logical_and, logical_not, logical_or, logical_xor, maximum, minimum, multiply, negative, nextafter,
    not_equal, positive, pow, real, reciprocal, remainder, round, sign, signbit, sin, sinh, sqrt, square, subtract, tan,
    tanh, trunc,
)  # fmt: skip
from walle_core.matrix.info import __array_namespace_info__
from walle_core.matrix.manipulation import (
    broadcast_arrays, broadcast_to, concat, expand_dims, flip, matrix_transpose, moveaxis, permute_dims, repeat, reshape,
    result_type, roll, squeeze, stack, take, take_along_axis, tile, unstack,
)  # fmt: skip
from walle_core.matrix.statistics import (
    all, any, cumulative_prod, cumulative_sum, diff, max, mean, min, prod, std, sum, var,
)  # fmt: skip

__all__ = [  # noqa: RUF022 - in the order of the alphabet, capitals or not
    "abs", "acos", "acosh", "add", "all", "any", "arange", "Array", "asarray", "asin", "asinh", "astype",
    "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "bool", "broadcast_arrays", "broadcast_to", "can_cast", "ceil",
    "clip", "complex128", "complex64", "concat", "conj", "copysign", "cos", "cosh", "cumulative_prod",
    "cumulative_sum", "diff", "divide", "e", "empty", "empty_like", "equal", "exp", "expand_dims", "expm1",
    "eye", "finfo", "flip", "float32", "float64", "floor", "floor_divide", "from_dlpack", "full",
    "full_like", "greater", "greater_equal", "hypot", "iinfo", "imag", "inf", "int16", "int32", "int64",
    "int8", "isdtype", "isfinite", "isinf", "isnan", "less", "less_equal", "linspace", "log", "log10",
    "log1p", "log2", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor",
    "matrix_transpose", "max", "maximum", "mean", "meshgrid", "min", "minimum", "moveaxis", "multiply",
    "nan", "negative", "newaxis", "nextafter", "not_equal", "ones", "ones_like", "permute_dims", "pi",
    "positive", "pow", "prod", "real", "reciprocal", "remainder", "repeat", "reshape", "result_type",
    "roll", "round", "sign", "signbit", "sin", "sinh", "sqrt", "square", "squeeze", "stack", "std",
    "subtract", "sum", "take", "take_along_axis", "tan", "tanh", "tile", "tril", "triu", "trunc", "uint16",
    "uint32", "uint64", "uint8", "unstack", "var", "zeros", "zeros_like", "__array_api_version__",
    "__array_namespace_info__",
]  # fmt: skip

__array_api_version__ = "2024.12"
e, inf, nan, newaxis, pi = 2.718281828459045, float("inf"), float("nan"), None, 3.141592653589793

# Found in these modules when they are first asked for, so that a task that needs arrays alone loads quickly.
_LATER = ("fusion", "products", "sorting", "searching", "sets", "numpy_names")
_MODULES = ("linalg", "fft", "random")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    for part in () if name.startswith("_") else _LATER:
        try:
            module = import_module(f"{__name__}.{part}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{part}":
                raise
            continue
        if hasattr(module, name):
            globals()[name] = getattr(module, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
