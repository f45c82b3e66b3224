"""Signal processing: window functions, mel filter banks, Fourier transforms. Complex values have a last axis of (re, im)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from walle_core.ops.define import OpContext, Sample, composite
from walle_core.ops.element_types import element_type
from walle_core.ops.fourier import dft_graph, dft_length, transform
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.precision import np_dtype, widened
from walle_core.ops.rules import check_kinds, normal_axis, require, rule
from walle_core.types import TensorSpec

MAX_SIZE = 1 << 24  # elements of a window or filter bank; a longer one comes from a malformed model


def _scalar(value: Any, what: str) -> int:
    require(value.size == 1, f"{what} must be a scalar")
    return int(value.reshape(()))


def _constant(g: Any, name: str) -> float:
    """Value of a constant scalar. Raises ShapeError if it is not constant."""
    require(name in g.constants, f"{name!r} must be constant here")
    return float(g.constants[name].reshape(-1).tolist()[0])


# Windows: sums of cosines a0 - a1 cos(2 pi k / n) + a2 cos(4 pi k / n) (Harris 1978, doi:10.1109/PROC.1978.10837).
WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}


def window(coefficients: Sequence[float], size: int, periodic: Any) -> list[float]:
    """The first `size` samples; a periodic window is a symmetric one that is one sample longer."""
    require(0 <= size <= MAX_SIZE, f"size {size} must be in [0, {MAX_SIZE}]")
    span = size if periodic else size - 1
    a0, a1, a2 = coefficients
    angles = [2 * math.pi * k / span if span else 0.0 for k in range(size)]
    if size == 1:
        return [1.0]
    return [a0 - a1 * math.cos(t) + a2 * math.cos(2 * t) for t in angles]


@rule
def _infer_window(ctx: OpContext) -> Sequence[TensorSpec] | None:
    check_kinds(ctx, "iu", 0)
    size = ctx.ints(0)
    if size is None:
        return None
    require(len(size) == 1 and 0 <= size[0] <= MAX_SIZE, f"size {size} must be a scalar in [0, {MAX_SIZE}]")
    return [TensorSpec(element_type(ctx.attrs["output_datatype"]), (size[0],))]


def _define_window(name: str, doc: str) -> None:
    coefficients = WINDOWS[name]

    def reference(size: Any, *, output_datatype: int = 1, periodic: int = 1) -> Any:
        values = window(coefficients, _scalar(size, "size"), periodic)
        return np.array(values, np.float64).astype(np_dtype(element_type(output_datatype).name))

    def decompose(g: Any, size: str, *, output_datatype: int = 1, periodic: int = 1) -> Any:
        values = g.const(window(coefficients, int(_constant(g, size)), periodic), "float32")
        return g.Cast(values, to=output_datatype)

    decompose.__doc__ = doc
    composite(
        name, "signal", reference=reference, infer=_infer_window, doc=doc, ulp=4, dtypes=("int64",),
        samples=tuple(Sample((10,), {"periodic": p}, ("int64",)) for p in (0, 1)),
    )(decompose)  # fmt: skip


_define_window("HannWindow", "Raised-cosine window of a given length.")
_define_window("HammingWindow", "Raised-cosine window on a pedestal, of a given length.")
_define_window("BlackmanWindow", "Three-term cosine window of a given length.")


def mel_weights(bins: int, length: int, rate: int, low: float, high: float) -> list[list[float]]:
    """Triangular filters [length // 2 + 1, bins] between edges that are equidistant on mel(f) = 2595 log10(1 + f / 700)."""
    rows = length // 2 + 1
    require(
        bins >= 0 and length >= 0 and rate > 0,
        f"{bins} bins, DFT length {length}, sample rate {rate} do not fit",
    )
    require(rows * bins <= MAX_SIZE, f"a filter bank of {rows} x {bins} is too large")
    first, last = (2595 * math.log10(1 + f / 700) for f in (low, high))
    step = (last - first) / (
        bins + 2
    )  # the standard's own tests divide by the edges, not by the gaps between them
    edges = [first + i * step for i in range(bins + 2)]
    at = [int((length + 1) * (700 * (10 ** (m / 2595) - 1)) / rate) for m in edges]
    table = [[0.0] * bins for _ in range(rows)]
    for i in range(bins):
        low_bin, centre, high_bin = at[i : i + 3]
        if low_bin == centre:
            if centre < rows:
                table[centre][i] = 1.0
        else:
            for j in range(low_bin, min(centre + 1, rows)):
                table[j][i] = (j - low_bin) / (centre - low_bin)
        for j in range(centre, min(high_bin, rows)):
            if high_bin > centre:
                table[j][i] = (high_bin - j) / (high_bin - centre)
    return table


@rule
def _infer_mel(ctx: OpContext) -> Sequence[TensorSpec] | None:
    bins, length = ctx.ints(0), ctx.ints(1)
    if bins is None or length is None:
        return None
    require(bins[0] >= 0 and length[0] >= 0, f"{bins[0]} bins of a DFT of length {length[0]}")
    return [TensorSpec(element_type(ctx.attrs["output_datatype"]), (length[0] // 2 + 1, bins[0]))]


def _mel_reference(
    num_mel_bins: Any, dft_length: Any, sample_rate: Any, lower_edge_hertz: Any, upper_edge_hertz: Any, *,
    output_datatype: int = 1,
) -> Any:  # fmt: skip
    bins, length, rate = (_scalar(v, "the size") for v in (num_mel_bins, dft_length, sample_rate))
    table = mel_weights(
        bins, length, rate, float(lower_edge_hertz.reshape(())), float(upper_edge_hertz.reshape(()))
    )
    made = np.array(table, np.float64).reshape(length // 2 + 1, bins)
    return made.astype(np_dtype(element_type(output_datatype).name))


@composite(
    "MelWeightMatrix", "signal", reference=_mel_reference, infer=_infer_mel, ulp=16, dtypes=("int64",),
    samples=(Sample((8, 16, 8192, 0.0, 4096.0), {}, ("int64", "int64", "int64", "float32", "float32")),),
)  # fmt: skip
def mel_weight_matrix(
    g: Any, num_mel_bins: str, dft_length: str, sample_rate: str, lower_edge_hertz: str, upper_edge_hertz: str, *,
    output_datatype: int = 1,
) -> Any:  # fmt: skip
    """Matrix that sums a spectrum's bins into bands of equal width on the mel scale."""
    values = [
        _constant(g, v) for v in (num_mel_bins, dft_length, sample_rate, lower_edge_hertz, upper_edge_hertz)
    ]
    bins, length, rate = (int(v) for v in values[:3])
    table = mel_weights(bins, length, rate, values[3], values[4])
    flat = g.const(array("f", [v for row in table for v in row]), "float32")
    return g.Cast(reshape(g, flat, length // 2 + 1, bins), to=output_datatype)


def _last_axis(shape: Sequence[int]) -> bool:
    """Whether values are complex. Raises ValueError unless the last axis holds 1 or 2 numbers."""
    require(
        len(shape) >= 2 and shape[-1] in (1, 2),
        f"the last axis of {tuple(shape)} must hold 1 (real) or 2 numbers",
    )
    return shape[-1] == 2


def _dft_axis(axis: int, rank: int) -> int:
    found = normal_axis(axis, rank)
    require(found < rank - 1, f"axis {axis} is the one that holds real and imaginary parts")
    return found


@rule
def _infer_dft(ctx: OpContext) -> Sequence[TensorSpec] | None:
    check_kinds(ctx, "f", 0)
    shape = list(ctx.shape(0))
    is_complex = _last_axis(shape)
    if (ctx.has(1) and not ctx.constant(1)) or (ctx.has(2) and not ctx.constant(2)):
        return None
    axis = _dft_axis((ctx.ints(2) or [-2])[0], len(shape))
    one, inverse = bool(ctx.attrs["onesided"]), bool(ctx.attrs["inverse"])
    n = dft_length(shape[axis], next(iter(ctx.ints(1) or ()), None), one and inverse)
    require(not (one and is_complex and not inverse), "a complex signal has no one-sided transform")
    shape[axis] = n // 2 + 1 if one and not inverse else n
    shape[-1] = 1 if one and inverse else 2
    return [TensorSpec(ctx.dtype(0), tuple(shape))]


@widened
def dft(input: Any, dft_length: Any = None, axis: Any = None, *, inverse: int = 0, onesided: int = 0) -> Any:
    """Discrete Fourier transform along an axis, or its inverse."""
    _last_axis(input.shape)
    at = _dft_axis(-2 if axis is None else _scalar(axis, "axis"), input.ndim)
    n = None if dft_length is None else _scalar(dft_length, "dft_length")
    return transform(input, n, at, bool(inverse), bool(onesided))


def _dft_flops(ctx: OpContext, outs: Sequence[TensorSpec]) -> float:
    return 5.0 * outs[0].size * max(1.0, math.log2(max(2, max(ctx.shape(0)))))


@composite(
    "DFT", "signal", reference=dft, infer=_infer_dft, flops=_dft_flops, ulp=1024, domain=(-1, 1),
    dtypes=("float32", "float64"),
    samples=(
        Sample(((1, 10, 10, 1), None, 1), {}, ("float32", "int64", "int64")),
        Sample(((2, 15, 2), 20), {}, ("float32", "int64")), Sample(((2, 12, 2),), {"inverse": 1}),
        Sample(((2, 9, 1),), {"onesided": 1}), Sample(((2, 7, 2),), {"onesided": 1, "inverse": 1}),
        Sample(((1, 720, 1),)),
    ),
)  # fmt: skip
def _dft_decompose(
    g: Any,
    input: str,
    dft_length: str | None = None,
    axis: str | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Any:
    """Discrete Fourier transform along an axis, or its inverse."""
    shape = g.shape(input)
    at = _dft_axis(g.ints(axis)[0] if axis else -2, len(shape))
    n = g.ints(dft_length)[0] if dft_length else None
    return dft_graph(g, input, n, at, bool(inverse), bool(onesided))


def _frames(
    signal: Sequence[int], step: int, length: int | None, win: Sequence[int] | None
) -> tuple[int, int]:
    """Number of frames and their length."""
    require(
        len(signal) in (2, 3),
        f"signal must be [batch, length] or [batch, length, 1 or 2], not {tuple(signal)}",
    )
    require(win is None or len(win) == 1, "the window must have rank 1")
    size = length if length is not None else win[0] if win is not None else signal[1]
    require(win is None or win[0] == size, f"window of {win} samples for frames of {size}")
    require(
        step > 0 and 0 < size <= signal[1],
        f"frames of {size} every {step} do not fit a signal of {signal[1]}",
    )
    return (signal[1] - size) // step + 1, size


@rule
def _infer_stft(ctx: OpContext) -> Sequence[TensorSpec] | None:
    check_kinds(ctx, "f", 0, 2)
    step = ctx.ints(1)
    if step is None or (ctx.has(3) and not ctx.constant(3)):
        return None
    shape = ctx.shape(0)
    count, size = _frames(
        shape, step[0], next(iter(ctx.ints(3) or ()), None), ctx.shape(2) if ctx.has(2) else None
    )
    one = ctx.attrs["onesided"] and not (len(shape) == 3 and shape[2] == 2)
    return [TensorSpec(ctx.dtype(0), (shape[0], count, size // 2 + 1 if one else size, 2))]


@widened
def stft(
    signal: Any, frame_step: Any, window: Any = None, frame_length: Any = None, *, onesided: int = 1
) -> Any:
    """Discrete Fourier transforms of windowed frames: [batch, frames, bins, 2]."""
    step = _scalar(frame_step, "frame_step")
    length = None if frame_length is None else _scalar(frame_length, "frame_length")
    count, size = _frames(signal.shape, step, length, None if window is None else window.shape)
    x = signal[..., None] if signal.ndim == 2 else signal
    taken = x[:, np.arange(count)[:, None] * step + np.arange(size)]
    if window is not None:
        taken = taken * window[:, None]
    return transform(taken, None, 2, False, bool(onesided) and x.shape[2] == 1).astype(signal.dtype)


@composite(
    "STFT", "signal", reference=stft, infer=_infer_stft, ulp=1024, domain=(-1, 1),
    samples=(
        Sample(((1, 128, 1), 8, None, 16), {}, ("float32", "int64", "float32", "int64")),
        Sample(((2, 50), 7, (12,)), {"onesided": 0}, ("float32", "int64", "float32")),
        Sample(((2, 40, 2), 5, (10,)), {"onesided": 0}, ("float32", "int64", "float32")),
    ),
)  # fmt: skip
def _stft_decompose(
    g: Any, signal: str, frame_step: str, window: str | None = None, frame_length: str | None = None, *,
    onesided: int = 1,
) -> Any:  # fmt: skip
    """Discrete Fourier transforms of windowed frames: [batch, frames, bins, 2]."""
    shape = g.shape(signal)
    step, length = g.ints(frame_step)[0], g.ints(frame_length)[0] if frame_length else None
    count, size = _frames(shape, step, length, g.shape(window) if window else None)
    parts = shape[2] if len(shape) == 3 else 1
    index = g.const([[i * step + j for j in range(size)] for i in range(count)], "int64")
    taken = g.Gather(reshape(g, signal, shape[0], shape[1], parts), index, axis=1)
    if window:
        taken = g.Mul(taken, reshape(g, window, size, 1))
    return dft_graph(g, taken, None, 2, False, bool(onesided) and parts == 1)
