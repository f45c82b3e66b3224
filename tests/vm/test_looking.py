"""Native loops look whether their run is to stop: one call per family, in a run that was told so before the call.

How long calls that last take to stop is seen in test_stopping.py.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from walle_core import Tensor, audio, cv, matrix
from walle_core.audio import _audio
from walle_core.cv import _pixels
from walle_core.errors import StoppedError
from walle_core.vm._interpreter import Stop

N = 200
FLOATS = matrix.astype(matrix.reshape(matrix.arange(N * N) * 7919 % 10007, (N, N)), matrix.float64)
SINGLE = matrix.astype(FLOATS, matrix.float32)
WHOLE = matrix.astype(FLOATS, matrix.int64)
BYTES = np.random.default_rng(3).integers(0, 256, (N, N, 3), np.uint8)
GRAY = np.ascontiguousarray(BYTES[:, :, 0])
WELL = (np.eye(40) * 50 + np.ones((40, 40))).astype(np.float64)
POINTS = np.random.default_rng(4).integers(0, 10000, (3000, 1, 2), np.int32)
SOUND = Tensor.wrap(np.random.default_rng(5).standard_normal(20000).astype(np.float32))
WINDOW = Tensor.wrap(np.hanning(512).astype(np.float32))
SPECTRUM = audio.stft(SOUND, n_fft=512)


@contextmanager
def told_to_stop() -> Iterator[None]:
    """The calling thread is in a run that was told to stop."""
    stop = Stop()
    stop.begin()
    stop.ask()
    try:
        yield
    finally:
        stop.end()


@matrix.fused
def chain(x, y):
    return (x + y) * x - y


CALLS: dict[str, Callable[[], object]] = {
    "one operand": lambda: matrix.sin(FLOATS),
    "one operand, by an engine's rows": lambda: matrix.exp(SINGLE),
    "two operands": lambda: FLOATS + FLOATS,
    "two operands in place": lambda: FLOATS.__iadd__(FLOATS),
    "two operands, one repeated": lambda: FLOATS + matrix.reshape(FLOATS[0, :], (1, N)),
    "another dtype": lambda: matrix.astype(FLOATS, matrix.int32),
    "a chain": lambda: chain(FLOATS, FLOATS),
    "a chain, by an engine's rows": lambda: chain(SINGLE, SINGLE),
    "a transposition": lambda: matrix.permute_dims(FLOATS, (1, 0)),
    "a repetition": lambda: matrix.broadcast_to(FLOATS, (3, N, N)),
    "a slice": lambda: FLOATS[::-1, 1:],
    "elements by index": lambda: matrix.take(FLOATS, WHOLE[0, :] % N, axis=0),
    "sum of all": lambda: matrix.sum(FLOATS),
    "sum, by an engine's rows": lambda: matrix.sum(SINGLE, axis=0),
    "sum of columns": lambda: matrix.sum(FLOATS, axis=0),
    "sum of rows": lambda: matrix.sum(FLOATS, axis=1),
    "least": lambda: matrix.min(WHOLE),
    "running sum": lambda: matrix.cumulative_sum(FLOATS, axis=1),
    "variance": lambda: matrix.var(FLOATS),
    "place of the greatest": lambda: matrix.argmax(FLOATS, axis=0),
    "sort": lambda: matrix.sort(FLOATS),
    "sort of columns": lambda: matrix.argsort(FLOATS, axis=0),
    "search": lambda: matrix.searchsorted(FLOATS[0, :], FLOATS[1, :]),
    "different values": lambda: matrix.unique_values(WHOLE),
    "transform": lambda: matrix.fft.fft(matrix.astype(FLOATS, matrix.complex128)),
    "transform of a large prime": lambda: matrix.fft.fft(matrix.reshape(SINGLE, (-1,))[:39989]),
    "real transform": lambda: matrix.fft.rfft(FLOATS),
    "back to real": lambda: matrix.fft.irfft(FLOATS),
    "stft": lambda: _audio.stft(SOUND, WINDOW, 128, 0, 100, 0),
    "istft": lambda: _audio.istft(SPECTRUM, WINDOW, 128),
    "magnitudes": lambda: _audio.magnitudes(SPECTRUM, 2.0),
    "mel": lambda: _audio.product(SINGLE.tensor, SINGLE.tensor),
    "logarithms": lambda: _audio.logarithms(SOUND, 10.0, 1e-10, 0.0, 0.0, 80.0),
    "another rate": lambda: _audio.resample(SOUND, 3, 2),
    "contours": lambda: cv.findContours(GRAY, cv.RETR_LIST, cv.CHAIN_APPROX_NONE),
    "components": lambda: cv.connectedComponents(GRAY),
    "fewer corners": lambda: cv.approxPolyDP(POINTS, 1.0, True),
    "moments": lambda: cv.moments(GRAY),
    "line through points": lambda: cv.fitLine(POINTS, cv.DIST_HUBER, 0, 0.01, 0.01),
    **{
        f"solve by {name}": lambda method=method: cv.solve(WELL, WELL, method)
        for name, method in {
            "LU": cv.DECOMP_LU,
            "SVD": cv.DECOMP_SVD,
            "QR": cv.DECOMP_QR,
            "Cholesky": cv.DECOMP_CHOLESKY,
            "normal equations": cv.DECOMP_NORMAL | cv.DECOMP_LU,
        }.items()
    },
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_looks(name: str) -> None:
    CALLS[name]()
    with told_to_stop(), pytest.raises(StoppedError, match="told to stop"):
        CALLS[name]()


PICTURES: list[Callable[[], object]] = [
    *(lambda code=code: cv.cvtColor(BYTES, code)
      for code in (cv.COLOR_BGR2GRAY, cv.COLOR_BGR2RGB, cv.COLOR_BGR2HSV, cv.COLOR_BGR2HLS, cv.COLOR_BGR2Lab,
                   cv.COLOR_BGR2Luv, cv.COLOR_BGR2XYZ, cv.COLOR_BGR2YCrCb, cv.COLOR_BGR2BGR565, cv.COLOR_BGR2YUV_I420)),
    lambda: cv.cvtColor(GRAY[:150], cv.COLOR_YUV2BGR_NV12),
    *(lambda kind=kind: cv.resize(BYTES, (90, 70), interpolation=kind)
      for kind in (cv.INTER_NEAREST, cv.INTER_LINEAR, cv.INTER_CUBIC, cv.INTER_AREA)),
    lambda: cv.warpAffine(BYTES, np.float64([[1, 0.2, 3], [0, 1, 4]]), (N, N)),
    lambda: cv.warpPerspective(BYTES, np.float64([[1, 0.2, 3], [0, 1, 4], [0, 0, 1]]), (N, N)),
    lambda: cv.getRectSubPix(BYTES, (30, 20), (40.5, 50.5)),
    lambda: cv.blur(BYTES, (5, 5)), lambda: cv.GaussianBlur(BYTES, (5, 5), 1), lambda: cv.Sobel(BYTES, cv.CV_16S, 1, 0),
    lambda: cv.filter2D(BYTES, -1, np.ones((3, 3), np.float32)), lambda: cv.medianBlur(BYTES, 3), lambda: cv.medianBlur(BYTES, 9),
    lambda: cv.bilateralFilter(BYTES, 5, 50, 50), lambda: cv.erode(BYTES, np.ones((3, 3), np.uint8)),
    lambda: cv.dilate(BYTES, np.uint8([[0, 1, 0], [1, 1, 1], [0, 1, 0]])), lambda: cv.pyrDown(BYTES), lambda: cv.pyrUp(BYTES),
    lambda: cv.flip(BYTES, 1), lambda: cv.transpose(BYTES), lambda: cv.merge([GRAY, GRAY]), lambda: cv.split(BYTES),
    lambda: cv.copyMakeBorder(BYTES, 1, 1, 1, 1, cv.BORDER_REFLECT), lambda: cv.bitwise_and(BYTES, BYTES),
    lambda: cv.addWeighted(BYTES, 0.5, BYTES, 0.5, 0), lambda: cv.convertScaleAbs(BYTES, alpha=2), lambda: cv.mean(BYTES),
    lambda: cv.norm(BYTES), lambda: cv.threshold(GRAY, 90, 255, cv.THRESH_BINARY), lambda: cv.threshold(GRAY, 0, 255, cv.THRESH_OTSU),
    lambda: cv.Preprocess((50, 40))(BYTES),
]  # fmt: skip


def test_pixel_functions_look_before_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    names, run = set(), _pixels.run

    def stopped_first(name, inputs, out, args=(), level=0):
        before = out.tobytes()
        with told_to_stop(), pytest.raises(StoppedError, match=name):
            run(name, inputs, out, args, level)
        assert out.tobytes() == before, f"{name} wrote before it looked"
        made = run(name, inputs, out, args, level)
        if made.tobytes() != before:
            names.add(name)
        return made

    for module in [m for n, m in sys.modules.items() if n.startswith("walle_core.cv.")]:
        if getattr(module, "run", None) is run:
            monkeypatch.setattr(module, "run", stopped_first)
    for call in PICTURES:
        call()
    assert len(names) >= 35, sorted(names)  # and each of them would have written
