"""Histograms, linear systems, rotations and poses against OpenCV."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from walle_core import cv
from walle_core.errors import InputError, UnsupportedError

SIZE = st.tuples(st.integers(1, 30), st.integers(1, 30))
SEEDS = st.integers(0, 1 << 32)


@given(SEEDS, SIZE, st.sampled_from([np.uint8, np.uint16, np.float32]), st.integers(1, 3), st.data())
@settings(max_examples=200)
def test_calc_hist(seed, size, dtype, dimensions, data):
    random = np.random.default_rng(seed)
    images = [random.integers(0, 256, (*size, c)).astype(dtype) for c in data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))]  # fmt: skip
    if dtype == np.float32:
        images = [i + np.float32(0.25) for i in images]
    total = sum(i.shape[2] for i in images)
    channels = data.draw(st.lists(st.integers(0, total - 1), min_size=dimensions, max_size=dimensions))
    bins = data.draw(st.lists(st.integers(1, 40), min_size=dimensions, max_size=dimensions))
    ranges = []
    for _ in range(dimensions):
        low = data.draw(st.integers(-20, 200))
        ranges += [low, low + data.draw(st.integers(1, 300))]
    mask = data.draw(st.one_of(st.none(), hnp.arrays(np.uint8, size, elements=st.integers(0, 2))))
    theirs = cv2.calcHist(images, channels, mask, bins, ranges)
    mine = np.asarray(cv.calcHist(images, channels, mask, bins, ranges))
    assert mine.shape == theirs.shape
    np.testing.assert_array_equal(mine, theirs)


def test_histograms_accumulate():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4)
    first = cv.calcHist([image], [0], None, [4], [0, 16])
    assert cv.calcHist([image], [0], None, [4], [0, 16], first, accumulate=True).tolist() == [8, 8, 8, 8]
    assert first.tolist() == [4, 4, 4, 4]
    assert cv.calcHist([image], [0], None, [2], []).tolist() == [16, 0]


@given(hnp.arrays(np.uint8, SIZE))
def test_equalize_hist(image):
    np.testing.assert_array_equal(np.asarray(cv.equalizeHist(image)), cv2.equalizeHist(image))


@given(hnp.arrays(np.uint8, SIZE, elements=st.integers(90, 110)))
def test_equalize_hist_of_a_flat_picture(image):
    np.testing.assert_array_equal(np.asarray(cv.equalizeHist(image)), cv2.equalizeHist(image))


METHODS = [cv.DECOMP_LU, cv.DECOMP_SVD, cv.DECOMP_EIG, cv.DECOMP_CHOLESKY, cv.DECOMP_QR]


@given(SEEDS, st.integers(1, 8), st.integers(0, 4), st.integers(1, 3), st.sampled_from(METHODS), st.booleans(), st.sampled_from([np.float32, np.float64]))  # fmt: skip
def test_solve(seed, n, more, columns, method, normal, dtype):
    random = np.random.default_rng(seed)
    tall = method in (cv.DECOMP_SVD, cv.DECOMP_QR) or normal
    if normal and method in (cv.DECOMP_EIG, cv.DECOMP_CHOLESKY):
        more += 1  # of a square matrix OpenCV ignores DECOMP_NORMAL
    a = random.normal(size=(n + (more if tall else 0), n)).astype(dtype)
    a = 0.4 * a
    a[:n] += 4 * np.eye(n, dtype=dtype)
    if method in (cv.DECOMP_EIG, cv.DECOMP_CHOLESKY) and not normal:
        a = a.T @ a
    b = random.normal(size=(len(a), columns)).astype(dtype)
    flags = method | (cv.DECOMP_NORMAL if normal else 0)
    done, theirs = cv2.solve(a, b, flags=flags)
    mine = cv.solve(a, b, flags)
    assert mine[0] == done
    assert np.asarray(mine[1]).dtype == dtype
    tolerance = 5e-3 if dtype == np.float32 else 1e-8
    np.testing.assert_allclose(np.asarray(mine[1]), theirs, rtol=tolerance, atol=tolerance)


def test_singular_systems():
    a, b = np.array([[1.0, 2], [2, 4]]), np.ones((2, 1))
    done, x = cv.solve(a, b)
    assert (done, x.tolist()) == (False, [[0], [0]])
    assert cv2.solve(a, b)[0] is False
    assert cv.solve(a, b, cv.DECOMP_CHOLESKY)[0] is False
    assert cv.solve(a, b, cv.DECOMP_QR)[0] is False
    np.testing.assert_allclose(
        np.asarray(cv.solve(a, b, cv.DECOMP_SVD)[1]), cv2.solve(a, b, flags=cv2.DECOMP_SVD)[1], atol=1e-12
    )


VECTORS = hnp.arrays(np.float64, 3, elements=st.floats(-3, 3))


@given(VECTORS)
def test_rodrigues_of_vectors(r):
    matrix, jacobian = (np.asarray(t) for t in cv.Rodrigues(r))
    theirs, their_jacobian = cv2.Rodrigues(r)
    np.testing.assert_allclose(matrix, theirs, atol=1e-12)
    np.testing.assert_allclose(jacobian, their_jacobian, atol=1e-9)


@given(SEEDS, st.floats(0.01, 3.1), st.floats(0, 0.05))
def test_rodrigues_of_matrices(seed, angle, noise):
    random = np.random.default_rng(seed)
    axis = random.normal(size=3)
    matrix = cv2.Rodrigues(axis / np.linalg.norm(axis) * angle)[0] + random.normal(size=(3, 3)) * noise * min(
        angle, 3.1 - angle
    )
    r, jacobian = (np.asarray(t) for t in cv.Rodrigues(matrix))
    theirs, their_jacobian = cv2.Rodrigues(matrix)
    np.testing.assert_allclose(r, theirs, atol=1e-7)
    if noise == 0:
        np.testing.assert_allclose(jacobian, their_jacobian, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "turn", [np.eye(3), np.diag([1.0, -1, -1]), np.diag([-1.0, -1, 1]), np.diag([-1.0, 1, -1])]
)
def test_rodrigues_of_half_turns(turn):
    np.testing.assert_allclose(np.asarray(cv.Rodrigues(turn)[0]), cv2.Rodrigues(turn)[0], atol=1e-12)


BENT = [None, [0.1, -0.05, 0.002, -0.001], [0.1, -0.05, 0.002, -0.001, 0.01], [0.1, -0.05, 0.002, -0.001, 0.01, 0.05, 0.02, 0.01]]  # fmt: skip


@given(
    SEEDS, st.integers(6, 40), st.booleans(), st.sampled_from(BENT), st.sampled_from([0, 0.5]), st.booleans()
)
@settings(max_examples=150)
def test_solve_pnp(seed, count, plane, bent, noise, guess):
    random = np.random.default_rng(seed)
    points = random.uniform(-1, 1, (count, 3)) * ([1, 1, 0] if plane else [1, 1, 1])
    rvec, tvec = random.uniform(-0.8, 0.8, 3), random.uniform((-0.5, -0.5, 4.5), (0.5, 0.5, 5.5))
    camera = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    bent = None if bent is None else np.array(bent)
    seen = (
        cv2.projectPoints(points, rvec, tvec, camera, bent)[0][:, 0] + random.normal(size=(count, 2)) * noise
    )
    first = {"rvec": rvec.reshape(3, 1) + 0.05, "tvec": tvec.reshape(3, 1) + 0.05, "useExtrinsicGuess": True} if guess else {}  # fmt: skip
    done, r, t = cv.solvePnP(points, seen, camera, bent, **first)
    assert done
    pose = np.asarray(r).ravel(), np.asarray(t).ravel()
    if not noise:
        np.testing.assert_allclose(np.concatenate(pose), np.concatenate([rvec, tvec]), atol=1e-5)
    error = np.linalg.norm(cv2.projectPoints(points, *pose, camera, bent)[0][:, 0] - seen)
    _, r2, t2 = cv2.solvePnP(
        points, seen, camera, bent, **{k: v if v is True else v.copy() for k, v in first.items()}
    )
    assert error <= np.linalg.norm(cv2.projectPoints(points, r2, t2, camera, bent)[0][:, 0] - seen) + 1e-4


def test_four_points_in_a_plane_tell_the_pose():
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    camera = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    seen = cv2.projectPoints(corners, np.array([0.3, -0.2, 0.1]), np.array([0.1, 0.2, 4.0]), camera, None)[0]
    _, r, t = cv.solvePnP(corners, seen, camera, None)
    np.testing.assert_allclose(np.asarray(r).ravel(), [0.3, -0.2, 0.1], atol=1e-6)
    np.testing.assert_allclose(np.asarray(t).ravel(), [0.1, 0.2, 4.0], atol=1e-6)


GREY = np.zeros((4, 4), np.uint8)
CAMERA = np.eye(3)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: cv.calcHist([], [0], None, [4], [0, 4]), InputError),
        (lambda: cv.calcHist([GREY, GREY[:2]], [0], None, [4], [0, 4]), InputError),
        (lambda: cv.calcHist([GREY], [1], None, [4], [0, 4]), InputError),
        (lambda: cv.calcHist([GREY], [0], GREY[:2], [4], [0, 4]), InputError),
        (lambda: cv.calcHist([GREY], [0], None, [4], [4, 4]), InputError),
        (lambda: cv.calcHist([GREY], [0], None, [1 << 30], [0, 4]), InputError),
        (lambda: cv.calcHist([GREY], [0], None, [0], [0, 4]), InputError),
        (lambda: cv.calcHist([GREY], [0, 0], None, [4], [0, 4]), InputError),
        (lambda: cv.equalizeHist(GREY.astype(np.float32)), InputError),
        (lambda: cv.solve(np.ones((2, 3)), np.ones((2, 1))), InputError),
        (lambda: cv.solve(np.ones((3, 2)), np.ones((3, 1))), InputError),
        (lambda: cv.solve(np.ones((2, 2)), np.ones((3, 1))), InputError),
        (lambda: cv.solve(np.ones((2, 2)), np.ones((2, 1)), 9), InputError),
        (lambda: cv.Rodrigues(np.ones(4)), InputError),
        (lambda: cv.solvePnP(np.ones((2, 3)), np.ones((2, 2)), CAMERA, None), InputError),
        (
            lambda: cv.solvePnP(np.random.default_rng(0).normal(size=(5, 3)), np.ones((5, 2)), CAMERA, None),
            InputError,
        ),
        (lambda: cv.solvePnP(np.ones((6, 3)), np.ones((5, 2)), CAMERA, None), InputError),
        (lambda: cv.solvePnP(np.ones((6, 3)), np.ones((6, 2)), np.eye(2), None), InputError),
        (lambda: cv.solvePnP(np.ones((6, 3)), np.ones((6, 2)), CAMERA, np.ones(12)), UnsupportedError),
        (lambda: cv.solvePnP(np.ones((6, 3)), np.ones((6, 2)), CAMERA, None, flags=1), UnsupportedError),
    ],
)
def test_what_cannot_be_done_is_refused(call, error):
    with pytest.raises(error):
        call()
