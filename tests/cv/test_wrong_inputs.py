"""What is no picture, no point and no number is refused: no call hangs, ends the process or reads a descriptor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from walle_core import cv
from walle_core.errors import InputError, StoppedError
from walle_core.vm._interpreter import Stop

NAN = np.full((4, 1, 2), np.nan, np.float32)
INFINITE = np.array([[0, 0], [np.inf, 1], [3, 4]], np.float32)
OF_POINTS: dict[str, Callable[[np.ndarray], object]] = {
    "approxPolyDP": lambda p: cv.approxPolyDP(p, 1.0, True),
    "arcLength": lambda p: cv.arcLength(p, True),
    "boundingRect": cv.boundingRect,
    "contourArea": cv.contourArea,
    "convexHull": cv.convexHull,
    "isContourConvex": cv.isContourConvex,
    "minAreaRect": cv.minAreaRect,
    "minEnclosingCircle": cv.minEnclosingCircle,
    "moments": cv.moments,
    "pointPolygonTest": lambda p: cv.pointPolygonTest(p, (1.0, 2.0), True),
}


@pytest.mark.parametrize("name", OF_POINTS)
def test_points_that_are_not_finite_are_refused(name: str) -> None:
    for points in (NAN, INFINITE):
        with pytest.raises(InputError, match="not finite"):
            OF_POINTS[name](points)


def test_polygons_from_end_to_end_of_int32_can_be_stopped() -> None:
    image = np.zeros((50, 50), np.uint8)
    far = np.array([[2**31 - 1, -(2**31)], [-(2**31), 2**31 - 1], [0, 2**31 - 1], [5, 5]], np.int32)
    stop = Stop()
    stop.begin()
    stop.ask()
    try:
        for call in (lambda: cv.fillPoly(image, [far], 255), lambda: cv.fillConvexPoly(image, far, 255)):
            with pytest.raises(StoppedError):
                call()
    finally:
        stop.end()


@pytest.mark.parametrize(
    "call",
    [
        lambda: cv.getAffineTransform("text", (2, 3)),
        lambda: cv.getPerspectiveTransform("float32", 3),
        lambda: cv.filter2D(np.zeros((5, 5), np.uint8), -1, {}),
        lambda: cv.filter2D(np.zeros((5, 5), np.uint8), -1, "text"),
        lambda: cv.imencode(5, np.zeros((5, 5), np.uint8)),
        lambda: cv.imdecode(5, cv.IMREAD_COLOR),
    ],
)
def test_what_is_no_number_and_no_file_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        call()


def test_numbers_are_not_taken_for_files() -> None:
    for call in (cv.imread, cv.haveImageReader, cv.haveImageWriter):
        with pytest.raises(TypeError):
            call(0)


def test_an_image_of_more_pixels_than_memory_is_refused() -> None:
    header = b"P6\n60000 60000\n255\n"
    with pytest.raises(InputError, match="refused"):
        cv.imdecode(header + bytes(100), cv.IMREAD_COLOR)
