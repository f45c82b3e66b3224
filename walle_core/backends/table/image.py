"""What the channels-last image kernels (winograd, depthwise, pool) share: a node's geometry in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import attrs

from walle_core.graph.ir import Node
from walle_core.ops import convolution, find, pooling
from walle_core.ops.rules import Window, text, to_channels_first
from walle_core.types import TensorSpec

GRAIN_BYTES = 1 << 13  # results smaller than this are not worth another thread


@attrs.frozen
class Image:
    """A sliding-window node on [n, h, w, c] values; a one-dimensional one has h = 1.

    Attributes:
        n, c, k: images, input channels, output channels.
        size, out, kernel, strides, dilations: (height, width) of input and output, and of the window.
        pads: top, left, bottom, right, as stated (ceil_mode may read beyond them).
    """

    n: int
    c: int
    k: int
    size: tuple[int, int]
    out: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def taps(self) -> int:
        """Positions of the window."""
        return prod(self.kernel)

    @property
    def pixels(self) -> int:
        """Output pixels of all images."""
        return self.n * prod(self.out)

    @property
    def grain(self) -> int:
        """Output rows that are worth a thread."""
        return max(1, GRAIN_BYTES // max(1, 4 * self.out[1] * self.k))

    def args(self) -> list[int]:
        """n, h, w, c, oh, ow, kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left."""
        shape = [self.n, *self.size, self.c, *self.out]
        return [*shape, *self.kernel, *self.strides, *self.dilations, *self.pads[:2]]


def _plane(values: tuple[int, ...], first: int) -> tuple[int, int]:
    return (values[0], values[1]) if len(values) == 2 else (first, values[0])


def _image(shape: tuple[int, ...], k: int, window: Window) -> Image:
    pads, n = window.pads, len(window.spatial)
    top, bottom = (pads[0], pads[n]) if n == 2 else (0, 0)
    return Image(
        shape[0], shape[1], k, _plane(window.spatial, 1), _plane(window.out, 1), _plane(window.kernel, 1),
        _plane(window.strides, 1), _plane(window.dilations, 1), (top, pads[n - 1], bottom, pads[-1]),
    )  # fmt: skip


BYTES = ("int8", "uint8")
FLOATS = ("float32",)


def channels_last(
    node: Node, specs: Mapping[str, TensorSpec], dtypes: Sequence[str] = FLOATS
) -> tuple[int, ...] | None:
    """Sizes [n, c, spatial...] of the node's input if it is of these dtypes, channels-last and not empty; else None."""
    spec = specs[node.inputs[0]]
    if text(node.attrs.get("layout", "NCHW")) != "NHWC" or spec.dtype.name not in dtypes or spec.size == 0:
        return None
    out = specs[node.outputs[0]]
    return to_channels_first(spec.sizes, "NHWC") if out.size else None


def conv_image(node: Node, specs: Mapping[str, TensorSpec], dtypes: Sequence[str] = FLOATS) -> Image | None:
    """Geometry of a convolution over one or two spatial axes; None if it is laid out or typed differently."""
    shape, op = channels_last(node, specs, dtypes), find(node.op)
    if shape is None or op is None or len(shape) not in (3, 4):
        return None
    filters = specs[node.inputs[1]].sizes
    window = convolution.geometry(shape, filters, op.bind(node.attrs))
    return _image(shape, filters[0], window)


def pool_image(node: Node, specs: Mapping[str, TensorSpec], dtypes: Sequence[str] = FLOATS) -> Image | None:
    """Geometry of a MaxPool or AveragePool over one or two spatial axes; None if it is laid out or typed differently."""
    shape, op = channels_last(node, specs, dtypes), find(node.op)
    if shape is None or op is None or len(shape) not in (3, 4):
        return None
    attributes: dict[str, Any] = {"dilations": None, **op.bind(node.attrs)}
    return _image(shape, shape[1], pooling.geometry(shape, attributes))


def optional(node: Node, index: int) -> str:
    """Name of an optional input, ``""`` if absent."""
    return node.inputs[index] if len(node.inputs) > index else ""


def epilogue_fits(node: Node, specs: Mapping[str, TensorSpec]) -> bool:
    """True if bias and residual are what an epilogue adds: a vector, and a value of the result's own shape."""
    residual = optional(node, 3)
    return not residual or specs[residual] == specs[node.outputs[0]]
