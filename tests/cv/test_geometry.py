"""Resizing and warping against OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import close, images

from walle_core import cv
from walle_core.errors import InputError

cv2 = pytest.importorskip("cv2")
KINDS = [cv.INTER_NEAREST, cv.INTER_LINEAR, cv.INTER_CUBIC, cv.INTER_LANCZOS4]
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@pytest.mark.parametrize("kind", [*KINDS, cv.INTER_AREA, cv.INTER_LINEAR_EXACT])
@settings(max_examples=60, deadline=None)
@given(image=images(("uint8", "uint16", "float32", "float64"), (1, 2, 3, 4), most=60), size=SIZES)
def test_resize(kind: int, image: np.ndarray, size: tuple[int, int]) -> None:
    if kind == cv.INTER_LINEAR_EXACT and image.dtype.kind == "f":
        return  # OpenCV has none
    relative = 1e-3 if kind == cv.INTER_LANCZOS4 else 1e-4
    close(
        cv.resize(image, size, interpolation=kind),
        cv2.resize(image, size, interpolation=kind),
        relative=relative,
    )


@settings(max_examples=60, deadline=None)
@given(image=images(most=60), size=SIZES)
def test_exact_nearest_neighbours(image: np.ndarray, size: tuple[int, int]) -> None:
    rows, columns = (
        ((2 * np.arange(n) + 1) * s) // (2 * n) for n, s in zip(size[::-1], image.shape, strict=False)
    )
    assert np.array_equal(
        cv.resize(image, size, interpolation=cv.INTER_NEAREST_EXACT), image[rows][:, columns]
    )


@settings(max_examples=30, deadline=None)
@given(image=images(least=2), fx=st.floats(0.3, 3), fy=st.floats(0.3, 3))
def test_resize_by_factors(image: np.ndarray, fx: float, fy: float) -> None:
    if round(image.shape[0] * fy) and round(image.shape[1] * fx):
        close(cv.resize(image, None, None, fx, fy), cv2.resize(image, None, fx=fx, fy=fy))


MATRICES = st.tuples(st.floats(-180, 180), st.floats(0.3, 2.5), st.floats(-20, 20), st.floats(-20, 20))
EDGES = (cv.BORDER_CONSTANT, cv.BORDER_REPLICATE, cv.BORDER_REFLECT, cv.BORDER_REFLECT_101, cv.BORDER_WRAP)


def mostly_close(mine: object, theirs: np.ndarray, scale: float) -> None:
    """Where coordinates are rounded, one bit may move a pixel: all but a few are the same."""
    off = np.abs(np.asarray(mine, np.float64).reshape(theirs.shape) - theirs) > scale
    assert off.mean() <= 0.02, off.mean()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(
    image=images(("uint8", "uint16", "float32"), least=2), matrix=MATRICES, size=SIZES, border=st.sampled_from(EDGES),
    value=st.integers(0, 255), back=st.booleans(),
)  # fmt: skip
def test_warps(kind: int, image: np.ndarray, matrix: tuple[float, ...], size: tuple[int, int], border: int, value: int, back: bool) -> None:  # fmt: skip
    angle, scale, x, y = matrix
    affine = cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), angle, scale)
    affine[:, 2] += x + 0.0137, y + 0.0171  # else halves between pixels, which go either way
    border = border if kind < cv.INTER_CUBIC else min(border, cv.BORDER_REPLICATE)
    value = value if image.dtype == np.uint8 else 1
    whole = np.vstack([affine, [0.001, -0.0005, 1.0]])
    flags, constant = kind | (cv.WARP_INVERSE_MAP if back else 0), (value, 1, 1, 1)
    unit = {"uint8": 1, "uint16": 65535 / 255, "float32": 4e-3}[image.dtype.name] * {
        cv.INTER_CUBIC: 2,
        cv.INTER_LANCZOS4: 10,
    }.get(kind, 1)
    for mine, theirs, m in (
        (cv.warpAffine, cv2.warpAffine, affine),
        (cv.warpPerspective, cv2.warpPerspective, whole),
    ):
        expected = theirs(image, m, size, flags=flags, borderMode=border, borderValue=constant)
        mostly_close(mine(image, m, size, None, flags, border, constant), expected, unit)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(
    image=images(("uint8", "uint16", "float32"), least=2),
    size=SIZES,
    border=st.sampled_from(EDGES),
    seed=st.integers(0, 99),
)
def test_remap(kind: int, image: np.ndarray, size: tuple[int, int], border: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.random(size) * (image.shape[1] + 10) - 5).astype("float32")
    y = (rng.random(size) * (image.shape[0] + 10) - 5).astype("float32")
    border = border if kind < cv.INTER_CUBIC else min(border, cv.BORDER_REPLICATE)
    expected = cv2.remap(image, x, y, kind, borderMode=border, borderValue=(1, 1, 1, 1))
    unit = {"uint8": 1, "uint16": 65535 / 255, "float32": 4e-3}[image.dtype.name] * {
        cv.INTER_CUBIC: 2,
        cv.INTER_LANCZOS4: 10,
    }.get(kind, 1)
    mostly_close(cv.remap(image, x, y, kind, None, border, (1, 1, 1, 1)), expected, unit)
    pairs = np.dstack([x, y])
    assert np.array_equal(
        cv.remap(image, pairs, None, kind, None, border), cv.remap(image, x, y, kind, None, border)
    )


def test_remap_takes_converted_maps_and_offsets() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    x, y = (rng.random((20, 25)) * 38).astype("float32"), (rng.random((20, 25)) * 28).astype("float32")
    whole, parts = cv.convertMaps(x, y, cv.CV_16SC2)
    theirs = cv2.convertMaps(x, y, cv2.CV_16SC2)
    assert np.array_equal(whole, theirs[0])
    assert np.array_equal(parts, theirs[1])
    assert np.array_equal(
        cv.convertMaps(x, y, cv.CV_16SC2, True)[0],
        cv2.convertMaps(x, y, cv2.CV_16SC2, nninterpolation=True)[0],
    )
    back = cv.convertMaps(whole, parts, cv.CV_32FC1)
    assert np.abs(np.asarray(back[0]) - x).max() <= 1 / 64 + 1e-6
    close(cv.remap(image, whole, parts, 1), cv2.remap(image, *theirs, 1), levels=2)
    grid = np.mgrid[0:20, 0:25].astype("float32")
    assert np.array_equal(
        cv.remap(image, x - grid[1], y - grid[0], cv.INTER_NEAREST | cv.WARP_RELATIVE_MAP),
        cv.remap(image, x, y, 0),
    )


@settings(max_examples=25, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99), whole=st.booleans())
def test_converted_maps(size: tuple[int, int], seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    x, y = ((rng.random(size) * 300 - 40).astype("float32") for _ in range(2))
    mine = cv.convertMaps(x, y, cv.CV_16SC2, whole)
    theirs = cv2.convertMaps(x, y, cv2.CV_16SC2, nninterpolation=whole)
    for made, expected in zip(mine[: 1 if whole else 2], theirs, strict=False):
        assert np.array_equal(np.asarray(made).reshape(expected.shape), expected)


@settings(max_examples=25, deadline=None)
@given(image=images(("uint8",), (3,), least=2), size=SIZES, angle=st.floats(-180, 180))
def test_warps_into_a_networks_form(image: np.ndarray, size: tuple[int, int], angle: float) -> None:
    matrix = cv.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), angle, 0.9)
    mean, norm = [1.5, 2.5, 3.5], [0.5, 2.0, 1.0]
    warped = np.asarray(cv.warpAffine(image, matrix, size))
    expected = (warped[..., ::-1].astype("float32") - np.float32(mean)) * np.float32(norm)
    made = cv.warpAffine(image, matrix, size, code=cv.COLOR_BGR2RGB, mean=mean, norm=norm)
    assert np.array_equal(made, expected)


def test_pixels_outside_stay_under_a_transparent_border() -> None:
    image, target = np.full((4, 4, 3), 200, "uint8"), np.full((6, 6, 3), 9, "uint8")
    found = cv.warpAffine(image, np.float64([[1, 0, 1], [0, 1, 1]]), (6, 6), target, 1, cv.BORDER_TRANSPARENT)
    assert (target[0] == 9).all()
    assert (target[1:4, 1:4] == 200).all()
    assert np.array_equal(found, target)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999))
def test_matrices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.random((4, 2)) * 100).astype("float32"), (rng.random((4, 2)) * 100).astype("float32")
    np.testing.assert_allclose(
        cv.getAffineTransform(a[:3], b[:3]), cv2.getAffineTransform(a[:3], b[:3]), rtol=1e-6, atol=1e-6
    )
    square = np.float32([[0, 0], [50, 0], [50, 50], [0, 50]])
    moved = square + (a % 9)  # of any four points, many maps are ill conditioned
    np.testing.assert_allclose(
        cv.getPerspectiveTransform(square, moved),
        cv2.getPerspectiveTransform(square, moved),
        rtol=1e-6,
        atol=1e-6,
    )
    m = cv2.getRotationMatrix2D((3, 4), float(seed), 1.7)
    np.testing.assert_allclose(cv.getRotationMatrix2D((3, 4), float(seed), 1.7), m, atol=1e-12)
    np.testing.assert_allclose(cv.invertAffineTransform(m), cv2.invertAffineTransform(m), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    image=images(channels=(1, 3), least=12),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    x=st.floats(5, 40),
    y=st.floats(5, 40),
)
def test_rectangles(image: np.ndarray, size: tuple[int, int], x: float, y: float) -> None:
    if x < image.shape[1] and y < image.shape[0]:
        close(cv.getRectSubPix(image, size, (x, y)), cv2.getRectSubPix(image, size, (x, y)))


def test_wrong_sizes_are_refused() -> None:
    image = np.zeros((4, 4), "uint8")
    for wrong in ((0, 5), (-1, 2), (3,), "ab"):
        with pytest.raises(InputError, match="dsize"):
            cv.resize(image, wrong)
    with pytest.raises(InputError, match="dsize"):
        cv.resize(image, None)
    with pytest.raises(InputError, match="2 x 3"):
        cv.warpAffine(image, np.eye(3), (4, 4))
    with pytest.raises(InputError, match="not empty"):
        cv.resize(np.zeros((0, 4), "uint8"), (2, 2))
