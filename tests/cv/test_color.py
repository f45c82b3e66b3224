"""Colour conversions against OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import close, images

from walle_core import cv
from walle_core.errors import InputError, UnsupportedError

cv2 = pytest.importorskip("cv2")
NAMES = sorted(n for n in dir(cv) if n.startswith("COLOR_"))
ONE_EACH = {getattr(cv, n): n for n in reversed(NAMES)}  # several names have the same code


def named(*codes: range) -> list[str]:
    return [name for code, name in sorted(ONE_EACH.items()) if any(code in r for r in codes)]


FIVES, HALVED, PAIRED = named(range(12, 32)), named(range(90, 107), range(127, 135)), named(range(107, 125))
PERCEIVED = [n for n in ONE_EACH.values() if "Lab" in n or "Luv" in n]
PLAIN = [n for n in named(range(12), range(32, 90)) if n not in PERCEIVED]


def test_codes_are_those_of_opencv() -> None:
    assert len(NAMES) > 160
    assert len(FIVES + HALVED + PAIRED + PERCEIVED + PLAIN) == len(ONE_EACH) - 2
    assert {n: getattr(cv, n) for n in NAMES} == {n: getattr(cv2, n) for n in NAMES}


def channels_of(name: str) -> int:
    source = name.removeprefix("COLOR_").split("2")[0]
    return {"GRAY": 1, "BGRA": 4, "RGBA": 4}.get(source, 3)


@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_plain_codes(name: str, data: st.DataObject) -> None:
    hues = "HSV" in name or "HLS" in name
    dtypes = ("uint8", "float32") if hues else ("uint8", "uint16", "float32")
    image = data.draw(images(dtypes, (channels_of(name),)))
    if image.dtype == np.float32 and name.startswith(("COLOR_HSV", "COLOR_HLS")):
        image[..., 0] *= 360
    if image.dtype == np.uint8 and name.startswith(("COLOR_HSV", "COLOR_HLS")) and "FULL" not in name:
        image[..., 0] %= 180
    close(cv.cvtColor(image, getattr(cv, name)), cv2.cvtColor(image, getattr(cv2, name)))


def exact_lab(image: np.ndarray) -> np.ndarray:
    """L*a*b* of blue, green, red under sRGB's curve, by the definition."""
    linear = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    )
    t = linear[..., ::-1] @ to_xyz.T / [0.950456, 1, 1.088754]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    light = np.where(t[..., 1] > 0.008856, 116 * f[..., 1] - 16, 903.3 * t[..., 1])
    return np.stack([light, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


@pytest.mark.parametrize("name", PERCEIVED)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_lab_and_luv(name: str, data: st.DataObject) -> None:
    """There and back; on the way back of colours, as OpenCV does by whole numbers what no colour has."""
    code, source = getattr(cv, name), name.removeprefix("COLOR_").split("2")[0]
    image = data.draw(images(("uint8", "float32"), (3,)))
    if source in ("Lab", "Luv"):
        back = name.removeprefix("COLOR_").split("2")[1]
        image = cv2.cvtColor(image, getattr(cv2, f"COLOR_{back}2{source}"))
    if image.dtype == np.uint8:
        close(cv.cvtColor(image, code), cv2.cvtColor(image, code), levels=2)
    elif name in ("COLOR_BGR2Lab", "COLOR_RGB2Lab"):  # where OpenCV interpolates a table
        blue_first = image if "BGR" in name else image[..., ::-1]
        np.testing.assert_allclose(cv.cvtColor(image, code), exact_lab(blue_first.astype(float)), atol=2e-4)
        np.testing.assert_allclose(cv.cvtColor(image, code), cv2.cvtColor(image, code), atol=1)
    else:
        close(cv.cvtColor(image, code), cv2.cvtColor(image, code), relative=1e-4)


@pytest.mark.parametrize("name", PERCEIVED)
def test_few_bytes_of_lab_and_luv_differ_by_two(name: str) -> None:
    image = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    code, source = getattr(cv, name), name.removeprefix("COLOR_").split("2")[0]
    if source in ("Lab", "Luv"):
        image = cv2.cvtColor(
            image, getattr(cv2, f"COLOR_{name.removeprefix('COLOR_').split('2')[1]}2{source}")
        )
    off = np.abs(np.asarray(cv.cvtColor(image, code)).astype(int) - cv2.cvtColor(image, code))
    assert (off > 1).mean() < 1e-3


@pytest.mark.parametrize("name", FIVES)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_packed_codes(name: str, data: st.DataObject) -> None:
    source = name.removeprefix("COLOR_").split("2", 1)[0]
    count = 2 if source.startswith("BGR5") else {"GRAY": 1, "BGRA": 4, "RGBA": 4}.get(source, 3)
    image = data.draw(images(("uint8",), (count,)))
    close(cv.cvtColor(image, getattr(cv, name)), cv2.cvtColor(image, getattr(cv2, name)), levels=0)


@pytest.mark.parametrize("name", HALVED)
@settings(max_examples=5, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_halved_codes(name: str, height: int, width: int, seed: int) -> None:
    to = "2YUV" in name
    shape = (2 * height, 2 * width, 4 if "A2" in name else 3) if to else (3 * height, 2 * width)
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    if not to and shape[0] % 2:
        image = np.concatenate([image, image])
    close(cv.cvtColor(image, getattr(cv, name)), cv2.cvtColor(image, getattr(cv2, name)))


@pytest.mark.parametrize("name", PAIRED)
@settings(max_examples=5, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_paired_codes(name: str, height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, 2 * width, 2), dtype=np.uint8)
    close(cv.cvtColor(image, getattr(cv, name)), cv2.cvtColor(image, getattr(cv2, name)))


@settings(max_examples=20, deadline=None)
@given(image=images(("uint8",), (4,)))
def test_colours_times_alpha(image: np.ndarray) -> None:
    close(cv.cvtColor(image, cv.COLOR_RGBA2mRGBA), cv2.cvtColor(image, cv2.COLOR_RGBA2mRGBA), levels=0)
    times = cv2.cvtColor(image, cv2.COLOR_RGBA2mRGBA)
    close(cv.cvtColor(times, cv.COLOR_mRGBA2RGBA), cv2.cvtColor(times, cv2.COLOR_mRGBA2RGBA), levels=0)


@pytest.mark.parametrize("code", [90, 91, 92, 93, 94, 95, 96, 97])
@settings(max_examples=5, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_two_planes(code: int, height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    luma = rng.integers(0, 256, (2 * height, 2 * width), dtype=np.uint8)
    pairs = rng.integers(0, 256, (height, width, 2), dtype=np.uint8)
    close(cv.cvtColorTwoPlane(luma, pairs, code), cv2.cvtColorTwoPlane(luma, pairs, code))


def test_wrong_images_and_codes_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="no colour conversion"):
        cv.cvtColor(np.zeros((4, 4, 3), "uint8"), 9999)
    with pytest.raises(InputError, match="channels"):
        cv.cvtColor(np.zeros((4, 4), "uint8"), cv.COLOR_BGR2RGB)
    with pytest.raises(InputError, match="dtype"):
        cv.cvtColor(np.zeros((4, 4, 3), "int32"), cv.COLOR_BGR2RGB)
    with pytest.raises(InputError, match="3/2"):
        cv.cvtColor(np.zeros((4, 4), "uint8"), cv.COLOR_YUV2RGB_NV12)
