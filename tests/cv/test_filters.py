"""Filters against OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import BORDERS, close, images

from walle_core import cv
from walle_core.errors import InputError

cv2 = pytest.importorskip("cv2")
ALL = ("uint8", "uint16", "int16", "float32", "float64")
ODD = st.sampled_from((1, 3, 5, 7, 9, 11, 13))
BORDER = st.sampled_from(BORDERS)


@settings(max_examples=120, deadline=None)
@given(
    image=images(ALL, (1, 2, 3, 4)), w=ODD, h=ODD, sigma=st.sampled_from((0, 0.6, 1.2, 3.0)), border=BORDER
)
def test_gaussian_blur(image: np.ndarray, w: int, h: int, sigma: float, border: int) -> None:
    close(
        cv.GaussianBlur(image, (w, h), sigma, None, 0, border),
        cv2.GaussianBlur(image, (w, h), sigma, borderType=border),
    )


@pytest.mark.parametrize("name", ["blur", "boxFilter", "sqrBoxFilter"])
@settings(max_examples=50, deadline=None)
@given(image=images(ALL, (1, 3), least=2), w=st.integers(1, 20), h=st.integers(1, 9), border=BORDER)
def test_boxes(name: str, image: np.ndarray, w: int, h: int, border: int) -> None:
    if name == "blur":
        if w * h == 2 and image.dtype == np.uint8:
            return  # OpenCV 5 overflows: the mean of 255 and 255 is 0
        close(cv.blur(image, (w, h), None, (-1, -1), border), cv2.blur(image, (w, h), borderType=border))
    elif name == "boxFilter":
        close(cv.boxFilter(image, cv.CV_32F, (w, h), None, (0, 0), False, border),
              cv2.boxFilter(image, cv2.CV_32F, (w, h), anchor=(0, 0), normalize=False, borderType=border))  # fmt: skip
    else:
        close(cv.sqrBoxFilter(image, -1, (w, h)), cv2.sqrBoxFilter(image, -1, (w, h)))


@settings(max_examples=80, deadline=None)
@given(
    image=images(("uint8", "float32", "float64"), (1, 3)), w=st.integers(1, 6), h=st.integers(1, 6), depth=st.sampled_from((-1, 5)),
    border=BORDER, seed=st.integers(0, 99), delta=st.sampled_from((0, 3.5)),
)  # fmt: skip
def test_filter_and_separable(
    image: np.ndarray, w: int, h: int, depth: int, border: int, seed: int, delta: float
) -> None:
    rng = np.random.default_rng(seed)
    kernel = (rng.random((h, w)) - 0.4).astype("float32")
    depth = -1 if image.dtype == np.float64 else depth
    close(
        cv.filter2D(image, depth, kernel, None, (-1, -1), delta, border),
        cv2.filter2D(image, depth, kernel, delta=delta, borderType=border),
    )
    close(cv.sepFilter2D(image, depth, kernel[0], kernel[:, 0], None, (-1, -1), delta, border),
          cv2.sepFilter2D(image, depth, kernel[0], kernel[:, 0], delta=delta, borderType=border))  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    image=images(("uint8", "float32"), (1, 3)), dx=st.integers(0, 2), dy=st.integers(0, 2), size=st.sampled_from((1, 3, 5, 7)),
    border=BORDER, scale=st.sampled_from((1, 0.5)),
)  # fmt: skip
def test_derivatives(image: np.ndarray, dx: int, dy: int, size: int, border: int, scale: float) -> None:
    depth = cv.CV_16S if image.dtype == np.uint8 else -1
    if dx + dy:
        close(cv.Sobel(image, depth, dx, dy, None, size, scale, 1, border),
              cv2.Sobel(image, depth, dx, dy, ksize=size, scale=scale, delta=1, borderType=border))  # fmt: skip
    close(
        cv.Laplacian(image, depth, None, size, scale, 0, border),
        cv2.Laplacian(image, depth, ksize=size, scale=scale, borderType=border),
    )
    close(cv.Scharr(image, depth, 1, 0), cv2.Scharr(image, depth, 1, 0))
    close(cv.Scharr(image, depth, 0, 1), cv2.Scharr(image, depth, 0, 1))


@settings(max_examples=30, deadline=None)
@given(image=images(("uint8",), (1,)), border=st.sampled_from((1, 4)))
def test_spatial_gradient(image: np.ndarray, border: int) -> None:
    theirs = cv2.spatialGradient(image, borderType=border)
    for mine, expected in zip(cv.spatialGradient(image, borderType=border), theirs, strict=True):
        close(mine, expected, levels=0)


@settings(max_examples=100, deadline=None)
@given(
    image=images(ALL, (1, 3, 4)), w=st.integers(1, 7), h=st.integers(1, 7), shape=st.integers(0, 2), times=st.integers(1, 3),
    border=BORDER, op=st.integers(0, 6),
)  # fmt: skip
def test_morphology(image: np.ndarray, w: int, h: int, shape: int, times: int, border: int, op: int) -> None:
    element = cv2.getStructuringElement(shape, (w, h))
    assert np.array_equal(cv.getStructuringElement(shape, (w, h)), element)
    args = ((-1, -1), times, border)
    expected = cv2.morphologyEx(image, op, element, anchor=(-1, -1), iterations=times, borderType=border)
    close(cv.morphologyEx(image, op, element, None, *args), expected, levels=0)


def test_morphology_with_a_constant_outside_and_no_kernel() -> None:
    image = np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    element = np.ones((3, 5), "uint8")
    expected = cv2.erode(image, element, borderType=0, borderValue=(9, 20, 30, 40))
    assert np.array_equal(cv.erode(image, element, None, (-1, -1), 1, 0, (9, 20, 30, 40)), expected)
    assert np.array_equal(cv.dilate(image, None, iterations=2), cv2.dilate(image, None, iterations=2))


@settings(max_examples=60, deadline=None)
@given(
    image=images(("uint8", "uint16", "int16", "float32"), (1, 3, 4)), size=st.sampled_from((1, 3, 5, 7, 11))
)
def test_median(image: np.ndarray, size: int) -> None:
    size = size if image.dtype == np.uint8 else min(size, 5)
    close(cv.medianBlur(image, size), cv2.medianBlur(image, size), levels=0, relative=0)


@pytest.mark.parametrize("channels", [1, 2, 3, 33])
def test_medians_of_long_rows(channels: int) -> None:
    """Rows are worked on in tiles."""
    rng = np.random.default_rng(channels)
    for width in (1023, 1025, 2100):
        image = rng.integers(0, 256, (6, width // min(channels, 4), channels), dtype=np.uint8)
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "edge")
        for size in (3, 5):
            inner = padded[2 - size // 2 : 4 + 6, 2 - size // 2 :][
                : 6 + size - 1, : image.shape[1] + size - 1
            ]
            windows = np.lib.stride_tricks.sliding_window_view(inner, (size, size), (0, 1))
            expected = np.median(windows, axis=(-2, -1)).astype(np.uint8)
            assert np.array_equal(np.asarray(cv.medianBlur(image, size)).reshape(image.shape), expected)


@settings(max_examples=40, deadline=None)
@given(
    image=images(("uint8", "float32"), (1, 3)),
    d=st.integers(-1, 9),
    color=st.floats(0.1, 90),
    space=st.floats(0.3, 4),
    border=BORDER,
)
def test_bilateral(image: np.ndarray, d: int, color: float, space: float, border: int) -> None:
    expected = cv2.bilateralFilter(image, d, color, space, borderType=border)
    close(cv.bilateralFilter(image, d, color, space, None, border), expected, relative=1e-3)


@settings(max_examples=60, deadline=None)
@given(image=images(ALL, (1, 3)), border=st.sampled_from((2, 4)))
def test_pyramids(image: np.ndarray, border: int) -> None:
    close(cv.pyrDown(image, None, None, border), cv2.pyrDown(image, borderType=border))
    close(cv.pyrUp(image), cv2.pyrUp(image))


@settings(max_examples=40, deadline=None)
@given(
    size=st.sampled_from((1, 3, 5, 7, 9, 15, 31)),
    sigma=st.sampled_from((-1, 0, 0.5, 2.0)),
    dx=st.integers(0, 2),
    dy=st.integers(0, 2),
)
def test_kernels(size: int, sigma: float, dx: int, dy: int) -> None:
    close(cv.getGaussianKernel(size, sigma), cv2.getGaussianKernel(size, sigma), relative=1e-6)
    if dx + dy and size < 32:
        for normalize in (False, True):
            for mine, theirs in zip(cv.getDerivKernels(dx, dy, size, normalize=normalize), cv2.getDerivKernels(dx, dy, size, normalize=normalize), strict=True):  # fmt: skip
                close(mine, theirs, relative=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(-1, 9), st.integers(-1, 9)), sigma=st.floats(0.5, 6), theta=st.floats(-4, 4),
    length=st.floats(0.5, 9), gamma=st.floats(0.3, 3), psi=st.floats(-4, 4), kind=st.sampled_from((5, 6)),
)  # fmt: skip
def test_gabor_kernels(
    size: tuple[int, int], sigma: float, theta: float, length: float, gamma: float, psi: float, kind: int
) -> None:
    args = size, sigma, theta, length, gamma, psi, kind
    close(cv.getGaborKernel(*args), cv2.getGaborKernel(*args), relative=1e-6)


def test_wrong_arguments_are_refused() -> None:
    image = np.zeros((5, 5), "uint8")
    for call in (
        lambda: cv.GaussianBlur(image, (4, 4), 1),
        lambda: cv.GaussianBlur(image, (0, 0), 0),
        lambda: cv.blur(image, (3, 3), None, (5, 0)),
        lambda: cv.blur(image, (3, 3), None, (-1, -1), 99),
        lambda: cv.Sobel(image, -1, 0, 0),
        lambda: cv.medianBlur(image, 4),
        lambda: cv.filter2D(image.astype("int32"), -1, np.ones((3, 3))),
        lambda: cv.bilateralFilter(np.zeros((4, 4, 4), "uint8"), 3, 1, 1),
        lambda: cv.pyrUp(image, None, (3, 3)),
    ):
        with pytest.raises(InputError):
            call()
