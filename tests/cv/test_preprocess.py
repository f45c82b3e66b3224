"""Preprocessing in one pass against OpenCV and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import images

from walle_core import cv
from walle_core.errors import InputError

cv2 = pytest.importorskip("cv2")
CODES = {
    1: (-1, cv.COLOR_GRAY2BGR),
    3: (-1, cv.COLOR_BGR2RGB, cv.COLOR_RGB2GRAY, cv.COLOR_BGR2GRAY),
    4: (-1, cv.COLOR_BGRA2RGB),
}


@settings(max_examples=120, deadline=None)
@given(
    image=images(("uint8",), (1, 3, 4), most=60), size=st.tuples(st.integers(1, 70), st.integers(1, 70)), data=st.data(),
    layout=st.sampled_from(("NCHW", "CHW", "NHWC", "HWC")), kind=st.integers(0, 1),
)  # fmt: skip
def test_same_as_step_by_step(
    image: np.ndarray, size: tuple[int, int], data: st.DataObject, layout: str, kind: int
) -> None:
    count = image.shape[2] if image.ndim == 3 else 1
    code = data.draw(st.sampled_from(CODES[count]))
    expected = cv2.resize(image, size, interpolation=kind)
    if code != -1:
        expected = cv2.cvtColor(expected, code)
    expected = expected.reshape(size[1], size[0], -1)
    mean, norm = (
        np.float32([103.5, 116.25, 123.5, 1])[: expected.shape[2]],
        np.float32([0.25, 0.5, 2, 1])[: expected.shape[2]],
    )
    expected = (expected.astype(np.float32) - mean) * norm
    if layout.endswith("CHW"):
        expected = expected.transpose(2, 0, 1)
    expected = expected.reshape((1,) * (len(layout) - 3) + expected.shape)
    mine = np.asarray(cv.Preprocess(size, code, mean.tolist(), norm.tolist(), layout, kind)(image))
    assert mine.shape == expected.shape
    step = norm.max() if code == -1 or count == 1 else norm.max() * 2
    assert np.abs(mine - expected).max() <= step + 1e-4
    if kind == 0 and code == -1:
        np.testing.assert_array_equal(mine, expected)


def test_resize_with_mean_and_norm() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    got = np.asarray(cv.resize(image, (20, 10), code=cv.COLOR_BGR2RGB, mean=[1, 2, 3], norm=[0.5, 0.5, 0.5]))
    expected = (
        cv2.cvtColor(cv2.resize(image, (20, 10)), 4).astype("float32") - np.float32([1, 2, 3])
    ) * np.float32(0.5)
    assert got.shape == (10, 20, 3)
    assert np.abs(got - expected).max() <= 0.5


def test_wrong_ones_are_refused() -> None:
    for wrong in (
        {"layout": "WHC"},
        {"code": cv.COLOR_BGR2HSV},
        {"interpolation": cv.INTER_CUBIC},
    ):
        with pytest.raises(InputError):
            cv.Preprocess((4, 4), **wrong)
    with pytest.raises(InputError, match="numbers"):
        cv.Preprocess((4, 4), mean=(1, 2))(np.zeros((5, 5, 3), "uint8"))
    with pytest.raises(InputError, match="dtype"):
        cv.Preprocess((4, 4))(np.zeros((5, 5, 3), "float32"))
    with pytest.raises(InputError, match="alpha"):
        cv.Preprocess((4, 4), cv.COLOR_BGR2BGRA)(np.zeros((5, 5, 3), "uint8"))
