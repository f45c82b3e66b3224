"""Arrangement, arithmetic, thresholds and files against OpenCV."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import close, images

from walle_core import Tensor, cv
from walle_core.cv import _pixels
from walle_core.errors import InputError, UnsupportedError

cv2 = pytest.importorskip("cv2")
ALL = ("uint8", "int8", "uint16", "int16", "int32", "float32", "float64")
FEW = ("uint8", "uint16", "int16", "float32", "float64")


@settings(max_examples=100, deadline=None)
@given(
    image=images(ALL, (1, 2, 3, 4)),
    code=st.integers(-1, 1),
    turn=st.integers(0, 2),
    nx=st.integers(1, 3),
    ny=st.integers(1, 3),
)
def test_arrangement(image: np.ndarray, code: int, turn: int, nx: int, ny: int) -> None:
    close(cv.flip(image, code), cv2.flip(image, code), 0, 0)
    close(cv.rotate(image, turn), cv2.rotate(image, turn), 0, 0)
    close(cv.transpose(image), cv2.transpose(image), 0, 0)
    close(cv.repeat(image, ny, nx), cv2.repeat(image, ny, nx), 0, 0)
    close(cv.hconcat([image, image]), cv2.hconcat([image, image]), 0, 0)
    close(cv.vconcat([image, image]), cv2.vconcat([image, image]), 0, 0)
    parts = cv.split(image)
    for mine, theirs in zip(parts, cv2.split(image), strict=True):
        close(mine, theirs, 0, 0)
    assert np.array_equal(cv.merge(parts), image)


@settings(max_examples=60, deadline=None)
@given(image=images(ALL, (1, 2, 3, 4)), masked=st.booleans(), seed=st.integers(0, 99))
def test_means(image: np.ndarray, masked: bool, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, image.shape[:2], dtype=np.uint8) if masked else None
    np.testing.assert_allclose(cv.mean(image, mask), cv2.mean(image, mask), rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(image=images(ALL, (1, 3, 4)), sides=st.tuples(*[st.integers(0, 9)] * 4), border=st.integers(0, 4))
def test_borders(image: np.ndarray, sides: tuple[int, ...], border: int) -> None:
    value = (5, 6, 7, 8)
    close(
        cv.copyMakeBorder(image, *sides, border, None, value),
        cv2.copyMakeBorder(image, *sides, border, value=value),
        0,
        0,
    )


@settings(max_examples=80, deadline=None)
@given(
    image=images(ALL, (1, 3)),
    a=st.floats(-2, 2),
    b=st.floats(-2, 2),
    c=st.floats(-9, 9),
    seed=st.integers(0, 99),
)
def test_arithmetic(image: np.ndarray, a: float, b: float, c: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    other, mask = image[::-1].copy(), rng.integers(0, 2, image.shape[:2], dtype=np.uint8)
    close(cv.addWeighted(image, a, other, b, c), cv2.addWeighted(image, a, other, b, c))
    close(cv.convertScaleAbs(image, None, a, c), cv2.convertScaleAbs(image, alpha=a, beta=c))
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        assert (
            np.asarray(getattr(cv, name)(image, other)).tobytes()
            == getattr(cv2, name)(image, other).tobytes()
        )
    dst = other.copy()
    expected = cv2.bitwise_not(image, dst=other.copy(), mask=mask)
    cv.bitwise_not(image, dst, mask)
    assert dst.tobytes() == expected.tobytes()
    assert np.array_equal(cv.copyTo(image, mask), cv2.copyTo(image, mask))


@settings(max_examples=80, deadline=None)
@given(
    image=images(FEW, (1, 3)),
    kind=st.sampled_from((1, 2, 4, 32)),
    alpha=st.floats(1, 300),
    depth=st.sampled_from((-1, 5)),
)
def test_normalize(image: np.ndarray, kind: int, alpha: float, depth: int) -> None:
    expected = cv2.normalize(image, None, alpha, 0, kind, dtype=depth)
    close(cv.normalize(image, None, alpha, 0, kind, depth), expected)
    if kind != 32:
        assert cv.norm(image, kind) == pytest.approx(cv2.norm(image, kind))


@settings(max_examples=120, deadline=None)
@given(image=images(FEW, (1, 3)), limit=st.floats(-300, 300), value=st.floats(0, 300), kind=st.integers(0, 4))
def test_threshold(image: np.ndarray, limit: float, value: float, kind: int) -> None:
    used, expected = cv2.threshold(image, limit, value, kind)
    got, mine = cv.threshold(image, limit, value, kind)
    assert got == pytest.approx(used)
    close(mine, expected, 0)


@pytest.mark.parametrize("how", [cv.THRESH_OTSU, cv.THRESH_TRIANGLE])
@pytest.mark.parametrize("seed", range(12))
def test_automatic_threshold(how: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.integers(0, 256, 2))
    image = (
        np.concatenate([rng.normal(low, 12, 700), rng.normal(high, 20, 300)])
        .clip(0, 255)
        .astype("uint8")
        .reshape(25, 40)
    )
    used, expected = cv2.threshold(image, 0, 255, how)
    got, mine = cv.threshold(image, 0, 255, how)
    assert got == used
    assert np.array_equal(mine, expected)


@settings(max_examples=60, deadline=None)
@given(
    image=images(("uint8",), (1,)),
    method=st.integers(0, 1),
    kind=st.integers(0, 1),
    size=st.sampled_from((3, 5, 11)),
    c=st.floats(-9, 9),
)
def test_adaptive_threshold(image: np.ndarray, method: int, kind: int, size: int, c: float) -> None:
    mine = np.asarray(cv.adaptiveThreshold(image, 200, method, kind, size, c))
    expected = cv2.adaptiveThreshold(image, 200, method, kind, size, c)
    assert (mine != expected).mean() <= (0.0 if method == 0 else 0.02)  # a mean that is rounded the other way


@settings(max_examples=30, deadline=None)
@given(image=images(("uint8", "float32"), (1, 3, 4)), seed=st.integers(0, 99))
def test_blend(image: np.ndarray, seed: int) -> None:
    a, b = np.random.default_rng(seed).random((2, *image.shape[:2]), dtype=np.float32)
    close(cv.blendLinear(image, image[::-1].copy(), a, b), cv2.blendLinear(image, image[::-1].copy(), a, b))


def test_any_buffer_and_view_is_taken() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for view in (
        image[2:15, 3:20],
        image[::-1, ::-1],
        image[:, :, ::-1],
        image[::2, ::3],
        image.transpose(1, 0, 2),
    ):
        assert np.array_equal(cv.blur(view, (3, 3)), cv2.blur(np.ascontiguousarray(view), (3, 3)))
    assert np.array_equal(cv.flip(Tensor.of(image), 0), image[::-1])
    with pytest.raises(InputError, match="no image"):
        cv.flip(object(), 0)
    with pytest.raises(InputError, match="format"):
        cv.flip(np.zeros((3, 3), "int64"), 0)


def test_dst_gets_the_result_or_is_refused() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    target = image.copy()
    cv.flip(target, 0, target)
    assert np.array_equal(target, image[::-1])
    with pytest.raises(InputError, match="dst"):
        cv.flip(image, 0, np.zeros((3, 3), "uint8"))


def test_levels_of_processors_agree() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 41, 3), dtype=np.uint8)
    for name, shape, args in (("resize", (20, 31, 3), (1, 41 / 31, 37 / 20)), ("permute", (37, 41, 3), (2, 1, 0)), ("to_gray", (37, 41), (0,)),
                              ("affine", (20, 31, 3), (1, 0, 0, 0, 0, 0, 1.1, 0.2, 0.3, -0.1, 0.9, 2))):  # fmt: skip
        results = []
        for level in (1, 3, 4):
            if level <= _pixels.level():
                results.append(_pixels.run(name, [image], Tensor(shape, "uint8"), args, level).tobytes())
        assert len(set(results)) == 1, name
    with pytest.raises(UnsupportedError, match="level"):
        _pixels.run("to_gray", [image], Tensor((37, 41), "uint8"), (0,), 9)


def test_files(tmp_path) -> None:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), (9, 9), 3)
    for image in (smooth, smooth[..., 0].copy(), np.dstack([smooth, smooth[..., :1]])):
        path = tmp_path / "image.png"
        assert cv.imwrite(path, image)
        for flags in (cv.IMREAD_UNCHANGED, cv.IMREAD_COLOR, cv.IMREAD_GRAYSCALE, cv.IMREAD_COLOR_RGB):
            close(cv.imread(path, flags), cv2.imread(str(path), flags))
    deep = rng.integers(0, 65536, (9, 8), dtype=np.uint16)
    cv.imwrite(tmp_path / "deep.png", deep)
    assert np.array_equal(cv.imread(tmp_path / "deep.png", cv.IMREAD_UNCHANGED), deep)
    assert np.array_equal(cv2.imread(str(tmp_path / "deep.png"), -1), deep)
    ok, data = cv.imencode(".jpg", smooth, [cv.IMWRITE_JPEG_QUALITY, 90])
    assert ok
    close(cv.imdecode(data, cv.IMREAD_COLOR), cv2.imdecode(np.asarray(data), 1), levels=3)
    (tmp_path / "text.png").write_text("no image")
    for name in ("deep.png", "none.png", "text.png"):
        path = tmp_path / name
        assert cv.haveImageReader(path) == cv2.haveImageReader(str(path)) == (name == "deep.png")
    for name in ("a.png", "a.JPG", "a.jpeg", "a.bmp", "a.xyz"):
        assert cv.haveImageWriter(name) == cv2.haveImageWriter(name)
    assert cv.imread(tmp_path / "none.png") is None
    assert cv.imdecode(b"no image", 1) is None
    with pytest.raises(UnsupportedError, match="encoder"):
        cv.imencode(".xyz", smooth)
    with pytest.raises(InputError, match="uint16"):
        cv.imencode(".jpg", deep)


def test_without_numpy_and_pillow() -> None:
    code = """
import sys
sys.modules["numpy"] = sys.modules["PIL"] = None
from walle_core import Tensor, cv
from walle_core.errors import UnsupportedError
image = Tensor.of([[0, 100], [200, 40]], "uint8")
assert cv.resize(image, (4, 4)).shape == (4, 4)
assert cv.GaussianBlur(image, (3, 3), 0).dtype == "uint8"
assert cv.warpAffine(image, [[1, 0, 0], [0, 1, 0]], (2, 2)).tolist() == [[0, 100], [200, 40]]
try:
    cv.imread("x.png")
except UnsupportedError as error:
    assert "walle-core[image]" in str(error)
else:
    raise SystemExit("no error")
assert "numpy" not in [n for n, m in sys.modules.items() if m]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
