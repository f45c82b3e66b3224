"""Drawing into an image, with OpenCV's fixed-point lines, circles and fills: the same pixels.

All functions draw into `img` (H × W, or H × W × C with up to 4 channels; uint8, int8, uint16, int16, int32, float32 or
float64; writable and contiguous) and return it. A colour is a number or up to 4, in the image's channel order.
Coordinates are (x, y) and have `shift` fractional bits. `lineType` is LINE_8, LINE_4 or LINE_AA (antialiased, for
uint8 images with 1, 3 or 4 channels; LINE_8 is used elsewhere). A negative thickness (FILLED) fills.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from walle_core._native.tensor import Tensor
from walle_core.cv import _structure as kernels
from walle_core.cv.points import as_image, as_points, pair, raw_colour
from walle_core.errors import InputError

__all__ = [
    "FILLED", "LINE_4", "LINE_8", "LINE_AA", "arrowedLine", "circle", "clipLine", "drawContours", "ellipse",
    "fillConvexPoly", "fillPoly", "line", "polylines", "rectangle",
]  # fmt: skip

FILLED = -1
LINE_4, LINE_8, LINE_AA = 4, 8, 16
MAX_THICKNESS = 32767

T = TypeVar("T")
_DTYPES = ("uint8", "int8", "uint16", "int16", "int32", "float32", "float64")


class _Brush:
    """An image, a colour and a line type that fit each other."""

    def __init__(
        self, img: Any, color: Any, thickness: int, line: int, shift: int, *, fills: bool = False
    ) -> None:
        self.image = as_image(img, "img", _DTYPES, channels=4)
        channels = self.image.shape[2] if self.image.ndim == 3 else 1
        self.color = raw_colour(color, self.image.dtype, channels)
        if line not in (0, 1, LINE_4, LINE_8, LINE_AA):
            raise InputError(f"lineType is {line}; it must be LINE_4, LINE_8 or LINE_AA")
        self.line = LINE_8 if line == LINE_AA and self.image.dtype != "uint8" else line
        if thickness > MAX_THICKNESS or (thickness < 0 and not fills):
            least = "FILLED, or 0" if fills else "0"
            raise InputError(f"thickness is {thickness}; it must be {least} to {MAX_THICKNESS}")
        if not 0 <= shift <= 16:
            raise InputError(f"shift is {shift}; it must be 0 to 16")
        self.thickness, self.shift = int(thickness), int(shift)

    def fixed(self, value: int) -> int:
        """`value` with 16 fractional bits."""
        if abs(value) >= 1 << 31:
            raise InputError(f"coordinate {value} does not fit 32 bits")
        return value << (16 - self.shift)


def line(
    img: T, pt1: Any, pt2: Any, color: Any, thickness: int = 1, lineType: int = LINE_8, shift: int = 0
) -> T:
    """Draws the segment from `pt1` to `pt2`, with round ends if it is thick."""
    brush = _Brush(img, color, thickness, lineType, shift)
    if thickness < 1:
        raise InputError(f"thickness is {thickness}; a line has at least 1")
    ends = [pair(pt1, "pt1"), pair(pt2, "pt2")]
    for x, y in ends:
        brush.fixed(x), brush.fixed(y)
    kernels.draw_line(brush.image, brush.color, ends[0], ends[1], brush.thickness, brush.line, brush.shift)
    return img


def arrowedLine(
    img: T, pt1: Any, pt2: Any, color: Any, thickness: int = 1, line_type: int = LINE_8, shift: int = 0,
    tipLength: float = 0.1,
) -> T:  # fmt: skip
    """Draws an arrow from `pt1` to `pt2`; its tip is `tipLength` of its length."""
    (x1, y1), (x2, y2) = pair(pt1, "pt1"), pair(pt2, "pt2")
    size = math.hypot(x1 - x2, y1 - y2) * tipLength
    line(img, pt1, pt2, color, thickness, line_type, shift)
    angle = math.atan2(y1 - y2, x1 - x2)
    for turn in (math.pi / 4, -math.pi / 4):
        tip = round(x2 + size * math.cos(angle + turn)), round(y2 + size * math.sin(angle + turn))
        line(img, tip, pt2, color, thickness, line_type, shift)
    return img


def circle(
    img: T, center: Any, radius: int, color: Any, thickness: int = 1, lineType: int = LINE_8, shift: int = 0
) -> T:  # fmt: skip
    """Draws a circle or, with a negative thickness, a disc."""
    brush = _Brush(img, color, thickness, lineType, shift, fills=True)
    x, y = pair(center, "center")
    if radius < 0:
        raise InputError(f"radius is {radius}; it must not be negative")
    fx, fy, size = brush.fixed(x), brush.fixed(y), brush.fixed(int(radius))
    if thickness > 1 or brush.line != LINE_8 or shift > 0:
        kernels.draw_ellipse(
            brush.image, brush.color, (fx, fy), size, size, 0, 0, 360, brush.thickness, brush.line
        )
    else:
        kernels.draw_circle(brush.image, brush.color, x, y, int(radius), thickness < 0)
    return img


def ellipse(img: T, *args: Any, **kwargs: Any) -> T:
    """Draws an ellipse, an arc of one or, filled, a sector.

    ``ellipse(img, center, axes, angle, startAngle, endAngle, color, thickness=1, lineType=LINE_8, shift=0)`` takes half
    axes and angles in degrees, clockwise in a picture whose y points down; angles are rounded to whole degrees.
    ``ellipse(img, box, color, thickness=1, lineType=LINE_8)`` takes a box ((x, y), (width, height), angle) as
    `minAreaRect` returns it.
    """
    if (args and isinstance(args[0], (list, tuple)) and len(args[0]) == 3) or "box" in kwargs:
        return _ellipse_in(img, *args, **kwargs)
    return _ellipse(img, *args, **kwargs)


def _ellipse(
    img: T, center: Any, axes: Any, angle: float, startAngle: float, endAngle: float, color: Any,
    thickness: int = 1, lineType: int = LINE_8, shift: int = 0,
) -> T:  # fmt: skip
    brush = _Brush(img, color, thickness, lineType, shift, fills=True)
    x, y = (brush.fixed(v) for v in pair(center, "center"))
    width, height = (brush.fixed(v) for v in pair(axes, "axes"))
    if width < 0 or height < 0:
        raise InputError(f"axes are {axes}; they must not be negative")
    turn = round(angle), round(startAngle), round(endAngle)
    kernels.draw_ellipse(brush.image, brush.color, (x, y), width, height, *turn, brush.thickness, brush.line)
    return img


def _ellipse_in(img: T, box: Any, color: Any, thickness: int = 1, lineType: int = LINE_8) -> T:
    brush = _Brush(img, color, thickness, lineType, 0, fills=True)
    (x, y), (width, height), angle = box

    def fixed(v: float, bits: int) -> int:
        whole = round(v)
        return (whole << bits) + round((v - whole) * (1 << bits))

    kernels.draw_ellipse(
        brush.image, brush.color, (fixed(x, 16), fixed(y, 16)), fixed(width, 15), fixed(height, 15), round(angle), 0, 360,
        brush.thickness, brush.line,
    )  # fmt: skip
    return img


def rectangle(img: T, *args: Any, **kwargs: Any) -> T:
    """Draws a rectangle: ``(img, pt1, pt2, color, thickness=1, lineType=LINE_8, shift=0)``, opposite corners, both drawn;
    or ``(img, rec, color, ...)`` with ``rec`` (x, y, width, height).
    """
    if "rec" in kwargs or (args and len(args[0]) == 4):
        return _rectangle_of(img, *args, **kwargs)
    return _rectangle(img, *args, **kwargs)


def _rectangle_of(
    img: T, rec: Any, color: Any, thickness: int = 1, lineType: int = LINE_8, shift: int = 0
) -> T:  # fmt: skip
    rows, columns = as_image(img, "img", _DTYPES, channels=4).shape[:2]
    x, y, width, height = (int(v) for v in rec)
    one = 1 << shift
    # what is more than a pixel outside is cut off, as OpenCV does
    right, bottom = min(x + width, (columns + 1) * one), min(y + height, (rows + 1) * one)
    x, y = max(x, -one), max(y, -one)
    if right <= x or bottom <= y:
        return img
    return _rectangle(img, (x, y), (right - one, bottom - one), color, thickness, lineType, shift)


def _rectangle(
    img: T, pt1: Any, pt2: Any, color: Any, thickness: int = 1, lineType: int = LINE_8, shift: int = 0
) -> T:  # fmt: skip
    brush = _Brush(img, color, thickness, lineType, shift, fills=True)
    (x1, y1), (x2, y2) = pair(pt1, "pt1"), pair(pt2, "pt2")
    corners = as_points([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], "corners", whole=True)
    if thickness >= 0:
        kernels.draw_polyline(
            brush.image, brush.color, corners, True, brush.thickness, brush.line, brush.shift
        )
    else:
        kernels.draw_convex(brush.image, brush.color, corners, brush.line, brush.shift)
    return img


def polylines(
    img: T, pts: Sequence[Any], isClosed: bool, color: Any, thickness: int = 1, lineType: int = LINE_8, shift: int = 0
) -> T:  # fmt: skip
    """Draws each of the curves `pts` (int32 points), closed or open."""
    brush = _Brush(img, color, thickness, lineType, shift)
    for points in pts:
        made = as_points(points, "pts", whole=True)
        kernels.draw_polyline(
            brush.image, brush.color, made, isClosed, brush.thickness, brush.line, brush.shift
        )
    return img


def fillPoly(
    img: T, pts: Sequence[Any], color: Any, lineType: int = LINE_8, shift: int = 0, offset: Any = (0, 0)
) -> T:  # fmt: skip
    """Fills the area bounded by the polygons `pts` together: what an odd number of them surrounds, and all outlines."""
    brush = _Brush(img, color, 1, lineType, shift)
    made = [as_points(points, "pts", whole=True) for points in pts]
    kernels.draw_polygons(brush.image, brush.color, made, brush.line, brush.shift, pair(offset, "offset"))
    return img


def fillConvexPoly(img: T, points: Any, color: Any, lineType: int = LINE_8, shift: int = 0) -> T:
    """Fills a polygon that every row of pixels crosses at most twice, faster than `fillPoly`."""
    brush = _Brush(img, color, 1, lineType, shift)
    kernels.draw_convex(brush.image, brush.color, as_points(points, whole=True), brush.line, brush.shift)
    return img


def drawContours(
    image: T, contours: Sequence[Any], contourIdx: int, color: Any, thickness: int = 1, lineType: int = LINE_8,
    hierarchy: Any = None, maxLevel: int = (1 << 31) - 1, offset: Any = (0, 0),
) -> T:  # fmt: skip
    """Draws contours as `findContours` returns them: all (`contourIdx` < 0) or one, and what is nested in it.

    Args:
        image: where to draw.
        contours: int32 points of each.
        contourIdx: which one, or negative for all.
        color, thickness, lineType: as everywhere; a negative thickness fills, with holes left free.
        hierarchy: as `findContours` returns it; needed to draw what is inside a contour.
        maxLevel: how deep in the hierarchy; 0 goes without it.
        offset: added to all points.
    """
    brush = _Brush(image, color, thickness, lineType, 0, fills=True)
    chosen = _chosen(len(contours), contourIdx, hierarchy, maxLevel)
    dx, dy = pair(offset, "offset")
    made = [as_points(contours[i], "contours", whole=True) for i in chosen]
    if thickness < 0:
        kernels.draw_polygons(brush.image, brush.color, made, brush.line, 0, (dx, dy))
        return image
    for points in made:
        if points.size:
            corners = [[x + dx, y + dy] for x, y in points.tolist()]
            turned = Tensor.of(
                [*corners[1:], corners[0]], "int32"
            )  # the first line begins at the first point
            kernels.draw_polyline(brush.image, brush.color, turned, True, brush.thickness, brush.line, 0)
    return image


def _chosen(count: int, index: int, hierarchy: Any, levels: int) -> list[int]:
    """Contours to draw: those of the top, or `index`, and what is below them, down to a depth of `levels`."""
    if index >= count:
        raise InputError(f"contourIdx is {index}, but there are {count} contours")
    wanted = list(range(count)) if index < 0 else [index]
    if hierarchy is None or levels == 0:
        return wanted
    rows = Tensor.wrap(hierarchy)
    if rows.dtype != "int32" or rows.size != 4 * count:
        raise InputError(
            f"hierarchy is {rows.dtype} {rows.shape}; for {count} contours it is int32 1 x {count} x 4"
        )
    tree = rows.reshape(count, 4).tolist() if count else []
    depths = [_depth(tree, i) for i in range(count)]
    todo = [i for i in wanted if tree[i][3] < 0 or index >= 0]
    found: list[int] = []
    for _ in range(count + 1):
        if not todo:
            return found
        at = todo.pop()
        if depths[at] <= levels:
            found.append(at)
        todo += [i for i in range(count) if tree[i][3] == at]
    raise InputError("hierarchy is not a tree")


def _depth(tree: list[list[int]], index: int) -> int:
    depth = -1
    while index >= 0:
        index = tree[index][3]
        depth += 1
        if depth > len(tree) or index >= len(tree):
            raise InputError("hierarchy is not a tree")
    return depth


def clipLine(imgRect: Any, pt1: Any, pt2: Any) -> tuple[bool, tuple[int, int], tuple[int, int]]:
    """(whether any of the segment is inside, its end points cut to `imgRect` = (x, y, width, height))."""
    x, y, width, height = (int(v) for v in imgRect)
    (x1, y1), (x2, y2) = pair(pt1, "pt1"), pair(pt2, "pt2")
    inside, a, b = kernels.clip_line(width, height, (x1 - x, y1 - y), (x2 - x, y2 - y))
    return inside, (a[0] + x, a[1] + y), (b[0] + x, b[1] + y)
