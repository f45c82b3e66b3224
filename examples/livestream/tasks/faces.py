"""Task: faces in frames. Linzaer's Ultra-Light-Fast detector scores 4,420 boxes; each face keeps the surest of its boxes."""

from __future__ import annotations

from typing import Any

from walle_core import cv, shared_model
from walle_core import matrix as xp

session: Any = None


def overlap(a: list[float], b: list[float]) -> float:
    """What two boxes share, as a part of what both cover."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def kept(boxes: list[list[float]], most: float) -> list[list[float]]:
    """Boxes (x0, y0, x1, y1, score) that overlap no surer one by more than `most`."""
    found: list[list[float]] = []
    for box in sorted(boxes, key=lambda b: -b[4]):
        if all(overlap(box, other) < most for other in found):
            found.append(box)
    return found


def within(box: list[float], window: tuple[float, float, float, float]) -> bool:
    """Whether the middle of a box lies in a window (x, y, width, height)."""
    x, y = (box[0] + box[2]) / 2 - window[0], (box[1] + box[3]) / 2 - window[1]
    return 0 <= x < window[2] and 0 <= y < window[3]


def main(
    frames: list[Any], window: tuple[int, int, int, int], least: float = 0.7, most: float = 0.3
) -> list[list[list[float]]]:
    """Faces of each frame: lists of x0, y0, x1, y1 in parts of its sides, and score.

    `window` (x, y, width, height in pixels) shows an item, whose face is none: dogs have some that the detector takes.
    """
    global session
    if session is None:
        prepare = cv.Preprocess((320, 240), cv.COLOR_BGR2RGB, mean=127, norm=1 / 128)
        session = shared_model("faces", preprocess={"input": prepare})
    faces = []
    for frame in frames:
        rows, columns = frame.shape[:2]
        shown = window[0] / columns, window[1] / rows, window[2] / columns, window[3] / rows
        made = session.run({"input": frame})
        scores = xp.asarray(made["scores"])[0, :, 1]
        sure = xp.nonzero(scores > least)[0]
        boxes = xp.take(xp.asarray(made["boxes"])[0, :, :], sure, axis=0).tolist()
        found = [[*box, score] for box, score in zip(boxes, xp.take(scores, sure).tolist(), strict=True)]
        faces.append(kept([box for box in found if not within(box, shown)], most))
    return faces
