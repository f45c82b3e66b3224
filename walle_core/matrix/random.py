"""Random arrays, after `numpy.random`. The sequence of a seed is this module's own; it is the same on every machine.

Until `seed` is called, the sequence depends on the state of Python's `random`. It belongs to one interpreter.
"""

from __future__ import annotations

import random as python_random
from typing import Any

from walle_core._native import Tensor
from walle_core.matrix import _algorithms, _array
from walle_core.matrix._array import Array
from walle_core.matrix.dtypes import FLOAT64, INT64, TYPES, code_of
from walle_core.matrix.errors import ArrayValueError

UNIFORM, NORMAL, INTEGERS, ORDER = range(4)


class Generator:
    """A sequence of random numbers. `seed` is any integer; None: taken from Python's `random`."""

    def __init__(self, seed: int | None = None) -> None:
        self._state = Tensor((4,), "uint64")
        self.seed(seed)

    def seed(self, seed: int | None = None) -> None:
        """Starts the sequence of a seed."""
        value = python_random.getrandbits(64) if seed is None else int(seed) % (1 << 64)
        _algorithms.seed(self._state, value)

    def _draw(self, kind: int, code: int, size: Any, low: int = 0, span: int = 0) -> Array:
        shape = () if size is None else (size,) if isinstance(size, int) else tuple(size)
        out: Array = _array.empty_core(shape, code)
        _algorithms.draw(kind, self._state, out.tensor, low, span)
        return out

    def random(self, size: Any = None) -> Array:
        """Uniform in [0, 1), float64."""
        return self._draw(UNIFORM, FLOAT64, size)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Array:
        """Uniform in [low, high), float64."""
        made: Array = low + (high - low) * self.random(size)
        return made

    def standard_normal(self, size: Any = None) -> Array:
        """Normal with mean 0 and deviation 1, float64."""
        return self._draw(NORMAL, FLOAT64, size)

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Any = None) -> Array:
        """Normal with mean `loc` and deviation `scale`, float64. Raises ArrayValueError for a negative scale."""
        if scale < 0:
            raise ArrayValueError(f"normal(): a deviation of {scale} is negative")
        made: Array = loc + scale * self.standard_normal(size)
        return made

    def integers(self, low: int, high: int | None = None, size: Any = None, dtype: Any = "int64") -> Array:
        """Uniform in [low, high), or [0, low) where high is None.

        Raises ArrayValueError for an empty range, or one that the dtype does not hold.
        """
        if high is None:
            low, high = 0, low
        code = code_of(dtype)
        from walle_core.matrix.dtypes import iinfo

        limits = iinfo(TYPES[code])
        if not (limits.min <= low < high <= limits.max + 1) or high > 1 << 63:
            raise ArrayValueError(f"integers(): no range [{low}, {high}) in {TYPES[code].name}")
        made = self._draw(INTEGERS, INT64, size, low, (high - low) % (1 << 64))
        out: Array = _array.astype_core(made, code, False)
        return out

    def permutation(self, x: Any) -> Array:
        """The numbers below an integer, or an array's rows, in random order."""
        if isinstance(x, int):
            return self._draw(ORDER, INT64, x)
        x = _array.asarray_core(x, -1, None)
        if x.ndim == 0:
            raise ArrayValueError("permutation() takes an integer or an array with dimensions")
        taken: Array = _array.take_core(x, self._draw(ORDER, INT64, x.shape[0]), 0)
        return taken

    def shuffle(self, x: Array) -> None:
        """Puts an array's rows in random order, in place."""
        x[...] = self.permutation(x)

    def choice(self, a: Any, size: Any = None, replace: bool = True) -> Array:
        """Elements of `a`, or numbers below the integer `a`. Raises ArrayValueError if it has too few of them."""
        x = a if isinstance(a, int) else _array.asarray_core(a, -1, None)
        n = x if isinstance(x, int) else x.shape[0]
        if replace:
            at = self.integers(0, n, size)
        else:
            shape = () if size is None else (size,) if isinstance(size, int) else tuple(size)
            count = 1
            for part in shape:
                count *= part
            if count > n:
                raise ArrayValueError(f"choice(): {count} of {n} elements without replacement")
            at = _array.reshape_core(self.permutation(n)[:count], shape)
        taken: Array = at if isinstance(x, int) else _array.take_core(x, at, 0)
        return taken


_shared = Generator()
seed, uniform, normal, permutation, shuffle, choice = (
    _shared.seed, _shared.uniform, _shared.normal, _shared.permutation, _shared.shuffle, _shared.choice,
)  # fmt: skip
random = random_sample = _shared.random
standard_normal = _shared.standard_normal
randint = _shared.integers


def default_rng(seed: int | None = None) -> Generator:
    """A generator with a sequence of its own."""
    return Generator(seed)


def rand(*shape: int) -> Array:
    """Uniform in [0, 1), float64, of the given sizes."""
    return _shared.random(shape)


def randn(*shape: int) -> Array:
    """Standard normal, float64, of the given sizes."""
    return _shared.standard_normal(shape)


__all__ = [
    "Generator", "choice", "default_rng", "normal", "permutation", "rand", "randint", "randn", "random",
    "random_sample", "seed", "shuffle", "standard_normal", "uniform",
]  # fmt: skip
