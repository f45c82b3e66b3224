"""Structural analysis: contours of binary images, what is measured on them, and connected components.

Points are int32 or float32, N × 2, N × 1 × 2 or 1 × N × 2; contours come as Tensors N × 1 × 2.
"""

from __future__ import annotations

import math
from typing import Any

from walle_core._native.tensor import Tensor
from walle_core.cv import _structure as kernels
from walle_core.cv.points import as_image, as_numbers, as_points, pair
from walle_core.errors import InputError, UnsupportedError

__all__ = [
    "CC_STAT_AREA",
    "CC_STAT_HEIGHT",
    "CC_STAT_LEFT",
    "CC_STAT_TOP",
    "CC_STAT_WIDTH",
    "CHAIN_APPROX_NONE",
    "CHAIN_APPROX_SIMPLE",
    "CV_16U",
    "CV_32S",
    "DIST_FAIR",
    "DIST_HUBER",
    "DIST_L1",
    "DIST_L2",
    "DIST_L12",
    "DIST_WELSCH",
    "RETR_CCOMP",
    "RETR_EXTERNAL",
    "RETR_LIST",
    "RETR_TREE",
    "approxPolyDP",
    "arcLength",
    "boundingRect",
    "boxPoints",
    "connectedComponents",
    "connectedComponentsWithStats",
    "contourArea",
    "convexHull",
    "findContours",
    "fitLine",
    "isContourConvex",
    "minAreaRect",
    "minEnclosingCircle",
    "moments",
    "pointPolygonTest",
]  # fmt: skip

RETR_EXTERNAL, RETR_LIST, RETR_CCOMP, RETR_TREE = range(4)
CHAIN_APPROX_NONE, CHAIN_APPROX_SIMPLE = 1, 2
DIST_L1, DIST_L2, DIST_L12, DIST_FAIR, DIST_WELSCH, DIST_HUBER = 1, 2, 4, 5, 6, 7
CC_STAT_LEFT, CC_STAT_TOP, CC_STAT_WIDTH, CC_STAT_HEIGHT, CC_STAT_AREA = range(5)
CV_16U, CV_32S = 2, 4
CIRCLE_MARGIN = 1e-4  # minEnclosingCircle is larger by this, so that its points are inside

Box = tuple[tuple[float, float], tuple[float, float], float]


def findContours(
    image: Any, mode: int, method: int, offset: Any = (0, 0)
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Borders of the parts of an image that are not 0, by Suzuki and Abe (1985).

    Args:
        image: uint8, H × W.
        mode: RETR_EXTERNAL (outer borders that nothing surrounds), RETR_LIST (all, no tree), RETR_CCOMP (two levels:
            parts and their holes) or RETR_TREE.
        method: CHAIN_APPROX_NONE (every pixel of the border) or CHAIN_APPROX_SIMPLE (where its direction changes).
        offset: added to every point.

    Returns:
        The contours, int32 N × 1 × 2 each, and their hierarchy, int32 1 × contours × 4: next and previous of the same
        parent, first child, parent; -1 where there is none. None if there are no contours.

    Raises:
        InputError: another dtype or shape, a mode that is not known.
        UnsupportedError: RETR_FLOODFILL, chain codes or the approximations of Teh and Chin.
    """
    picture = as_image(image, "image", ("uint8", "bool", "int8"))
    if mode not in range(4):
        raise UnsupportedError(
            f"mode {mode} is not there; use RETR_EXTERNAL, RETR_LIST, RETR_CCOMP or RETR_TREE"
        )
    if method not in (CHAIN_APPROX_NONE, CHAIN_APPROX_SIMPLE):
        raise UnsupportedError(f"method {method} is not there; use CHAIN_APPROX_NONE or CHAIN_APPROX_SIMPLE")
    found, tree = kernels.borders(picture, mode, method == CHAIN_APPROX_NONE, *pair(offset, "offset"))
    return tuple(found), tree


def contourArea(contour: Any, oriented: bool = False) -> float:
    """Area of a polygon; with its sign (positive: clockwise in a picture) if `oriented`."""
    area = kernels.area(as_points(contour, "contour"))
    return area if oriented else abs(area)


def arcLength(curve: Any, closed: bool) -> float:
    """Length of a curve, with the way from its last point to the first if it is closed."""
    return kernels.length(as_points(curve, "curve"), closed)


def approxPolyDP(curve: Any, epsilon: float, closed: bool) -> Tensor:
    """A curve with fewer corners no farther than `epsilon` from it (Ramer, Douglas and Peucker). N × 1 × 2.

    Raises InputError for an epsilon that is negative, not finite or 1e30 and more.
    """
    points = as_points(curve, "curve")
    if not 0 <= epsilon < 1e30:
        raise InputError(f"epsilon is {epsilon}; it must be at least 0 and less than 1e30")
    return kernels.simplify(points, epsilon, closed) if points.size else Tensor((0, 1, 2), points.dtype)


def convexHull(points: Any, clockwise: bool = False, returnPoints: bool = True) -> Tensor:
    """Corners of the convex hull (Sklansky, 1982): points N × 1 × 2, or their indices, int32 N × 1.

    The order is counter-clockwise with y pointing up, that is clockwise on a screen, unless `clockwise`.
    """
    given = as_points(points)
    indices = kernels.hull(given, clockwise, returnPoints) if given.size else []
    if not returnPoints:
        return Tensor.of([[i] for i in indices], "int32") if indices else Tensor((0, 1), "int32")
    return _picked(given, indices)


def _picked(points: Tensor, indices: list[int]) -> Tensor:
    rows, width = points.tobytes(), 8
    data = b"".join(rows[width * i : width * (i + 1)] for i in indices)
    return Tensor.wrap(bytearray(data), points.dtype, (len(indices), 1, 2)).copy()


def isContourConvex(contour: Any) -> bool:
    """Whether a polygon without self-intersections bends one way only, without straight corners."""
    points = as_points(contour, "contour")
    return bool(points.size) and kernels.convex(points)


def boundingRect(array: Any) -> tuple[int, int, int, int]:
    """x, y, width, height of points or, for a uint8 image, of its pixels that are not 0."""
    if not isinstance(array, (list, tuple)):
        image = array if isinstance(array, Tensor) else Tensor.wrap(array)
        if image.dtype in ("uint8", "int8", "bool") and image.ndim == 2:
            return _nonzero(as_image(image, "array", (image.dtype,)))
    points = as_points(array, "array").tolist()
    if not points:
        return 0, 0, 0, 0
    x0, y0 = (math.floor(min(p[i] for p in points)) for i in (0, 1))
    x1, y1 = (math.floor(max(p[i] for p in points)) for i in (0, 1))
    return x0, y0, x1 - x0 + 1, y1 - y0 + 1


def _nonzero(image: Tensor) -> tuple[int, int, int, int]:
    height, width = image.shape
    data = image.tobytes()
    rows = [data[y * width : (y + 1) * width] for y in range(height)]
    filled = [(y, row) for y, row in enumerate(rows) if row.strip(b"\0")]
    if not filled:
        return 0, 0, 0, 0
    x0 = min(width - len(row.lstrip(b"\0")) for _, row in filled)
    x1 = max(len(row.rstrip(b"\0")) for _, row in filled)
    return x0, filled[0][0], x1 - x0, filled[-1][0] - filled[0][0] + 1


def minAreaRect(points: Any) -> Box:
    """The rectangle of least area around points: ((x, y), (width, height), angle), angle in degrees within [-90, 0)."""
    given = as_points(points)
    if not given.size:
        return (0.0, 0.0), (0.0, 0.0), 0.0
    corners = _picked(given, kernels.hull(given, False, True))
    x, y, width, height, angle = kernels.rectangle(corners.reshape(corners.shape[0], 2))
    return (x, y), (width, height), angle


def boxPoints(box: Box) -> Tensor:
    """The corners of a box ((x, y), (width, height), angle): float32 4 × 2."""
    (x, y), (width, height), angle = box
    c, s = math.cos(math.radians(angle)) / 2, math.sin(math.radians(angle)) / 2
    one = x - s * height - c * width, y + c * height - s * width
    two = x + s * height - c * width, y - c * height - s * width
    opposite = [(2 * x - a, 2 * y - b) for a, b in (one, two)]
    return Tensor.of([[float(a), float(b)] for a, b in (one, two, *opposite)], "float32")


def minEnclosingCircle(points: Any) -> tuple[tuple[float, float], float]:
    """((x, y), radius) of the least circle around points (Welzl, 1991)."""
    given = as_points(points)
    if not given.size:
        return (0.0, 0.0), 0.0
    x, y, radius = kernels.circle(given)
    return (x, y), radius + CIRCLE_MARGIN


def pointPolygonTest(contour: Any, pt: tuple[float, float], measureDist: bool) -> float:
    """Positive if `pt` is inside, negative outside, 0 on the edge: its distance to the edge, or else 1 or -1."""
    x, y = (float(v) for v in pt)
    return float(kernels.position(as_points(contour, "contour"), x, y, measureDist))


def fitLine(points: Any, distType: int, param: float, reps: float, aeps: float) -> Tensor:
    """The line nearest to points of 2 or 3 coordinates: float32 4 × 1 or 6 × 1, its direction and a point on it.

    Args:
        points: N × 2 or N × 3, or with a 1 in between.
        distType: DIST_L2 (least squares), or a distance that outliers count less in, by reweighting.
        param: of DIST_FAIR, DIST_WELSCH and DIST_HUBER; 0 takes the usual one.
        reps, aeps: how exact the point and the angle are when reweighting ends.
    """
    given = as_numbers(points, "points")
    size = given.shape[-1] if given.shape else 0
    if size not in (2, 3) or not given.size or given.size // size != max(given.shape[:-1], default=1):
        raise InputError(f"points have shape {given.shape}; they must be N x 2 or N x 3")
    if distType not in (DIST_L1, DIST_L2, DIST_L12, DIST_FAIR, DIST_WELSCH, DIST_HUBER):
        raise InputError(f"distType {distType} is not known; use DIST_L2 or another DIST_ constant")
    found = kernels.fit_line(
        given.reshape(given.size // size, size), distType, param, reps or 1.0, aeps or 0.01
    )
    return Tensor.of([[v] for v in found], "float32")


def moments(array: Any, binaryImage: bool = False) -> dict[str, float]:
    """Moments up to the third order of a polygon, or of a uint8, uint16, float32 or float64 image H × W.

    Returns:
        m00 ... m03, central ones mu20 ... mu03 and normalised ones nu20 ... nu03. int32 and float32 N × 2, N × 1 × 2 and
        1 × N × 2 are polygons.
    """
    given = array if isinstance(array, (Tensor, list, tuple)) else Tensor.wrap(array)
    polygon = isinstance(given, (list, tuple)) or (
        given.dtype in ("int32", "float32")
        and given.shape[-1] == 2
        and (given.ndim == 2 or 1 in given.shape[:2])
    )
    if polygon:
        raw = kernels.raw_moments(as_points(given, "array"))
    else:
        raw = kernels.raw_image_moments(
            as_image(given, "array", ("uint8", "uint16", "float32", "float64")), binaryImage
        )
    return _with_central(
        dict(zip(("m00", "m10", "m01", "m20", "m11", "m02", "m30", "m21", "m12", "m03"), raw, strict=True))
    )


def _with_central(m: dict[str, float]) -> dict[str, float]:
    solid = abs(m["m00"]) > 2.220446049250313e-16
    inverse = 1 / m["m00"] if solid else 0.0
    cx, cy = m["m10"] * inverse, m["m01"] * inverse
    mu20, mu11, mu02 = m["m20"] - m["m10"] * cx, m["m11"] - m["m10"] * cy, m["m02"] - m["m01"] * cy
    mu = {
        "mu20": mu20, "mu11": mu11, "mu02": mu02,
        "mu30": m["m30"] - cx * (3 * mu20 + cx * m["m10"]),
        "mu21": m["m21"] - cx * (2 * mu11 + cx * m["m01"]) - cy * mu20,
        "mu12": m["m12"] - cy * (2 * mu11 + cy * m["m10"]) - cx * mu02,
        "mu03": m["m03"] - cy * (3 * mu02 + cy * m["m01"]),
    }  # fmt: skip
    second = inverse * inverse
    third = second * math.sqrt(abs(inverse))
    nu = {f"n{k[1:]}": v * (second if k in ("mu20", "mu11", "mu02") else third) for k, v in mu.items()}
    return {**m, **mu, **nu}


def connectedComponents(image: Any, connectivity: int = 8, ltype: int = CV_32S) -> tuple[int, Tensor]:
    """(number of labels, label of every pixel); 0 is the background and counts. `image` is uint8 H × W.

    Args:
        image: what is not 0 belongs to a component.
        connectivity: 4 or 8 neighbours.
        ltype: CV_32S (int32 labels) or CV_16U (uint16; InputError if they do not fit).
    """
    if connectivity not in (4, 8):
        raise InputError(f"connectivity is {connectivity}; it must be 4 or 8")
    count, labels = kernels.components(as_image(image, "image", ("uint8", "int8", "bool")), connectivity)
    return count, _labels(labels, count, ltype)


def _labels(labels: Tensor, count: int, ltype: int) -> Tensor:
    if ltype not in (CV_32S, CV_16U) or (ltype == CV_16U and count > 65536):
        raise InputError(f"{count} labels do not fit ltype {ltype}; use CV_32S")
    return labels if ltype == CV_32S else Tensor.of(labels, "uint16")


def connectedComponentsWithStats(
    image: Any, connectivity: int = 8, ltype: int = CV_32S
) -> tuple[int, Tensor, Tensor, Tensor]:
    """`connectedComponents`, and per label: left, top, width, height, area (int32 N × 5), and its centre (float64 N × 2)."""
    count, labels = connectedComponents(image, connectivity)
    stats, centroids = kernels.component_stats(labels, count)
    return count, _labels(labels, count, ltype), stats, centroids
