"""Mel scales and filter banks, logarithmic spectra and cepstral coefficients."""

from __future__ import annotations

import math
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.audio import _audio as kernels
from walle_core.audio.spectrum import magnitude, stft
from walle_core.errors import InputError

_LINEAR = 200 / 3  # Slaney's scale: Hz per mel below 1 kHz,
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_LOG_STEP = math.log(6.4) / 27  # and 27 mels per factor of 6.4 above (Auditory Toolbox, 1998)


def hz_to_mel(frequency: float, htk: bool = False) -> float:
    """Mels of a frequency: Slaney's scale, or HTK's 2595 · log10(1 + f / 700)."""
    if htk:
        return 2595 * math.log10(1 + frequency / 700)
    if frequency < _BREAK_HZ:
        return frequency / _LINEAR
    return _BREAK_MEL + math.log(frequency / _BREAK_HZ) / _LOG_STEP


def mel_to_hz(mel: float, htk: bool = False) -> float:
    """The frequency of a number of mels."""
    if htk:
        return 700 * (10 ** (mel / 2595) - 1)
    if mel < _BREAK_MEL:
        return mel * _LINEAR
    return _BREAK_HZ * math.exp(_LOG_STEP * (mel - _BREAK_MEL))


def mel_frequencies(
    n_mels: int = 128, fmin: float = 0.0, fmax: float = 11025.0, htk: bool = False
) -> list[float]:
    """Frequencies in Hz that are evenly spaced in mels, `fmin` and `fmax` among them."""
    low, high = hz_to_mel(fmin, htk), hz_to_mel(fmax, htk)
    return [mel_to_hz(low + (high - low) * i / max(n_mels - 1, 1), htk) for i in range(n_mels)]


def mel_filters(
    sr: float, n_fft: int, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None, htk: bool = False,
    norm: str | None = "slaney", triangles: str = "hz",
) -> Tensor:  # fmt: skip
    """Triangular filters: float32 n_mels × (1 + n_fft / 2).

    Args:
        sr: samples per second.
        n_fft: of the spectra that the filters are for.
        n_mels: filters; their corners are evenly spaced in mels.
        fmin, fmax: the lowest and highest corner in Hz; default: 0 to sr / 2.
        htk: HTK's mel scale instead of Slaney's.
        norm: "slaney" (each has an area of one) or None (each has a height of one).
        triangles: sides straight over "hz" (librosa) or over "mel" (HTK, Kaldi, TensorFlow).
    """
    top = sr / 2 if fmax is None else fmax
    if sr <= 0 or n_fft < 2 or n_mels < 1 or not 0 <= fmin < top:
        raise InputError(f"no filters for sr {sr}, n_fft {n_fft}, n_mels {n_mels}, fmin {fmin}, fmax {top}")
    if norm not in (None, "slaney") or triangles not in ("hz", "mel"):
        raise InputError(f"norm is {norm!r} (None or 'slaney'), triangles {triangles!r} ('hz' or 'mel')")
    corners = mel_frequencies(n_mels + 2, fmin, top, htk)

    def scale(f: float) -> float:
        return f if triangles == "hz" else hz_to_mel(f, htk)

    at = [scale(sr * k / n_fft) for k in range(n_fft // 2 + 1)]
    rows = []
    for i in range(n_mels):
        left, middle, right = (scale(f) for f in corners[i : i + 3])
        height = 2 / (corners[i + 2] - corners[i]) if norm else 1.0
        rows.append(
            [height * max(0.0, min((f - left) / (middle - left), (right - f) / (right - middle))) for f in at]
        )
    return Tensor.of(rows)


def mel_spectrogram(
    y: Any, sr: float, n_fft: int = 2048, hop_length: int | None = 512, win_length: int | None = None,
    window: str = "hann", center: bool = True, pad_mode: str = "constant", power: float = 2.0, align: str = "center",
    **filters: Any,
) -> Tensor:  # fmt: skip
    """A spectrum through mel filters: float32 n_mels × frames.

    Args:
        y: the signal.
        sr: samples per second.
        n_fft, hop_length, win_length, window, center, pad_mode, align: of `stft`.
        power: of the magnitudes; 2 is energy.
        filters: of `mel_filters`.
    """
    spectrum = stft(y, n_fft, hop_length, win_length, window, center, pad_mode, align)
    return kernels.product(mel_filters(sr, n_fft, **filters), magnitude(spectrum, power))


def _floats(x: Any, name: str) -> Tensor:
    given = x if isinstance(x, Tensor) else Tensor.wrap(x)
    if given.dtype != "float32" or given.ndim < 1:
        raise InputError(f"{name} is {given.dtype} {given.shape}; it must be a float32 array")
    return given


def power_to_db(s: Any, ref: float = 1.0, amin: float = 1e-10, top_db: float | None = 80.0) -> Tensor:
    """10 · log10(max(s, amin) / max(ref, amin)), and no less than `top_db` below its maximum. float32."""
    if amin <= 0 or (top_db is not None and top_db < 0):
        raise InputError(f"amin {amin} must be positive, top_db {top_db} not negative")
    shift = 10 * math.log10(max(amin, abs(ref)))
    return kernels.logarithms(
        _floats(s, "s"), 10 / math.log(10), amin, 0.0, shift, -1.0 if top_db is None else top_db
    )


def log_mel(y: Any, sr: float, offset: float = 1e-6, **settings: Any) -> Tensor:
    """log(mel spectrum + offset), natural: float32 n_mels × frames. `settings` are of `mel_spectrogram`."""
    if offset <= 0:
        raise InputError(f"offset is {offset}; it must be positive")
    return kernels.logarithms(mel_spectrogram(y, sr, **settings), 1.0, 0.0, offset, 0.0, -1.0)


def dct(x: Any, n: int, norm: str | None = "ortho") -> Tensor:
    """The first `n` coefficients of the discrete cosine transform II along the first axis: float32 n × frames.

    Args:
        x: float32 rows × frames.
        n: at most as many as x has rows.
        norm: "ortho"; "htk" (the same, without the factor of the first one: HTK, TensorFlow); None, twice the sum.
    """
    rows = _floats(x, "x")
    if rows.ndim != 2 or not 1 <= n <= rows.shape[0]:
        raise InputError(f"{n} coefficients of {rows.shape} are not possible")
    if norm not in ("ortho", "htk", None):
        raise InputError(f"norm is {norm!r}; it must be 'ortho', 'htk' or None")
    size = rows.shape[0]
    scale = 2.0 if norm is None else math.sqrt(2 / size)
    matrix = [
        [scale * math.cos(math.pi * k * (2 * i + 1) / (2 * size)) for i in range(size)] for k in range(n)
    ]
    if norm == "ortho":
        matrix[0] = [v / math.sqrt(2) for v in matrix[0]]
    return kernels.product(Tensor.of(matrix), rows)


def mfcc(
    y: Any = None, sr: float = 22050, n_mfcc: int = 20, norm: str | None = "ortho", lifter: float = 0.0, s: Any = None,
    **settings: Any,
) -> Tensor:  # fmt: skip
    """Mel-frequency cepstral coefficients: float32 n_mfcc × frames.

    Args:
        y: the signal; or None with `s`.
        sr: samples per second.
        n_mfcc: how many coefficients.
        norm: of `dct`.
        lifter: if positive, coefficient k is times 1 + lifter / 2 · sin(π (k + 1) / lifter).
        s: a logarithmic mel spectrum instead of a signal, as `log_mel` or `power_to_db` returns it.
        settings: of `mel_spectrogram`; its result goes through `power_to_db`.
    """
    if (y is None) == (s is None):
        raise InputError("give either a signal y or a logarithmic mel spectrum s")
    if lifter < 0:
        raise InputError(f"lifter is {lifter}; it must not be negative")
    found = dct(power_to_db(mel_spectrogram(y, sr, **settings)) if s is None else s, n_mfcc, norm)
    if lifter > 0:
        diagonal = [
            [1 + lifter / 2 * math.sin(math.pi * (k + 1) / lifter) if k == j else 0.0 for j in range(n_mfcc)]
            for k in range(n_mfcc)
        ]
        found = kernels.product(Tensor.of(diagonal), found)
    return found
