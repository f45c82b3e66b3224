"""WAV files, through the standard library."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import IO, Any

from walle_core._native.tensor import Tensor
from walle_core.audio import _audio as kernels
from walle_core.audio.spectrum import as_signal
from walle_core.errors import InputError


def read_wav(source: str | Path | IO[bytes], mono: bool = True) -> tuple[Tensor, int]:
    """(samples, samples per second) of a WAV file of integers (PCM, 8, 16, 24 or 32 bits).

    Args:
        source: path or open file.
        mono: the mean of all channels, float32 of one dimension in [-1, 1); False: channels × samples.

    Raises:
        InputError: no WAV file, a broken one, or samples that are not integers.
    """
    where = str(source) if isinstance(source, (str, Path)) else "the WAV file"
    try:
        with wave.open(str(source) if isinstance(source, Path) else source, "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise InputError(f"{where}: {error or 'ends too early'}; give a WAV file of PCM samples") from error
    if width not in (1, 2, 3, 4) or rate < 1:
        raise InputError(
            f"{where}: samples of {width} bytes at {rate} Hz are not taken; convert it to 16-bit PCM"
        )
    count = len(data) // (width * channels)
    if not count:
        raise InputError(f"{where}: it has no samples")
    samples = kernels.from_pcm(Tensor.wrap(data, "uint8", (count * width * channels,)), width)
    if channels == 1:
        return (samples if mono else samples.reshape(1, count)), rate
    flat = samples.tobytes()
    apart = [memoryview(flat).cast("f")[c::channels] for c in range(channels)]
    if mono:
        mean = Tensor.of([[1 / channels] * channels])
        return kernels.product(mean, _stacked(apart, count)).reshape(count), rate
    return _stacked(apart, count), rate


def _stacked(channels: list[memoryview[float]], count: int) -> Tensor:
    data = b"".join(part.tobytes() for part in channels)
    return Tensor.wrap(data, "float32", (len(channels), count)).copy()


def write_wav(target: str | Path | IO[bytes], samples: Any, sr: int) -> None:
    """Writes samples in [-1, 1) as 16-bit PCM; what is beyond is clipped, NaN is silence.

    Args:
        target: path, or file open for writing.
        samples: float32 of one dimension, or channels × samples.
        sr: samples per second.
    """
    given = samples if isinstance(samples, (Tensor, list, tuple)) else Tensor.wrap(samples)
    channels = given.shape[0] if isinstance(given, Tensor) and given.ndim == 2 else 1
    if channels > 1 or (isinstance(given, Tensor) and given.ndim == 2):
        if not isinstance(given, Tensor) or given.dtype != "float32" or not given.size or not channels:
            raise InputError("samples of several channels must be float32, channels x samples, not empty")
        flat = memoryview(given.tobytes()).cast("f")
        length = given.shape[1]
        mixed = [flat[c * length + i] for i in range(length) for c in range(channels)]
        signal = Tensor.of(mixed)
    else:
        signal = as_signal(given, "samples")
    if not isinstance(sr, int) or not 1 <= sr < 1 << 32 or not 1 <= channels < 1 << 16:
        raise InputError(f"{channels} channels at {sr} Hz cannot be written; the rate is a positive integer")
    with wave.open(str(target) if isinstance(target, Path) else target, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sr)
        file.writeframes(kernels.to_pcm16(signal).tobytes())
