"""Drawing against OpenCV: the same pixels, wherever the lines go."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import cv
from walle_core._native import Tensor
from walle_core.errors import InputError

SIZES = st.integers(1, 40)
NEAR = st.integers(-30, 70)
FAR = st.one_of(NEAR, st.integers(-(1 << 15), 1 << 15))
POINT = st.tuples(FAR, FAR)
LINES = st.sampled_from([cv.LINE_4, cv.LINE_8, cv.LINE_AA])
IMAGES = st.tuples(SIZES, SIZES, st.sampled_from([None, 1, 2, 3, 4]), st.sampled_from(["uint8", "uint8", "int16", "uint16", "int32", "float32", "float64"]))  # fmt: skip
COLORS = st.one_of(st.integers(0, 255), st.lists(st.floats(-10, 300), min_size=1, max_size=4))


def both(spec, draw):
    """What OpenCV and Walle draw on the same noise; Walle on a NumPy array, in place."""
    height, width, channels, dtype = spec
    shape = (height, width) if channels is None else (height, width, channels)
    noise = np.random.default_rng(height * 41 + width).integers(0, 256, shape).astype(dtype)
    theirs = draw(cv2, noise.copy())
    mine = noise.copy()
    assert draw(cv, mine) is mine
    return theirs, mine


def agree(spec, draw):
    theirs, mine = both(spec, draw)
    np.testing.assert_array_equal(mine, theirs)


@given(IMAGES, POINT, POINT, COLORS, st.integers(1, 9), LINES, st.integers(0, 6))
@settings(max_examples=300)
def test_line(spec, a, b, color, thickness, line, shift):
    agree(spec, lambda m, i: m.line(i, a, b, color, thickness, line, shift))


@given(
    IMAGES,
    st.tuples(NEAR, NEAR),
    st.tuples(NEAR, NEAR),
    COLORS,
    st.integers(1, 4),
    LINES,
    st.floats(0.05, 0.6),
)
def test_arrowed_line(spec, a, b, color, thickness, line, tip):
    agree(spec, lambda m, i: m.arrowedLine(i, a, b, color, thickness, line, 0, tip))


@given(IMAGES, POINT, st.integers(0, 90), COLORS, st.integers(-1, 7), LINES, st.integers(0, 5))
@settings(max_examples=300)
def test_circle(spec, centre, radius, color, thickness, line, shift):
    agree(spec, lambda m, i: m.circle(i, centre, radius, color, thickness, line, shift))


@given(IMAGES, st.tuples(NEAR, NEAR), st.tuples(st.integers(0, 60), st.integers(0, 60)), st.floats(-400, 400), st.floats(-400, 400), st.floats(-400, 400), COLORS, st.integers(-1, 5), LINES, st.integers(0, 3))  # fmt: skip
@settings(max_examples=300)
def test_ellipse(spec, centre, axes, angle, start, end, color, thickness, line, shift):
    agree(spec, lambda m, i: m.ellipse(i, centre, axes, angle, start, end, color, thickness, line, shift))


@given(IMAGES, st.tuples(st.floats(-9, 50, width=32), st.floats(-9, 50, width=32)), st.tuples(st.floats(0, 40, width=32), st.floats(0, 40, width=32)), st.floats(-90, 90, width=32), st.integers(-1, 3), LINES)  # fmt: skip
def test_ellipse_in_a_box(spec, centre, size, angle, thickness, line):
    agree(spec, lambda m, i: m.ellipse(i, (centre, size, angle), (9, 200, 77), thickness, line))


@given(IMAGES, POINT, POINT, COLORS, st.integers(-1, 6), LINES, st.integers(0, 4))
@settings(max_examples=200)
def test_rectangle(spec, a, b, color, thickness, line, shift):
    agree(spec, lambda m, i: m.rectangle(i, a, b, color, thickness, line, shift))


@given(IMAGES, st.tuples(NEAR, NEAR, st.integers(0, 30), st.integers(0, 30)), st.integers(-1, 3))
def test_rectangle_of_corner_and_size(spec, rec, thickness):
    agree(spec, lambda m, i: m.rectangle(i, rec, (1, 2, 3), thickness))


POLYGON = st.lists(POINT, min_size=1, max_size=9).map(lambda p: np.array(p, np.int32))


@given(IMAGES, st.lists(POLYGON, max_size=3), st.booleans(), st.integers(1, 5), LINES, st.integers(0, 4))
@settings(max_examples=200)
def test_polylines(spec, polygons, closed, thickness, line, shift):
    agree(spec, lambda m, i: m.polylines(i, polygons, closed, (255, 0, 3), thickness, line, shift))


@given(IMAGES, st.lists(POLYGON, max_size=3), LINES, st.integers(0, 4), st.tuples(NEAR, NEAR))
@settings(max_examples=300)
def test_fill_poly(spec, polygons, line, shift, offset):
    agree(spec, lambda m, i: m.fillPoly(i, polygons, (255, 0, 3), line, shift, offset))


@given(IMAGES, POLYGON, LINES, st.integers(0, 4))
@settings(max_examples=300)
def test_fill_convex_poly(spec, polygon, line, shift):
    agree(spec, lambda m, i: m.fillConvexPoly(i, polygon, (255, 0, 3), line, shift))


@given(st.integers(0, 1 << 32), st.integers(-1, 3), LINES, st.booleans(), st.integers(0, 3), st.tuples(NEAR, NEAR), st.data())  # fmt: skip
@settings(max_examples=200)
def test_draw_contours(seed, thickness, line, tree, levels, offset, data):
    random = np.random.default_rng(seed)
    picture = cv2.resize(random.integers(0, 2, (9, 9), np.uint8), (36, 27), interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(picture, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return
    index = data.draw(st.integers(-1, len(contours) - 1))
    given_tree = hierarchy if tree else None
    agree((30, 40, 3, "uint8"), lambda m, i: m.drawContours(i, contours, index, (5, 90, 250), thickness, line, given_tree, levels, offset))  # fmt: skip


@given(st.integers(1, 50), st.integers(1, 50), POINT, POINT)
def test_clip_line(width, height, a, b):
    inside, p, q = cv2.clipLine((3, -2, width, height), a, b)
    mine = cv.clipLine((3, -2, width, height), a, b)
    assert mine[0] == inside
    if inside:
        assert mine[1:] == (tuple(p), tuple(q))


def test_tensors_are_drawn_into():
    image = Tensor((5, 5, 3), "uint8")
    assert cv.rectangle(image, (1, 1), (3, 3), (7, 8, 9), cv.FILLED) is image
    assert image.tolist()[2][2] == [7, 8, 9]
    assert image.tolist()[0][0] == [0, 0, 0]


@pytest.mark.parametrize(
    "draw",
    [
        lambda i: cv.line(i, (0, 0), (3, 3), 255, 0),
        lambda i: cv.line(i, (0.5, 0), (3, 3), 255),
        lambda i: cv.line(i, (0, 0), (3, 1 << 40), 255),
        lambda i: cv.line(i, (0, 0), (3, 3), 255, lineType=5),
        lambda i: cv.line(i, (0, 0), (3, 3), 255, shift=17),
        lambda i: cv.line(i, (0, 0), (3, 3), (1, 2, 3, 4, 5)),
        lambda i: cv.circle(i, (0, 0), -1, 255),
        lambda i: cv.ellipse(i, (0, 0), (-1, 2), 0, 0, 360, 255),
        lambda i: cv.fillPoly(i, [np.zeros((3, 2), np.float32)], 1),
        lambda i: cv.fillPoly(i, [np.zeros((3, 3), np.int32)], 1),
        lambda i: cv.drawContours(i, [np.zeros((3, 2), np.int32)], 1, 255),
        lambda i: cv.drawContours(i, [[[0, 0], [1, 1]]], 0, 255, hierarchy=[[0]]),
        lambda i: cv.drawContours(i, [[[0, 0], [1, 1]]], 0, 255, hierarchy=np.zeros((1, 1, 4), np.int32)),
        lambda _: cv.line(np.zeros((4, 4, 5), np.uint8), (0, 0), (1, 1), 2),
        lambda _: cv.line(np.zeros((4, 4), np.int64), (0, 0), (1, 1), 2),
        lambda _: cv.line(np.zeros((4, 8), np.uint8)[:, ::2], (0, 0), (1, 1), 2),
        lambda _: cv.line(Tensor.wrap(bytes(16), "uint8", (4, 4)), (0, 0), (1, 1), 2),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw):
    with pytest.raises(InputError):
        draw(np.zeros((4, 4), np.uint8))
