"""ConvTranspose: a convolution of the input with zeros between its elements and the filters reversed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import attrs

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import widened
from walle_core.ops.rules import Window, check_equal_dtypes, check_kinds, check_vector, rule, text
from walle_core.types import TensorSpec

Ints = Sequence[int] | None
_MODES = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@attrs.frozen
class Transposed:
    """Geometry of a transposed convolution.

    Attributes:
        kernel, strides, dilations: per spatial axis.
        begin: elements cropped from the start of the full result, negative where zeros are added.
        out: output sizes.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Kernel sizes including dilation."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def geometry(x: Sequence[int], w: Sequence[int], attributes: Any) -> Transposed:
    """Geometry for x [N, C, spatial...] and w [C, M/group, kernel...]. Raises ValueError on a misfit."""
    group, mode = int(attributes["group"]), text(attributes["auto_pad"]) or "NOTSET"
    if len(x) < 3 or len(w) != len(x):
        raise ValueError(f"input {tuple(x)} and weight {tuple(w)} must have one rank of at least 3")
    if group < 1 or x[1] != w[0] or w[0] % group:
        raise ValueError(
            f"{x[1]} input channels must be weight.shape[0] = {w[0]} and a multiple of group {group}"
        )
    if mode not in _MODES:
        raise ValueError(f"auto_pad {mode!r} must be one of {', '.join(_MODES)}")
    kernel, n = attributes["kernel_shape"], len(x) - 2
    if kernel and tuple(kernel) != tuple(w[2:]):
        raise ValueError(f"kernel_shape {tuple(kernel)} differs from the weight's {tuple(w[2:])}")
    # Checks and completes the attributes: on an input this large every kernel fits.
    pads = attributes["pads"] if mode == "NOTSET" and not attributes["output_shape"] else None
    full = Window.of([1 << 62] * n, w[2:], attributes["strides"], pads, attributes["dilations"])
    extra = tuple(attributes["output_padding"] or (0,) * n)
    if len(extra) != n or any(
        not 0 <= e < max(s, d) for e, s, d in zip(extra, full.strides, full.dilations, strict=True)
    ):
        raise ValueError(f"output_padding {extra} must have {n} entries, each below its stride or dilation")
    sizes = [full.strides[i] * (x[2 + i] - 1) + extra[i] + full.extent[i] for i in range(n)]
    wanted = tuple(attributes["output_shape"] or ())
    if not wanted and mode.startswith("SAME"):
        wanted = tuple(d * s for d, s in zip(x[2:], full.strides, strict=True))
    if wanted:
        wanted = wanted[-n:]
        totals = [full_size - out for full_size, out in zip(sizes, wanted, strict=True)]
        # A result larger than the full one grows at its end, as no padding can be negative at the start.
        begin = [max(t, 0) // 2 if mode == "SAME_UPPER" else max(t, 0) - max(t, 0) // 2 for t in totals]
        out = wanted
    else:
        begin = list(full.pads[:n])
        out = tuple(sizes[i] - full.pads[i] - full.pads[n + i] for i in range(n))
    if any(o < 1 for o in out) and 0 not in x:
        raise ValueError(f"output sizes would be {out}; reduce the pads")
    return Transposed(full.kernel, full.strides, full.dilations, tuple(begin), out)


@rule
def _infer(ctx: OpContext) -> list[TensorSpec]:
    check_kinds(ctx, "f", 0)
    x, w = ctx.shape(0), ctx.shape(1)
    found = geometry(x, w, ctx.attrs)
    channels = w[1] * ctx.attrs["group"]
    check_vector(ctx, 2, channels, "bias")
    return [TensorSpec(check_equal_dtypes(ctx, 0, 1, 2), (x[0], channels, *found.out))]


@widened
def conv_transpose(
    x: Any, w: Any, b: Any = None, *, kernel_shape: Ints = None, strides: Ints = None, pads: Ints = None,
    dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET", output_padding: Ints = None,
    output_shape: Ints = None,
) -> Any:  # fmt: skip
    """Adds every input element, times the filters, onto the result; returns [N, M, out...]."""
    found = geometry(x.shape, w.shape, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
        "auto_pad": auto_pad, "output_padding": output_padding, "output_shape": output_shape,
    })  # fmt: skip
    n, channels, spatial = x.shape[0], x.shape[1], x.shape[2:]
    each = w.shape[1]
    filters = np.swapaxes(w.reshape(group, channels // group, each * prod(found.kernel)), 1, 2)
    columns = np.matmul(filters, x.reshape(n, group, channels // group, prod(spatial)))
    columns = columns.reshape(n, group * each, *found.kernel, *spatial)
    sizes = [
        max(s * (d - 1) + k, begin + out)
        for s, d, k, begin, out in zip(
            found.strides, spatial, found.extent, found.begin, found.out, strict=True
        )
    ]
    full = np.zeros((n, group * each, *sizes), x.dtype)
    for tap in np.ndindex(*found.kernel):
        at = [
            slice(t * d, t * d + s * (size - 1) + 1, s)
            for t, d, s, size in zip(tap, found.dilations, found.strides, spatial, strict=True)
        ]
        full[(slice(None), slice(None), *at)] += columns[(slice(None), slice(None), *tap)]
    crop = [slice(begin, begin + out) for begin, out in zip(found.begin, found.out, strict=True)]
    y = full[(slice(None), slice(None), *crop)]
    return y if b is None else y + b.reshape(-1, *[1] * len(spatial))


def _products(ctx: OpContext, _outs: Sequence[TensorSpec]) -> float:
    return 2.0 * prod(ctx.shape(0)) * prod(ctx.shape(1)[1:])


@composite(
    "ConvTranspose", "convolution", reference=conv_transpose, infer=_infer, flops=_products, ulp=64, domain=(-1, 1),
    samples=(
        Sample(((1, 2, 5), (2, 3, 3), (3,))),
        Sample(((1, 4, 3, 4), (4, 2, 3, 3)), {"strides": (2, 2), "pads": (1, 1, 1, 1), "output_padding": (1, 1)}),
        Sample(((2, 4, 3, 4), (4, 2, 2, 2), (4,)), {"strides": (2, 2), "group": 2}),
        Sample(((1, 2, 3, 3), (2, 2, 3, 3)), {"strides": (3, 2), "output_shape": (10, 8)}),
        Sample(((1, 2, 3, 3), (2, 2, 3, 3)), {"strides": (2, 2), "auto_pad": "SAME_UPPER"}),
        Sample(((1, 2, 3, 3), (2, 2, 2, 2)), {"dilations": (2, 2)}),
    ),
)  # fmt: skip
def conv_transpose_graph(
    g: Any, x: str, w: str, b: str | None = None, *, kernel_shape: Ints = None, strides: Ints = None,
    pads: Ints = None, dilations: Ints = None, group: int = 1, auto_pad: str = "NOTSET",
    output_padding: Ints = None, output_shape: Ints = None,
) -> Any:  # fmt: skip
    """Transposed convolution (gradient of Conv) of [N, C, spatial...] with filters [C, M/group, kernel...]."""
    sizes, filters = g.shape(x), g.shape(w)
    found = geometry(sizes, filters, {
        "kernel_shape": kernel_shape, "strides": strides, "pads": pads, "dilations": dilations, "group": group,
        "auto_pad": auto_pad, "output_padding": output_padding, "output_shape": output_shape,
    })  # fmt: skip
    n, spatial = len(found.out), sizes[2:]
    spread = _spread(g, x, sizes, found.strides)
    lengths = [s * (d - 1) + 1 for s, d in zip(found.strides, spatial, strict=True)]
    before = [e - 1 - b for e, b in zip(found.extent, found.begin, strict=True)]
    after = [found.out[i] + found.extent[i] - 1 - before[i] - lengths[i] for i in range(n)]
    around = [(before, after)]
    if any(d + min(b, 0) + min(a, 0) < 0 for d, b, a in zip(lengths, before, after, strict=True)):
        around = [
            ([f(v, 0) for v in before], [f(v, 0) for v in after]) for f in (max, min)
        ]  # grow before the cut
    for start, end in around:
        if any((*start, *end)):
            spread = g.Pad(spread, g.const([0, 0, *start, 0, 0, *end], "int64"))
    channels, each = filters[0] // group, filters[1]
    kernel = _reversed(g, w, n)
    kernel = g.Transpose(reshape(g, kernel, group, channels, each, prod(found.kernel)), perm=(0, 2, 1, 3))
    kernel = reshape(g, kernel, group * each, channels, *found.kernel)
    return g.Conv(spread, kernel, b, dilations=found.dilations, group=group)


def _spread(g: Any, x: str, sizes: Sequence[int], strides: Sequence[int]) -> str:
    """X [N, C, spatial...] with stride - 1 zeros after each element but the last."""
    if all(s == 1 for s in strides):
        return x
    split = [v for d in sizes[2:] for v in (d, 1)]
    grown = g.Pad(
        reshape(g, x, sizes[0], sizes[1], *split),
        g.const([0] * (2 + len(split)) + [0, 0] + [v for s in strides for v in (0, s - 1)], "int64"),
    )
    joined = reshape(g, grown, sizes[0], sizes[1], *(d * s for d, s in zip(sizes[2:], strides, strict=True)))
    crop = [s - 1 for s in strides]
    return str(g.Pad(joined, g.const([0] * (2 + len(crop)) + [0, 0] + [-c for c in crop], "int64")))


def _reversed(g: Any, w: str, n: int) -> str:
    """Filters with the last n axes reversed."""
    low = -(1 << 31)
    ints = [[-1] * n, [low] * n, list(range(2, 2 + n)), [-1] * n]
    return str(g.Slice(w, *(g.const(v, "int64") for v in ints)))
