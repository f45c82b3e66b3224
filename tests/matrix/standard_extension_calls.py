"""A drawn call of each function of the standard's extensions, linear algebra and Fourier transforms.

Builders as in standard_calls.py; `AFTER` turns results into what does not depend on a choice that the standard leaves open.
"""

import math

import numpy as np
from hypothesis import strategies as st
from matrix_judge import shapes
from standard_draws import array, axis_of, just, of, product, some, tensordot, vecdot

from walle_core import matrix as xp


def square_matrices(draw, dtype, low=1):
    """Well conditioned, as the values are not the point here."""
    n = draw(st.integers(low, 4))
    lead = draw(shapes(0, 1, 1, 2))
    x = xp.asarray(np.random.default_rng(draw(st.integers(0, 99))).standard_normal((*lead, n, n)) / 4)
    return xp.astype(
        x + 2 * xp.eye(n) if dtype[0] not in "bui" else xp.round(x * 8 + 9 * xp.eye(n)), of(dtype)
    )


def square(draw, dtype):
    return (square_matrices(draw, dtype),), {}


def hermitian(draw, dtype):
    x = square_matrices(draw, dtype)
    return (x @ xp.matrix_transpose(x) if dtype != "bool" else x,), {}


def right_side(draw, dtype):
    x = square_matrices(draw, dtype)
    return (x, just(draw, dtype, (*x.shape[:-2], x.shape[-1], draw(st.integers(1, 3))))), {}


def matrices(draw, dtype):
    m, n = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    made = np.random.default_rng(draw(st.integers(0, 99))).standard_normal((*draw(shapes(0, 1, 1, 2)), m, n))
    return (xp.astype(xp.asarray(np.abs(made * 4)), of(dtype)),), {}


def matrix_norm(draw, dtype):
    orders = ["fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf]
    return matrices(draw, dtype)[0], {"ord": draw(st.sampled_from(orders)), "keepdims": draw(st.booleans())}


def vector_norm(draw, dtype):
    orders = [1, 2, 3, 0.5, 0, math.inf, -math.inf]
    return matrices(draw, dtype)[0], {
        "ord": draw(st.sampled_from(orders)),
        "axis": draw(st.sampled_from([None, -1, (0, 1)])),
    }


def matrix_power(draw, dtype):
    return (square_matrices(draw, dtype), draw(st.integers(0 if dtype[0] in "ui" else -2, 3))), {}


def cross(draw, dtype):
    x = just(draw, dtype, (*draw(shapes(0, 2)), 3))
    return (x, just(draw, dtype, x.shape)), {}


def outer(draw, dtype):
    return (array(draw, dtype, shapes(1, 1)), array(draw, dtype, shapes(1, 1))), {}


def diagonal(draw, dtype):
    return (some(draw, dtype, low=2),), {"offset": draw(st.integers(-4, 4))}


def transform(draw, dtype):
    x = some(draw, dtype, side=2)
    n = draw(st.none() | st.integers(2, 7))
    return (x,), {
        "n": n,
        "axis": axis_of(draw, x),
        "norm": draw(st.sampled_from(["backward", "ortho", "forward"])),
    }


def transform_all(draw, dtype):
    x = some(draw, dtype, side=2)
    return (x,), {"norm": draw(st.sampled_from(["backward", "ortho", "forward"]))}


def frequencies(draw, dtype):
    return (draw(st.integers(1, 9)),), {"d": draw(st.sampled_from([1.0, 0.5])), "dtype": of(dtype)}


def shift(draw, dtype):
    x = some(draw, dtype)
    return (x,), {"axes": draw(st.none() | st.integers(-x.ndim, x.ndim - 1))}


EXTENSION_CALLS = {
    "linalg.cholesky": hermitian, "linalg.cross": cross, "linalg.det": square, "linalg.diagonal": diagonal,
    "linalg.eigh": hermitian, "linalg.eigvalsh": hermitian, "linalg.inv": square, "linalg.matmul": product,
    "linalg.matrix_norm": matrix_norm, "linalg.matrix_power": matrix_power, "linalg.matrix_rank": matrices,
    "linalg.matrix_transpose": matrices, "linalg.outer": outer, "linalg.pinv": matrices, "linalg.qr": matrices,
    "linalg.slogdet": square, "linalg.solve": right_side, "linalg.svd": matrices, "linalg.svdvals": matrices,
    "linalg.tensordot": tensordot, "linalg.trace": diagonal, "linalg.vecdot": vecdot, "linalg.vector_norm": vector_norm,
    **{f"fft.{n}": transform for n in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")},
    **{f"fft.{n}": transform_all for n in ("fftn", "ifftn", "rfftn", "irfftn")},
    "fft.fftfreq": frequencies, "fft.rfftfreq": frequencies, "fft.fftshift": shift, "fft.ifftshift": shift,
}  # fmt: skip


def magnitudes(result):
    """Factors are determined up to signs of their columns and rows."""
    return tuple(abs(part) for part in result)


AFTER = {"linalg.qr": magnitudes, "linalg.eigh": lambda r: r[:1], "linalg.svd": lambda r: r[1:2]}
