"""Comparisons and guarded buffers."""

from __future__ import annotations

from typing import Any

from walle_core._native import Tensor
from walle_core.backends.arrays import to_array
from walle_core.ops.numpy_lazy import np

GUARD = 64  # bytes on each side of a guarded array
ELEMENTWISE = frozenset({"unary", "binary", "select", "ternary"})  # families judged element by element


def assert_ulp(
    actual: Any, expected: Any, ulp: float, *, elementwise: bool = False, scale: float = 0.0, what: str = ""
) -> None:
    """Compares dtype, shape, NaN and infinity exactly, numbers within `ulp`.

    Args:
        actual: Tensor or array.
        expected: array.
        ulp: units in the last place of the dtype, plus half a unit for the rounding of the expected value itself.
        elementwise: True measures each element against itself, False against the largest finite expected one.
        scale: errors are measured against at least this; for results that are small by cancellation.
        what: starts the message.

    Raises:
        AssertionError: with the worst element.
    """
    got, want = np.asarray(to_array(actual)), np.asarray(expected)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    if want.dtype.kind == "O" or want.dtype.kind in "US":
        assert got.tolist() == want.tolist(), f"{what}: strings differ"
        return
    if want.dtype.kind in "biu":
        wrong = np.flatnonzero((got != want).reshape(-1))
        assert not wrong.size, _worst(what, got, want, wrong[0], f"{wrong.size} elements differ")
        return
    complex_ = want.dtype.kind == "c"
    eps, tiny = _precision(want.dtype)
    a, b = (v.astype(np.complex128 if complex_ else np.float64).reshape(-1) for v in (got, want))
    wrong = np.flatnonzero(np.isnan(a) != np.isnan(b))
    assert not wrong.size, _worst(what, got, want, wrong[0], "NaN on one side only")
    infinite = np.isinf(b)
    with np.errstate(invalid="ignore", over="ignore"):
        limits = np.isfinite(b)
        size = np.abs(b) if elementwise else np.full(b.shape, np.abs(b[limits]).max(initial=scale))
        tolerance = (ulp + 0.5) * eps * np.maximum(size, tiny)
        wrong = np.flatnonzero(infinite & (a != b))
        assert not wrong.size, _worst(what, got, want, wrong[0], "infinity expected")
        error = np.where(limits, np.abs(a - b), 0.0)
    over = np.flatnonzero(error > tolerance)
    if over.size:
        at = over[np.argmax(error[over] / np.maximum(tolerance[over], 1e-300))]
        units = error[at] / (eps * max(size[at], tiny))
        raise AssertionError(
            _worst(what, got, want, at, f"{units:.3g} ulp, allowed {ulp}; {over.size} elements")
        )


def _precision(dtype: Any) -> tuple[float, float]:
    try:
        info = np.finfo(dtype)
    except ValueError:  # bfloat16 and the 8-bit floats
        import ml_dtypes

        info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return float(info.eps), float(info.tiny)


def _worst(what: str, got: Any, want: Any, at: int, text: str) -> str:
    index = tuple(int(i) for i in np.unravel_index(at, want.shape)) if want.shape else ()
    return f"{what}: element {list(index)} is {got.reshape(-1)[at]!r}, expected {want.reshape(-1)[at]!r} ({text})"


def largest(values: Any) -> float:
    """The largest finite magnitude among float arrays; 0 if there is none."""
    floats = [np.abs(v[np.isfinite(v)]).max(initial=0) for v in values if v.dtype.kind == "f"]
    return float(max(floats, default=0.0))


class Guarded:
    """A copy of an array between guard bytes.

    Attributes:
        array: the copy; its memory starts at `misalign` bytes after a 64-byte boundary.
    """

    def __init__(self, value: Any, misalign: int = 0) -> None:
        self._raw = np.full(value.nbytes + 2 * GUARD + 64 + misalign, 0xA5, np.uint8)
        start = GUARD - (self._raw.ctypes.data % 64) % 64 + misalign
        start += 64 if start < GUARD else 0
        self._span = (start, start + value.nbytes)
        self.array = self._raw[start : start + value.nbytes].view(value.dtype).reshape(value.shape)
        self.array[...] = value
        self._value = value

    def tensor(self) -> Tensor:
        """A Tensor over the copy."""
        from walle_core.backends.arrays import to_tensor

        tensor: Tensor = to_tensor(self.array)
        return tensor

    def check(self, what: str) -> None:
        """Raises AssertionError if the guards or the array itself were written to."""
        low, high = self._span
        assert (self._raw[:low] == 0xA5).all(), f"{what}: wrote before an operand"
        assert (self._raw[high:] == 0xA5).all(), f"{what}: wrote behind an operand"
        assert self.array.tobytes() == self._value.tobytes(), f"{what}: changed an input"
