"""NumPy's names beyond the array API standard, from the modules that define them."""

from __future__ import annotations

from walle_core.matrix import (
    numpy_creation, numpy_logic, numpy_math, numpy_shapes, numpy_signal, numpy_statistics,
)  # fmt: skip

_HELPERS = {"axis_of", "code_of", "floating", "given", "positions_int64"}  # of numpy_given and other modules
_FOUND = {
    name: value
    for module in (numpy_creation, numpy_logic, numpy_math, numpy_shapes, numpy_signal, numpy_statistics)
    for name, value in vars(module).items()
    if callable(value)
    and str(getattr(value, "__module__", "")).startswith("walle_core.matrix.")
    and value.__module__ != "walle_core.matrix.sorting"
    and not isinstance(value, type)
    and name[0] != "_"
    and name not in _HELPERS
}
__all__ = sorted(_FOUND)  # noqa: PLE0605 - the names are those that the modules have
globals().update(_FOUND)
