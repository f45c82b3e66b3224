"""A drawn call of each function of the standard that is not elementwise, a reduction or along an axis.

A builder takes (draw, dtype name) and gives (arguments, options).
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from matrix_judge import shapes, strict
from standard_draws import array, axis_of, just, of, product, some, tensordot, vecdot
from standard_extension_calls import EXTENSION_CALLS

from walle_core import matrix as xp


def shape_of(draw):
    return draw(shapes())


def arange(draw, dtype):
    start, stop, step = draw(st.tuples(st.integers(0, 9), st.integers(0, 30), st.integers(1, 5)))
    return (start, stop, step), {"dtype": of(dtype)}


def asarray(draw, dtype):
    return (array(draw, dtype).tolist(),), {"dtype": of(dtype)}


def of_shape(draw, dtype):
    return (shape_of(draw),), {"dtype": of(dtype)}


def like(draw, dtype):
    return (array(draw, dtype),), {}


def full(draw, dtype):
    return (shape_of(draw), array(draw, dtype, st.just(())).item()), {"dtype": of(dtype)}


def full_like(draw, dtype):
    x = array(draw, dtype)
    return (x, array(draw, dtype, st.just(())).item()), {}


def eye(draw, dtype):
    n, m, k = draw(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 4), st.integers(-4, 4)))
    return (n, m), {"k": k, "dtype": of(dtype)}


def linspace(draw, dtype):
    start, stop, num = draw(st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9)))
    return (float(start), float(stop), num), {"dtype": of(dtype), "endpoint": draw(st.booleans())}


def vectors(draw, dtype):
    count = draw(st.integers(1, 3))
    return tuple(array(draw, dtype, shapes(1, 1)) for _ in range(count)), {
        "indexing": draw(st.sampled_from(["xy", "ij"]))
    }


def triangle(draw, dtype):
    return (some(draw, dtype, low=2),), {"k": draw(st.integers(-4, 4))}


def astype(draw, dtype):
    to = draw(
        st.sampled_from(["bool", "int8", "int16", "int32", "int64", "float32", "float64", "complex128"])
    )
    x = array(draw, dtype)
    if to in ("int8", "int16", "int32") or x.dtype.kind in "fu":
        x = x % 100 if x.dtype.kind in "iu" else xp.abs(x) if x.dtype.kind == "f" else x
    return (x, of(to)), {"copy": draw(st.booleans())}


def broadcast_arrays(draw, dtype):
    x = some(draw, dtype)
    return (x, just(draw, dtype, (1,) * x.ndim), just(draw, dtype, x.shape[1:])), {}


def broadcast_to(draw, dtype):
    x = array(draw, dtype)
    return (x, (*draw(shapes(0, 2)), *x.shape)), {}


def two_dtypes(draw, dtype):
    return (of(dtype), of(draw(st.sampled_from(["bool", "int8", "uint64", "float32", "complex128"])))), {}


def arrays_and_dtypes(draw, dtype):
    x = array(draw, dtype)
    return (x, of(dtype), x), {}


def kind(draw, dtype):
    kinds = [
        "bool",
        "signed integer",
        "unsigned integer",
        "integral",
        "real floating",
        "complex floating",
        "numeric",
    ]
    wanted = draw(st.sampled_from([*kinds, ("bool", "integral"), ("numeric",)]))
    return (of(dtype), wanted), {}


def clip(draw, dtype):
    x = array(draw, dtype)
    low, high = (array(draw, dtype, st.just(())) for _ in range(2))
    limits = [low.item(), high.item()]
    return (x, *(sorted(limits) if x.dtype.kind != "c" else limits)), {}


def take(draw, dtype):
    x = some(draw, dtype, side=1)
    axis = axis_of(draw, x)
    size = x.shape[axis]
    at = draw(st.lists(st.integers(-size, size - 1), max_size=5))
    return (x, xp.asarray(at, dtype=xp.int64)), {"axis": axis}


def take_along_axis(draw, dtype):
    x = some(draw, dtype, side=1)
    axis = axis_of(draw, x)
    at = xp.asarray(np.arange(x.size).reshape(x.shape) % x.shape[axis])
    return (x, at), {"axis": axis}


def concat(draw, dtype):
    x = some(draw, dtype)
    axis = draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    return ([x, just(draw, dtype, x.shape)],), {"axis": axis}


def stack(draw, dtype):
    x = array(draw, dtype)
    return ([x, just(draw, dtype, x.shape)],), {"axis": axis_of(draw, x, 1) if x.ndim else 0}


def expand_dims(draw, dtype):
    x = array(draw, dtype)
    return (x,), {"axis": draw(st.integers(-x.ndim - 1, x.ndim))}


def moveaxis(draw, dtype):
    x = some(draw, dtype)
    return (x, axis_of(draw, x), axis_of(draw, x)), {}


def permute_dims(draw, dtype):
    x = array(draw, dtype)
    return (x, tuple(draw(st.permutations(range(x.ndim))))), {}


def repeat(draw, dtype):
    x = some(draw, dtype)
    return (x, draw(st.integers(0, 3))), {"axis": draw(st.none() | st.integers(-x.ndim, x.ndim - 1))}


def reshape(draw, dtype):
    x = some(draw, dtype, side=1)
    return (x, draw(st.sampled_from([(-1,), (x.size,), (1, x.size), x.shape[::-1]]))), {}


def roll(draw, dtype):
    x = some(draw, dtype)
    return (x, draw(st.integers(-9, 9))), {"axis": draw(st.none() | st.integers(-x.ndim, x.ndim - 1))}


def squeeze(draw, dtype):
    x = xp.expand_dims(array(draw, dtype), axis=0)
    return (x, 0), {}


def tile(draw, dtype):
    return (array(draw, dtype), draw(st.lists(st.integers(0, 3), max_size=4).map(tuple))), {}


def unstack(draw, dtype):
    x = some(draw, dtype)
    return (x,), {"axis": axis_of(draw, x)}


def one(draw, dtype):
    return (some(draw, dtype),), {}


def searchsorted(draw, dtype):
    x = array(draw, dtype, shapes(1, 1))
    options = {"side": draw(st.sampled_from(["left", "right"]))}
    return (xp.sort(x), some(draw, dtype)), options


def where(draw, dtype):
    x = array(draw, dtype)
    return (just(draw, "bool", x.shape), x, just(draw, dtype, x.shape)), {}


CALLS = {
    "arange": arange, "asarray": asarray, "empty": of_shape, "zeros": of_shape, "ones": of_shape, "empty_like": like,
    "zeros_like": like, "ones_like": like, "full": full, "full_like": full_like, "eye": eye, "linspace": linspace,
    "from_dlpack": like, "meshgrid": vectors, "tril": triangle, "triu": triangle, "astype": astype,
    "broadcast_arrays": broadcast_arrays, "broadcast_to": broadcast_to, "can_cast": two_dtypes,
    "result_type": arrays_and_dtypes, "isdtype": kind, "clip": clip, "take": take, "take_along_axis": take_along_axis,
    "matmul": product, "matrix_transpose": product, "tensordot": tensordot, "vecdot": vecdot, "concat": concat,
    "stack": stack, "expand_dims": expand_dims, "moveaxis": moveaxis, "permute_dims": permute_dims, "repeat": repeat,
    "reshape": reshape, "roll": roll, "squeeze": squeeze, "tile": tile, "unstack": unstack, "nonzero": one,
    "searchsorted": searchsorted, "where": where, "unique_all": one, "unique_counts": one, "unique_inverse": one,
    **EXTENSION_CALLS,
}  # fmt: skip
# Without arrays or a dtype of their own (test_namespace.py), or of the edition after this one (test_sorting.py).
APART = {"finfo", "iinfo", "__array_namespace_info__", "broadcast_shapes", "isin"}


OWN = {"ArrayAPIStrictFlags", "Device", "ModuleType", "get_array_api_strict_flags", "reset_array_api_strict_flags",
       "set_array_api_strict_flags"}  # fmt: skip
NAMES = [
    n for n in dir(strict) if n not in OWN and (not n.startswith("_") or n == "__array_namespace_info__")
]
EXTENSIONS = [(part, n) for part in ("linalg", "fft") for n in getattr(strict, part).__all__]
REDUCTIONS = [
    "all", "any", "max", "mean", "min", "prod", "std", "sum", "var", "argmax", "argmin", "count_nonzero",
]  # fmt: skip
SORTED = ["sort", "argsort", "cumulative_sum", "cumulative_prod", "diff", "flip", "unique_values"]
