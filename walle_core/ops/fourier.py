"""The discrete Fourier transform: by NumPy's FFT, and as graph of matrix products with constant matrices."""

from __future__ import annotations

import math
from array import array
from typing import Any

from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.rules import require

DIRECT = (
    256  # longest transform done by one matrix; longer ones are split into two factors where they have any
)
MAX_MATRIX = 1 << 24  # elements of the largest constant matrix


def dft_length(size: int, given: int | None, half: bool) -> int:
    """Length of the transform; `half`: the input holds the non-redundant half of a spectrum. Raises ValueError."""
    n = given if given is not None else 2 * (size - 1) if half else size
    require(0 < n <= 1 << 31, f"a transform of length {n} does not exist")
    return n


def transform(x: Any, length: int | None, axis: int, inverse: bool, onesided: bool) -> Any:
    """DFT of [..., 1 or 2] along an axis, cut or zero-padded to `length`."""
    n = dft_length(x.shape[axis], length, onesided and inverse)
    values = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1].astype(x.dtype)
    if onesided and inverse:
        return np.fft.irfft(values, n, axis).astype(x.dtype)[..., None]
    if onesided:
        require(x.shape[-1] == 1, "a complex signal has no one-sided transform")
    y = (
        np.fft.rfft(values, n, axis)
        if onesided
        else (np.fft.ifft if inverse else np.fft.fft)(values, n, axis)
    )
    return np.stack([y.real, y.imag], -1).astype(x.dtype)


def _matrix(g: Any, values: array[float], like: str, *shape: int) -> str:
    dtype = g.dtype(like).name
    kind = dtype if dtype == "float64" else "float32"
    constant = reshape(g, g.const(array("d" if kind == "float64" else "f", values), kind), *shape)
    return constant if kind == dtype else str(g.CastLike(constant, like))


def _roots(n: int, inverse: bool) -> tuple[list[float], list[float]]:
    """Cosine and sine of the n-th roots of unity, sine with the sign of the direction."""
    sign = 1 if inverse else -1
    angles = [2 * math.pi * i / n for i in range(n)]
    return [math.cos(t) for t in angles], [sign * math.sin(t) for t in angles]


def _direct(n: int, bins: int, parts: int, inverse: bool) -> array[float]:
    """Matrix [n * parts, bins * 2] on interleaved (re, im) values."""
    cos, sin = _roots(n, inverse)
    scale = 1 / n if inverse else 1.0
    values = array("d")
    for j in range(n):
        turns = [j * k % n for k in range(bins)]
        values.extend(scale * v for t in turns for v in (cos[t], sin[t]))
        if parts == 2:
            values.extend(scale * v for t in turns for v in (-sin[t], cos[t]))
    return values


def _half_inverse(size: int, n: int) -> array[float]:
    """Matrix [size * 2, n] from the non-redundant half of a spectrum to the real signal of length n."""
    cos, sin = _roots(n, inverse=True)
    values = array("d")
    for k in range(size):
        used = k <= n // 2
        weight = 0.0 if not used else 1 / n if k == 0 or 2 * k == n else 2 / n
        values.extend(weight * cos[j * k % n] for j in range(n))
        values.extend(-weight * sin[j * k % n] for j in range(n))
    return values


def _factor(n: int) -> int:
    """The divisor of n next to its square root, from below; 1 if n is prime or short."""
    if n <= DIRECT:
        return 1
    return next(d for d in range(math.isqrt(n), 0, -1) if n % d == 0)


def _split(g: Any, x: str, rows: int, a: int, b: int, inverse: bool) -> str:
    """Appends the transform of x [rows, a * b, 2] in two steps (Cooley, Tukey 1965): length a with twiddles, then b.

    With j = b * j1 + j2 and k = k1 + a * k2: the first step is a matrix per j2 that holds the twiddle factors too.
    """
    n = a * b
    cos, sin = _roots(n, inverse)
    scale = 1 / n if inverse else 1.0
    values = array("d")
    for j2 in range(b):
        for j1 in range(a):
            turns = [(j1 * b + j2) * k1 % n for k1 in range(a)]
            values.extend(scale * v for t in turns for v in (cos[t], sin[t]))
            values.extend(scale * v for t in turns for v in (-sin[t], cos[t]))
    first = g.Transpose(reshape(g, x, rows, a, b, 2), perm=(2, 0, 1, 3))
    first = g.MatMul(reshape(g, first, b, rows, a * 2), _matrix(g, values, x, b, a * 2, a * 2))
    second = g.Transpose(reshape(g, first, b, rows, a, 2), perm=(1, 2, 0, 3))
    plain = _direct(b, b, 2, inverse)
    if inverse:  # the scale 1 / n is in the first step
        plain = array("d", [v * b for v in plain])
    second = g.MatMul(reshape(g, second, rows * a, b * 2), _matrix(g, plain, x, b * 2, b * 2))
    return reshape(g, g.Transpose(reshape(g, second, rows, a, b, 2), perm=(0, 2, 1, 3)), rows, n, 2)


def dft_graph(g: Any, x: str, length: int | None, axis: int, inverse: bool, onesided: bool) -> str:
    """Appends the transform that `transform` computes."""
    shape = list(g.shape(x))
    rank, parts = len(shape), shape[-1]
    size = shape[axis]
    n = dft_length(size, length, onesided and inverse)
    perm = [i for i in range(rank) if i != axis]
    perm.insert(rank - 2, axis)
    moved = str(g.Transpose(x, perm=perm)) if perm != list(range(rank)) else x
    lead = [shape[i] for i in perm[:-2]]
    rows = math.prod(lead)
    if onesided and inverse:
        require(parts == 2, "the half of a spectrum must be complex")
        require(2 * size * n <= MAX_MATRIX, f"a one-sided inverse transform of length {n} is too long")
        y = g.MatMul(reshape(g, moved, rows, size * 2), _matrix(g, _half_inverse(size, n), x, size * 2, n))
        y, bins, out = y, n, 1
    else:
        require(not (onesided and parts == 2), "a complex signal has no one-sided transform")
        bins, out = (n // 2 + 1 if onesided else n), 2
        y = reshape(g, moved, rows, size, parts)
        if size > n:
            y = g.Slice(y, *(g.const([v], "int64") for v in (0, n, 1)))
        elif size < n:
            y = g.Pad(y, g.const([0, 0, 0, 0, n - size, 0], "int64"))
        a = _factor(n)
        if a > 1:
            require(4 * n * max(a, n // a) <= MAX_MATRIX, f"a transform of length {n} is too long")
            y = y if parts == 2 else g.Concat(y, g.Sub(y, y), axis=2)
            y = _split(g, y, rows, a, n // a, inverse)
            y = g.Slice(y, *(g.const([v], "int64") for v in (0, bins, 1))) if bins < n else y
        else:
            require(2 * parts * n * bins <= MAX_MATRIX, f"a transform of length {n} is too long")
            matrix = _matrix(g, _direct(n, bins, parts, inverse), x, n * parts, bins * 2)
            y = g.MatMul(reshape(g, y, rows, n * parts), matrix)
    y = reshape(g, y, *lead, bins, out)
    back = [perm.index(i) for i in range(rank)]
    return str(g.Transpose(y, perm=back)) if back != list(range(rank)) else str(y)
