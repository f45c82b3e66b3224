"""Sound against librosa, SciPy and the features that a real model was run with."""

import io
import os
import wave
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

import walle_core as walle
from walle_core import audio
from walle_core._native import Tensor
from walle_core.errors import InputError

MODELS = Path(os.environ.get("WALLE_MODELS", Path(__file__).parents[2] / "../shared/models"))
SEEDS = st.integers(0, 1 << 32)


def noise(seed, length):
    return np.random.default_rng(seed).normal(size=length).astype(np.float32)


@given(SEEDS, st.integers(2, 300), st.integers(0, 100), st.integers(1, 200), st.integers(1, 900), st.sampled_from(["hann", "hamming", "blackman", "ones"]), st.booleans(), st.sampled_from(["constant", "reflect", "edge"]))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_stft(seed, n_fft, shorter, hop, length, window, center, pad):
    win = max(1, n_fft - shorter)
    y = noise(seed, length)
    settings_ = {"n_fft": n_fft, "hop_length": hop, "win_length": win, "window": window, "center": center}
    if (not center and length < n_fft) or (pad == "reflect" and n_fft // 2 >= length and center):
        with pytest.raises(InputError, match="too few"):
            audio.stft(y, **settings_, pad_mode=pad)
        return
    frames = librosa.util.pad_center(librosa.filters.get_window(window, win), size=n_fft)
    padded = np.pad(y.astype(float), n_fft // 2, mode=pad) if center else y.astype(float)
    if len(padded) < n_fft:
        return
    theirs = scipy.fft.rfft(
        librosa.util.frame(padded, frame_length=n_fft, hop_length=hop) * frames[:, None], axis=0
    )
    mine = np.asarray(audio.stft(y, **settings_, pad_mode=pad))
    assert mine.dtype == np.complex64
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, atol=2e-6 * n_fft)


@pytest.mark.parametrize("n_fft", [400, 512, 481])
@pytest.mark.parametrize("center", [True, False])
def test_stft_and_back_as_librosa(n_fft, center):
    y = noise(1, 5000)
    settings_ = {"n_fft": n_fft, "hop_length": 100, "win_length": n_fft - 80, "center": center}
    theirs, mine = librosa.stft(y, **settings_), audio.stft(y, **settings_)
    np.testing.assert_allclose(np.asarray(mine), theirs, atol=5e-5)
    for length in (None, 4321, 5200):
        back = librosa.istft(theirs, **settings_, length=length)
        again = np.asarray(audio.istft(mine, **settings_, length=length))
        assert len(again) == len(back) or not center
        inner = slice(n_fft, 4800 - n_fft)  # at the ends both divide by next to nothing
        np.testing.assert_allclose(again[inner], back[inner], atol=5e-5)


@given(SEEDS, st.sampled_from([(64, 16), (64, 32), (50, 10)]))
def test_a_signal_comes_back(seed, sizes):
    n_fft, hop = sizes
    y = noise(seed, 500)
    again = audio.istft(audio.stft(y, n_fft, hop), hop, length=500)
    np.testing.assert_allclose(np.asarray(again), y, atol=1e-5)


@given(st.integers(1, 99), st.sampled_from(["hann", "hamming", "blackman"]), st.booleans())
def test_windows(length, kind, periodic):
    theirs = scipy.signal.get_window(kind, length, fftbins=periodic)
    np.testing.assert_allclose(np.asarray(audio.window(kind, length, periodic)), theirs, atol=1e-6)


@given(st.integers(10, 300), st.integers(1, 10), st.integers(1, 40))
def test_frames(length, size, hop):
    y = noise(0, length)
    theirs = librosa.util.frame(y, frame_length=size, hop_length=hop).T
    np.testing.assert_array_equal(np.asarray(audio.frame(y, size, hop)), theirs)


@given(st.sampled_from([8000, 16000, 22050, 48000]), st.sampled_from([256, 400, 512, 1024]), st.integers(1, 80), st.floats(0, 500), st.booleans(), st.sampled_from([None, "slaney"]))  # fmt: skip
@settings(deadline=None, max_examples=30)
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_mel_filters(sr, n_fft, n_mels, fmin, htk, norm):
    fmax = sr / 2 - 100
    theirs = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=norm)
    mine = audio.mel_filters(sr, n_fft, n_mels, fmin, fmax, htk, norm)
    np.testing.assert_allclose(np.asarray(mine), theirs, atol=1e-6)


@given(st.floats(0, 20000), st.booleans())
def test_mel_scales(frequency, htk):
    mel = audio.hz_to_mel(frequency, htk)
    assert mel == pytest.approx(librosa.hz_to_mel(frequency, htk=htk), rel=1e-9)
    assert audio.mel_to_hz(mel, htk) == pytest.approx(frequency, rel=1e-9, abs=1e-6)


def test_features_as_librosa():
    y = noise(2, 16000)
    mel = audio.mel_spectrogram(y, 16000, n_fft=512, hop_length=160, n_mels=40)
    theirs = librosa.feature.melspectrogram(y=y, sr=16000, n_fft=512, hop_length=160, n_mels=40)
    np.testing.assert_allclose(np.asarray(mel), theirs, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(audio.power_to_db(mel)), librosa.power_to_db(theirs), atol=1e-3)
    np.testing.assert_allclose(
        np.asarray(audio.power_to_db(mel, ref=3.0, top_db=20)),
        librosa.power_to_db(theirs, ref=3.0, top_db=20),
        atol=1e-3,
    )
    for lifter in (0, 22):
        found = audio.mfcc(y, 16000, 13, lifter=lifter, n_fft=512, hop_length=160, n_mels=40)
        expected = librosa.feature.mfcc(
            y=y, sr=16000, n_mfcc=13, lifter=lifter, n_fft=512, hop_length=160, n_mels=40
        )
        np.testing.assert_allclose(np.asarray(found), expected, atol=2e-3)
    for norm in ("ortho", None):
        found = np.asarray(audio.dct(mel, 20, norm))
        np.testing.assert_allclose(found, scipy.fft.dct(theirs, axis=0, norm=norm)[:20], rtol=1e-3, atol=1e-3)


@given(SEEDS, st.integers(1, 600), st.sampled_from([(44100, 16000), (16000, 44100), (8000, 16000), (48000, 16000), (3, 7), (5, 5)]))  # fmt: skip
def test_resample(seed, length, rates):
    y = noise(seed, length)
    common = np.gcd(*rates)
    theirs = scipy.signal.resample_poly(y.astype(float), rates[1] // common, rates[0] // common)
    np.testing.assert_allclose(np.asarray(audio.resample(y, *rates)), theirs, atol=1e-5)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_wav_files_of_every_width(width, channels, tmp_path):
    random = np.random.default_rng(width)
    low, high = (0, 256) if width == 1 else (-(1 << (8 * width - 1)), 1 << (8 * width - 1))
    values = random.integers(low, high, (50, channels))
    values[0], values[1] = low, high - 1
    data = b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in values.ravel())
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, 8000, 0, "NONE", ""))
        file.writeframes(data)
    expected = (values - (128 if width == 1 else 0)) / (128 if width == 1 else 2.0 ** (8 * width - 1))
    apart, rate = audio.read_wav(path, mono=False)
    assert (rate, apart.shape) == (8000, (channels, 50))
    np.testing.assert_allclose(np.asarray(apart), expected.T, atol=1e-7)
    mixed, _ = audio.read_wav(path)
    np.testing.assert_allclose(np.asarray(mixed), expected.mean(1), atol=1e-6)


@given(SEEDS, st.integers(1, 40), st.integers(1, 3))
def test_what_is_written_is_read(seed, length, channels):
    samples = np.clip(noise(seed, channels * length).reshape(channels, length), -0.99, 0.99)
    file = io.BytesIO()
    audio.write_wav(file, samples if channels > 1 else samples[0], 16000)
    file.seek(0)
    again, rate = audio.read_wav(file, mono=False)
    assert rate == 16000
    np.testing.assert_allclose(np.asarray(again), samples, atol=1 / 65000)


def test_loud_samples_are_clipped():
    file = io.BytesIO()
    audio.write_wav(file, [2.0, -2.0, float("nan"), 0.5], 8000)
    file.seek(0)
    np.testing.assert_allclose(np.asarray(audio.read_wav(file)[0]), [32767 / 32768, -1, 0, 0.5])


@pytest.fixture(scope="module")
def keyword():
    path = MODELS / "real/kws_dscnn.onnx"
    if not path.exists():
        pytest.skip(f"no models at {MODELS}")
    return path


def keyword_features(path):
    """What the model's authors feed it: TensorFlow's MFCC of 40 ms every 20 ms, of a signal whose peak is one."""
    y, sr = audio.read_wav(path)
    peak = max(abs(v) for v in y.tolist())
    log_mel = audio.log_mel(
        [v / peak for v in y.tolist()], sr, 1e-6, n_fft=1024, hop_length=320, win_length=640, center=False, align="left",
        power=1.0, n_mels=40, fmin=20, fmax=4000, htk=True, norm=None, triangles="mel",
    )  # fmt: skip
    return np.asarray(audio.dct(log_mel, 10, "htk")).T.reshape(1, 49, 10, 1)


def test_a_keyword_is_heard(keyword):
    made = keyword_features(keyword.parent / "samples/tflm_yes_1000ms.wav")
    stored = np.load(keyword.with_suffix(".npz"))
    np.testing.assert_allclose(made, stored["in_input_1"], atol=1e-4)
    found = walle.Session(walle.load(str(keyword))).run({"input_1": made})
    scores = np.asarray(next(iter(found.values()))).ravel()
    labels = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown"]
    assert labels[int(scores.argmax())] == "yes"
    assert scores.max() > 0.99


Y = np.ones(100, np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda: audio.stft(np.ones((2, 100), np.float32), 16),
        lambda: audio.stft(np.ones(100, np.int16), 16),
        lambda: audio.stft(Y[:0], 16),
        lambda: audio.stft(Y, 1),
        lambda: audio.stft(Y, 1 << 40),
        lambda: audio.stft(Y, 16, 0),
        lambda: audio.stft(Y, 16, 4, 17),
        lambda: audio.stft(Y, 16, window="kaiser"),
        lambda: audio.stft(Y, 16, window=[1.0, 2.0]),
        lambda: audio.stft(Y, 16, pad_mode="wrap"),
        lambda: audio.stft(Y, 16, align="right"),
        lambda: audio.istft(Y, 4),
        lambda: audio.istft(Tensor((9, 4), "complex64"), 4, n_fft=20),
        lambda: audio.magnitude(Y),
        lambda: audio.frame(Y, 101, 1),
        lambda: audio.frame(Y, 10, 0),
        lambda: audio.window("hann", 0),
        lambda: audio.mel_filters(8000, 256, fmin=5000),
        lambda: audio.mel_filters(8000, 256, norm="area"),
        lambda: audio.mel_filters(8000, 256, n_mels=0),
        lambda: audio.power_to_db(np.ones((2, 2))),
        lambda: audio.power_to_db(Y, amin=0),
        lambda: audio.log_mel(Y, 8000, 0, n_fft=16),
        lambda: audio.dct(Y, 2),
        lambda: audio.dct(np.ones((3, 2), np.float32), 4),
        lambda: audio.dct(np.ones((3, 2), np.float32), 2, "l2"),
        lambda: audio.mfcc(),
        lambda: audio.mfcc(Y, lifter=-1),
        lambda: audio.resample(Y, 0, 8000),
        lambda: audio.resample(Y, 8000.5, 8000),
        lambda: audio.resample(Y, (1 << 21) + 1, 1 << 21),
        lambda: audio.read_wav("/nowhere/at-all.wav"),
        lambda: audio.read_wav(io.BytesIO(b"RIFF")),
        lambda: audio.read_wav(io.BytesIO(b"no sound at all, only text")),
        lambda: audio.write_wav(io.BytesIO(), Y, 0),
        lambda: audio.write_wav(io.BytesIO(), np.ones((2, 3)), 8000),
    ],
)
def test_what_cannot_be_done_is_refused(call):
    with pytest.raises(InputError):
        call()
