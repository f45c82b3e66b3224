"""NumPy views of sliding windows, shared by the references of convolution and pooling."""

from __future__ import annotations

from typing import Any

from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import Window, first_perm, last_perm, text


def padded(x: Any, window: Window, fill: Any) -> Any:
    """`x` [N, C, spatial...] with the window's full pads around it, filled with one value."""
    pads, n = window.full_pads, len(window.spatial)
    if not any(pads):
        return x
    return np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)], constant_values=fill)


def windows_of(x: Any, window: Window, fill: Any = 0) -> Any:
    """Read-only view [N, C, kernel..., out...] of `x` [N, C, spatial...] after padding."""
    grown = padded(x, window, fill)
    strides = grown.strides
    return np.lib.stride_tricks.as_strided(
        grown,
        (*grown.shape[:2], *window.kernel, *window.out),
        (
            *strides[:2],
            *(s * d for s, d in zip(strides[2:], window.dilations, strict=True)),
            *(s * d for s, d in zip(strides[2:], window.strides, strict=True)),
        ),
        writeable=False,
    )


def channels_first(x: Any, layout: str | bytes) -> Any:
    """View of `x` in NCHW order."""
    return x if text(layout) == "NCHW" else np.transpose(x, first_perm(x.ndim))


def channels_stored(x: Any, layout: str | bytes) -> Any:
    """A value in NCHW order, put into `layout`."""
    return x if text(layout) == "NCHW" else np.ascontiguousarray(np.transpose(x, last_perm(x.ndim)))
