"""Sound for tasks: WAV files, short-time spectra, mel features and resampling, without NumPy.

A signal is float32, of one dimension; spectra are Tensors with frequency first, then time, as librosa has them.
"""

from walle_core.audio.features import (
    dct,
    hz_to_mel,
    log_mel,
    mel_filters,
    mel_frequencies,
    mel_spectrogram,
    mel_to_hz,
    mfcc,
    power_to_db,
)
from walle_core.audio.spectrum import frame, istft, magnitude, resample, stft, window
from walle_core.audio.wav import read_wav, write_wav

__all__ = [
    "dct",
    "frame",
    "hz_to_mel",
    "istft",
    "log_mel",
    "magnitude",
    "mel_filters",
    "mel_frequencies",
    "mel_spectrogram",
    "mel_to_hz",
    "mfcc",
    "power_to_db",
    "read_wav",
    "resample",
    "stft",
    "window",
    "write_wav",
]
