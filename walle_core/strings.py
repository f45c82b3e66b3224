"""StringTensor: an array of strings for graphs, usable where NumPy cannot be imported."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any


class StringTensor:
    """Strings with a shape, row-major; the counterpart of a NumPy object array.

    Args:
        items: the strings in row-major order.
        shape: sizes; their product is the number of strings.

    Raises:
        ValueError: the count does not fit the shape.
    """

    dtype = "string"

    def __init__(self, items: Sequence[str], shape: Sequence[int]) -> None:
        self.items = list(items)
        self.shape = tuple(shape)
        if prod(self.shape) != len(self.items):
            raise ValueError(f"{len(self.items)} strings do not fill shape {self.shape}")

    @property
    def size(self) -> int:
        """Number of strings."""
        return len(self.items)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the strings in UTF-8."""
        return sum(len(item.encode()) for item in self.items)

    def reshape(self, *shape: Any) -> StringTensor:
        """The same strings with another shape; one size may be -1."""
        sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], (list, tuple)) else list(shape)
        if -1 in sizes:
            known = -prod(sizes)
            sizes[sizes.index(-1)] = len(self.items) // known if known else 0
        return StringTensor(self.items, sizes)

    def tolist(self) -> Any:
        """Nested lists of strings (a string for rank 0)."""

        def nest(start: int, axis: int) -> Any:
            if axis == len(self.shape):
                return self.items[start]
            step = prod(self.shape[axis + 1 :])
            return [nest(start + i * step, axis + 1) for i in range(self.shape[axis])]

        return nest(0, 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        made = np.empty(len(self.items), dtype=object)
        made[:] = self.items
        return made.reshape(self.shape)

    def __repr__(self) -> str:
        return f"StringTensor{list(self.shape)}"
