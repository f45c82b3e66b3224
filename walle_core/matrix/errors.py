"""What can be wrong with arrays; each is also the exception that Python and NumPy raise for it."""

from __future__ import annotations

from walle_core.errors import InputError


class ArrayValueError(InputError, ValueError):
    """A shape, axis or value that does not fit."""


class ArrayTypeError(InputError, TypeError):
    """A dtype or kind of argument that the function does not take."""


class ArrayIndexError(InputError, IndexError):
    """An index outside of the array, or too many of them."""


class ArrayOverflowError(InputError, OverflowError):
    """A Python integer that the array's dtype cannot hold."""
