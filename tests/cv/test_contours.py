"""Contours, hulls, components and measures against OpenCV: equal where its result is defined."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from walle_core import cv
from walle_core._native import Tensor
from walle_core.errors import InputError, UnsupportedError

MODES = st.sampled_from([cv.RETR_EXTERNAL, cv.RETR_LIST, cv.RETR_CCOMP, cv.RETR_TREE])
METHODS = st.sampled_from([cv.CHAIN_APPROX_NONE, cv.CHAIN_APPROX_SIMPLE])
BITS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 1))


@st.composite
def pictures(draw):
    """Noise, blobs, nested rings: what makes borders touch and surround each other."""
    if draw(st.booleans()):
        return draw(BITS)
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    picture = (random.random((height, width)) < draw(st.sampled_from([0.1, 0.4, 0.6, 0.9]))).astype(np.uint8)
    for _ in range(draw(st.integers(0, 12))):
        centre = int(random.integers(0, width)), int(random.integers(0, height))
        cv2.circle(
            picture,
            centre,
            int(random.integers(1, 40)),
            int(random.integers(0, 2)),
            int(random.integers(-1, 4)),
        )
    return picture * draw(st.sampled_from([1, 255]))


@given(pictures(), MODES, METHODS, st.tuples(st.integers(-99, 99), st.integers(-99, 99)))
@settings(max_examples=400)
def test_find_contours(picture, mode, method, offset):
    theirs, tree = cv2.findContours(picture, mode, method, offset=offset)
    mine, my_tree = cv.findContours(picture, mode, method, offset)
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)
    assert (tree is None) == (my_tree is None)
    if tree is not None:
        np.testing.assert_array_equal(np.asarray(my_tree), tree)


@given(pictures(), st.sampled_from([4, 8]), st.sampled_from([cv.CV_32S, cv.CV_16U]))
@settings(max_examples=200)
def test_connected_components(picture, connectivity, ltype):
    theirs = cv2.connectedComponentsWithStats(picture, connectivity=connectivity, ltype=ltype)
    mine = cv.connectedComponentsWithStats(picture, connectivity, ltype)
    assert mine[0] == theirs[0]
    for a, b in zip(mine[1:], theirs[1:], strict=True):
        assert np.asarray(a).dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), b)
    count, labels = cv.connectedComponents(picture, connectivity, ltype)
    assert count == theirs[0]
    np.testing.assert_array_equal(np.asarray(labels), theirs[1])


WHOLE = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=1, max_size=40).map(lambda p: np.array(p, np.int32))  # fmt: skip
GRID = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20).map(lambda p: np.array(p, np.int32))  # fmt: skip
REAL = st.lists(st.tuples(st.floats(-90, 90, width=32), st.floats(-90, 90, width=32)), min_size=1, max_size=30).map(lambda p: np.array(p, np.float32))  # fmt: skip
POINTS = st.one_of(WHOLE, GRID, REAL)
CURVES = st.one_of(WHOLE, REAL)


@given(st.one_of(WHOLE, GRID), st.booleans(), st.booleans())
@settings(max_examples=400)
def test_convex_hull_of_integers(points, clockwise, as_points):
    theirs = cv2.convexHull(points, clockwise=clockwise, returnPoints=as_points)
    np.testing.assert_array_equal(np.asarray(cv.convexHull(points, clockwise, as_points)), theirs)


@given(st.integers(0, 1 << 32), st.integers(1, 200), st.booleans())
@settings(max_examples=200)
def test_convex_hull_of_floats(seed, count, clockwise):
    points = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    theirs = cv2.convexHull(points, clockwise=clockwise)
    np.testing.assert_array_equal(np.asarray(cv.convexHull(points, clockwise)), theirs)


@given(POINTS, st.booleans())
def test_area_and_length(points, flag):
    area, scale = cv2.contourArea(points, flag), float(np.abs(points).max() ** 2 + 1)
    assert cv.contourArea(points, flag) == pytest.approx(area, abs=1e-12 * scale)
    assert cv.arcLength(points, flag) == pytest.approx(cv2.arcLength(points, flag), rel=1e-6)


@given(st.one_of(WHOLE, GRID, WHOLE.map(lambda p: cv2.convexHull(p)[:, 0])))
def test_is_contour_convex(points):
    assert cv.isContourConvex(points) == cv2.isContourConvex(points)


@given(POINTS)
def test_bounding_rect(points):
    assert cv.boundingRect(points) == cv2.boundingRect(points)


@given(BITS)
def test_bounding_rect_of_a_mask(picture):
    assert cv.boundingRect(picture) == cv2.boundingRect(picture)


@given(CURVES, st.floats(0, 40), st.booleans())
@settings(max_examples=300)
def test_approx_poly(points, epsilon, closed):
    theirs = cv2.approxPolyDP(points, epsilon, closed)
    np.testing.assert_array_equal(np.asarray(cv.approxPolyDP(points, epsilon, closed)), theirs)


@given(pictures(), st.floats(0, 6), METHODS)
def test_approx_poly_of_contours(picture, epsilon, method):
    for contour in cv2.findContours(picture, cv2.RETR_LIST, method)[0]:
        theirs = cv2.approxPolyDP(contour, epsilon, True)
        np.testing.assert_array_equal(np.asarray(cv.approxPolyDP(contour, epsilon, True)), theirs)


@given(POINTS)
@settings(max_examples=200)
def test_min_area_rect(points):
    """Of several rectangles with the least area either may be taken: area, and that they hold the points, are compared."""
    (x, y), (width, height), angle = cv.minAreaRect(points)
    _, theirs, _ = cv2.minAreaRect(points)
    scale = float(np.abs(points).max()) + 1
    assert width * height <= theirs[0] * theirs[1] + 2e-4 * scale * scale
    assert -90 <= angle < 0
    turned = np.deg2rad(angle)
    along = (points - [x, y]) @ [np.cos(turned), np.sin(turned)]
    across = (points - [x, y]) @ [-np.sin(turned), np.cos(turned)]
    assert np.abs(along).max() <= width / 2 + 1e-6 * scale
    assert np.abs(across).max() <= height / 2 + 1e-6 * scale


@given(st.integers(0, 1 << 32), st.integers(6, 40))
def test_min_area_rect_of_points_in_general_position(seed, count):
    points = np.random.default_rng(seed).normal(0, 50, (count, 2)).astype(np.float32)
    hull = cv2.convexHull(points)[:, 0].astype(float)
    side = np.roll(hull, -1, 0) - hull
    side /= np.linalg.norm(side, axis=1)[:, None]
    spans = [np.ptp(hull @ s) * np.ptp(hull @ [-s[1], s[0]]) for s in side]
    assume(np.sort(spans)[1] > np.min(spans) * 1.001)  # sides of an acute triangle give the same area
    theirs, mine = cv2.minAreaRect(points), cv.minAreaRect(points)
    assert mine[1][0] * mine[1][1] == pytest.approx(theirs[1][0] * theirs[1][1], rel=1e-4)
    for a, b in zip((*mine[0], *mine[1], mine[2]), (*theirs[0], *theirs[1], theirs[2]), strict=True):
        assert a == pytest.approx(b, abs=5e-3)


@given(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), st.tuples(st.floats(0, 50), st.floats(0, 50)), st.floats(-180, 180))  # fmt: skip
def test_box_points(centre, size, angle):
    theirs = cv2.boxPoints((centre, size, angle))
    np.testing.assert_allclose(np.asarray(cv.boxPoints((centre, size, angle))), theirs, atol=2e-5)


@given(POINTS)
def test_min_enclosing_circle(points):
    (x, y), radius = cv.minEnclosingCircle(points)
    _, theirs = cv2.minEnclosingCircle(points)
    assert radius <= theirs + 1e-3
    assert np.hypot(*(points.astype(np.float64) - [x, y]).T).max() <= radius + 1e-9


@given(
    CURVES,
    st.tuples(st.floats(-60, 60, width=32), st.floats(-60, 60, width=32)),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=300)
def test_point_polygon(points, at, whole, measure):
    at = tuple(float(round(v)) for v in at) if whole else at
    theirs = cv2.pointPolygonTest(points, at, measure)
    assert cv.pointPolygonTest(points, at, measure) == pytest.approx(theirs, rel=1e-6, abs=2e-5)


@given(st.one_of(WHOLE, REAL))
def test_moments_of_polygons(points):
    theirs, mine = cv2.moments(points), cv.moments(points)
    assert mine.keys() == theirs.keys()
    scale = float(np.abs(points).max()) + 1
    for name in ("m00", "m10", "m01", "m20", "m11", "m02", "m30", "m21", "m12", "m03"):
        order = 2 + int(name[1]) + int(name[2])
        assert mine[name] == pytest.approx(theirs[name], rel=1e-9, abs=1e-11 * scale**order)


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(st.integers(1, 40), st.integers(1, 40))), st.booleans())  # fmt: skip
def test_moments_of_images(image, binary):
    theirs, mine = cv2.moments(image, binary), cv.moments(image, binary)
    for name, value in theirs.items():
        if name.startswith("m") and not name.startswith("mu"):
            assert mine[name] == pytest.approx(value, rel=1e-12)
        elif name.startswith("mu"):
            assert mine[name] == pytest.approx(value, rel=1e-6, abs=1e-8 * (1 + theirs["m00"]) * 40.0 ** (int(name[2]) + int(name[3])))  # fmt: skip


@given(st.integers(0, 1 << 32), st.integers(3, 60), st.sampled_from([2, 3]))
def test_fit_line(seed, count, size):
    random = np.random.default_rng(seed)
    direction = random.normal(size=size)
    direction /= np.linalg.norm(direction)
    points = (random.normal(0, 30, (count, 1)) * direction + random.normal(0, 0.5, (count, size)) + 5).astype(
        np.float32
    )
    theirs = cv2.fitLine(points, cv2.DIST_L2, 0, 0.01, 0.01).ravel()
    mine = np.asarray(cv.fitLine(points, cv.DIST_L2, 0, 0.01, 0.01)).ravel()
    assert abs(theirs[:size] @ mine[:size]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mine[size:], theirs[size:], atol=1e-3)


LOSSES = {
    cv.DIST_L1: np.abs,
    cv.DIST_L12: lambda d: 2 * (np.sqrt(1 + d * d / 2) - 1),
    cv.DIST_FAIR: lambda d: 1.3998**2 * (d / 1.3998 - np.log1p(d / 1.3998)),
    cv.DIST_WELSCH: lambda d: 2.9846**2 / 2 * (1 - np.exp(-((d / 2.9846) ** 2))),
    cv.DIST_HUBER: lambda d: np.where(d < 1.345, d * d / 2, 1.345 * (d - 1.345 / 2)),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_outliers_do_not_move_a_robust_line(kind):
    """OpenCV takes the best of some random beginnings; here the loss is as small as there, or smaller."""
    random = np.random.default_rng(3)
    x = random.uniform(0, 100, 200)
    points = np.stack([x, 0.5 * x + 7 + random.normal(0, 0.1, 200)], 1).astype(np.float32)
    points[:12, 1] += random.uniform(5, 20, 12)

    def loss(line):
        dx, dy, x0, y0 = np.asarray(line).ravel().astype(float)
        return LOSSES[kind](np.abs((points[:, 0] - x0) * dy - (points[:, 1] - y0) * dx)).sum()

    mine = cv.fitLine(points, kind, 0, 0.01, 0.01)
    assert loss(mine) <= loss(cv2.fitLine(points, kind, 0, 0.01, 0.01)) * 1.001
    assert np.asarray(mine)[1] / np.asarray(mine)[0] == pytest.approx(0.5, abs=0.01)


def test_results_are_tensors_and_lists_are_taken():
    hull = cv.convexHull([[0, 0], [4, 0], [2, 1], [4, 4], [0, 4]])
    assert isinstance(hull, Tensor)
    assert (hull.dtype, hull.shape) == ("int32", (4, 1, 2))
    assert cv.contourArea([[0, 0], [4, 0], [4, 4], [0, 4]]) == 16
    assert cv.minEnclosingCircle([[0.0, 0.0], [2.0, 0.0]])[0] == (1, 0)


@pytest.mark.parametrize("shape", [(0, 2), (0, 1, 2)])
def test_no_points(shape):
    nothing = np.zeros(shape, np.int32)
    assert np.asarray(cv.convexHull(nothing)).size == 0
    assert np.asarray(cv.approxPolyDP(nothing, 1, True)).size == 0
    assert cv.contourArea(nothing) == cv.arcLength(nothing, True) == 0
    assert cv.boundingRect(nothing) == (0, 0, 0, 0)
    assert cv.minEnclosingCircle(nothing)[1] == 0
    assert cv.minAreaRect(nothing)[1] == (0, 0)
    assert cv.moments(nothing)["m00"] == 0
    assert not cv.isContourConvex(nothing)
    assert cv.pointPolygonTest(nothing, (1, 1), False) == -1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: cv.findContours(np.zeros((3, 3), np.float32), 0, 1), InputError),
        (lambda: cv.findContours(np.zeros((3, 3, 3), np.uint8), 0, 1), InputError),
        (lambda: cv.findContours(np.zeros((3, 3), np.uint8), 4, 1), UnsupportedError),
        (lambda: cv.findContours(np.zeros((3, 3), np.uint8), 0, 3), UnsupportedError),
        (lambda: cv.connectedComponents(np.zeros((3, 3), np.uint8), 6), InputError),
        (lambda: cv.connectedComponents(np.zeros((3, 3), np.uint8), 8, 5), InputError),
        (lambda: cv.contourArea(np.zeros((3, 3), np.int32)), InputError),
        (lambda: cv.contourArea(np.zeros((3, 2), np.complex64)), InputError),
        (lambda: cv.approxPolyDP(np.zeros((3, 2), np.int32), -1, True), InputError),
        (lambda: cv.approxPolyDP(np.zeros((3, 2), np.int32), float("nan"), True), InputError),
        (lambda: cv.fitLine(np.zeros((3, 4), np.float32), 2, 0, 0.01, 0.01), InputError),
        (lambda: cv.fitLine(np.zeros((3, 2), np.float32), 3, 0, 0.01, 0.01), InputError),
        (lambda: cv.contourArea([[1, 2], [3]]), InputError),
    ],
)
def test_what_cannot_be_done_is_refused(call, error):
    with pytest.raises(error):
        call()
