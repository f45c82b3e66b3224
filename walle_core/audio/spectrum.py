"""Frames, windows, short-time Fourier transforms and changes of the sampling rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.audio import _audio as kernels
from walle_core.errors import InputError

MAX_FFT = 1 << 24
MAX_RATE_RATIO = 1 << 20
_PADDING = {"constant": 0, "reflect": 1, "edge": 2}
_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08), "ones": (1.0,)}


def as_signal(y: Any, name: str = "y") -> Tensor:
    """A signal as float32 of one dimension; other floats and lists are converted.

    Raises:
        InputError: another rank, integers (their full scale is not known), or no samples.
    """
    given = Tensor.of([float(v) for v in y]) if isinstance(y, (list, tuple)) else y
    signal = given if isinstance(given, Tensor) else Tensor.wrap(given)
    if signal.dtype == "float64":
        signal = Tensor.of(signal, "float32")
    if signal.dtype != "float32" or signal.ndim != 1 or not signal.size:
        raise InputError(
            f"{name} is {signal.dtype} {signal.shape}; a signal is float32 of one dimension, not empty"
        )
    return signal


def window(kind: str | Sequence[float] | Tensor, length: int, periodic: bool = True) -> Tensor:
    """A window of `length`: "hann", "hamming", "blackman", "ones", or the numbers themselves. float32.

    Args:
        kind: name or numbers.
        length: how many.
        periodic: for spectra; False makes it symmetric, as for filters.
    """
    if not isinstance(kind, str):
        given = as_signal(kind, "window")
        if given.size != length:
            raise InputError(f"window has {given.size} numbers; win_length is {length}")
        return given
    if kind not in _COSINES:
        raise InputError(f"window {kind!r} is not known; use {', '.join(_COSINES)} or give numbers")
    if not 1 <= length <= MAX_FFT:
        raise InputError(f"a window of {length} samples is not possible; use 1 to {MAX_FFT}")
    period = length if periodic else max(length - 1, 1)
    if length == 1:
        return Tensor.of([1.0])
    terms = _COSINES[kind]
    return Tensor.of(
        [
            sum((-1) ** k * a * math.cos(2 * math.pi * k * i / period) for k, a in enumerate(terms))
            for i in range(length)
        ]
    )


make_window = window  # where an argument has the name


def frame(y: Any, frame_length: int, hop_length: int) -> Tensor:
    """Overlapping pieces of a signal: float32 frames × frame_length. What is left at the end is dropped."""
    signal = as_signal(y)
    if frame_length < 1 or hop_length < 1 or frame_length > signal.size:
        raise InputError(f"frames of {frame_length} every {hop_length} do not fit {signal.size} samples")
    count = 1 + (signal.size - frame_length) // hop_length
    data = signal.tobytes()
    pieces = [data[4 * hop_length * i : 4 * (hop_length * i + frame_length)] for i in range(count)]
    return Tensor.wrap(b"".join(pieces), "float32", (count, frame_length)).copy()


def _layout(n_fft: int, hop_length: int | None, win_length: int | None) -> tuple[int, int]:
    if not 2 <= n_fft <= MAX_FFT:
        raise InputError(f"n_fft is {n_fft}; it must be 2 to {MAX_FFT}")
    length = n_fft if win_length is None else win_length
    hop = length // 4 if hop_length is None else hop_length
    if not 1 <= length <= n_fft or hop < 1:
        raise InputError(f"win_length {length} must be 1 to n_fft ({n_fft}), hop_length {hop} at least 1")
    return length, hop


def _placed(made: Tensor, n_fft: int, align: str) -> Tensor:
    """The window with zeros around, or behind, up to n_fft."""
    if align not in ("center", "left"):
        raise InputError(f"align is {align!r}; it must be 'center' or 'left'")
    before = (n_fft - made.size) // 2 if align == "center" else 0
    data = bytes(4 * before) + made.tobytes()
    return Tensor.wrap(data + bytes(4 * n_fft - len(data)), "float32", (n_fft,))


def stft(
    y: Any, n_fft: int = 2048, hop_length: int | None = None, win_length: int | None = None,
    window: str | Sequence[float] | Tensor = "hann", center: bool = True, pad_mode: str = "constant", align: str = "center",
) -> Tensor:  # fmt: skip
    """The short-time Fourier transform: complex64 (1 + n_fft / 2) × frames.

    Args:
        y: the signal.
        n_fft: samples per transform, any number.
        hop_length: samples from frame to frame; default: a quarter of win_length.
        win_length: samples under the window, at most n_fft (default), the rest are zeros.
        window: see `window`.
        center: whether frame t is around sample t · hop_length (with padding), or begins there.
        pad_mode: what is beyond the ends when centred: "constant" (zeros), "reflect" or "edge".
        align: where a window shorter than n_fft is: "center" (librosa), or "left" (TensorFlow, Kaldi): frames then begin at
            multiples of the hop and only win_length samples of each must be there.

    Raises:
        InputError: a signal shorter than one frame, lengths that do not fit, an unknown window or padding.
    """
    signal = as_signal(y)
    length, hop = _layout(n_fft, hop_length, win_length)
    if pad_mode not in _PADDING:
        raise InputError(f"pad_mode is {pad_mode!r}; it must be one of {', '.join(_PADDING)}")
    shape = _placed(make_window(window, length), n_fft, align)
    needed = length if align == "left" else n_fft
    padding = n_fft // 2 if center else 0
    total = signal.size + 2 * padding
    if total < needed or (pad_mode == "reflect" and center and padding >= signal.size):
        raise InputError(f"{signal.size} samples are too few for frames of {needed}; use a smaller n_fft")
    frames = 1 + (total - needed) // hop
    return kernels.stft(signal, shape, hop, -padding, frames, _PADDING[pad_mode])


def istft(
    spectrum: Any, hop_length: int | None = None, win_length: int | None = None, n_fft: int | None = None,
    window: str | Sequence[float] | Tensor = "hann", center: bool = True, length: int | None = None,
) -> Tensor:  # fmt: skip
    """The signal whose `stft` is nearest to `spectrum` (Griffin and Lim, 1984).

    Args:
        spectrum: complex64 (1 + n_fft / 2) × frames.
        hop_length, win_length, window, center: as `stft` had them.
        n_fft: needed if it was odd.
        length: samples to return; default: what the frames cover.
    """
    bins = spectrum if isinstance(spectrum, Tensor) else Tensor.wrap(spectrum)
    if bins.dtype != "complex64" or bins.ndim != 2 or not bins.size:
        raise InputError(f"spectrum is {bins.dtype} {bins.shape}; it must be complex64 bins x frames")
    size = 2 * (bins.shape[0] - 1) if n_fft is None else n_fft
    if size // 2 + 1 != bins.shape[0]:
        raise InputError(f"spectrum has {bins.shape[0]} bins; n_fft {size} needs {size // 2 + 1}")
    win, hop = _layout(size, hop_length, win_length)
    made = kernels.istft(bins, _placed(make_window(window, win), size, "center"), hop)
    begin = size // 2 if center else 0
    end = made.size - begin if length is None else begin + length
    data = made.tobytes()[4 * begin : 4 * end]
    return Tensor.wrap(data + bytes(4 * (end - begin) - len(data)), "float32", (max(end - begin, 0),)).copy()


def magnitude(spectrum: Any, power: float = 1.0) -> Tensor:
    """|spectrum| to a power: float32."""
    bins = spectrum if isinstance(spectrum, Tensor) else Tensor.wrap(spectrum)
    if bins.dtype != "complex64":
        raise InputError(f"spectrum is {bins.dtype}; it must be complex64")
    return kernels.magnitudes(bins, power)


def resample(y: Any, orig_sr: int, target_sr: int) -> Tensor:
    """A signal at another sampling rate: ceil(n · target_sr / orig_sr) samples.

    Polyphase filter of a sinc under a Kaiser window (beta 5, 10 zero crossings a side), as scipy.signal.resample_poly.
    """
    signal = as_signal(y)
    if not (isinstance(orig_sr, int) and isinstance(target_sr, int) and orig_sr > 0 and target_sr > 0):
        raise InputError(f"sampling rates {orig_sr} and {target_sr} must be positive integers")
    common = math.gcd(orig_sr, target_sr)
    up, down = target_sr // common, orig_sr // common
    if max(up, down) > MAX_RATE_RATIO:
        raise InputError(f"rates {orig_sr} and {target_sr} have no common factor; choose rates that do")
    return signal.copy() if up == down else kernels.resample(signal, up, down)
