"""Task: what the item window of each frame shows, by an ImageNet classifier (SqueezeNet 1.1)."""

from __future__ import annotations

from typing import Any

from walle_core import cv, shared_model
from walle_core import matrix as xp

session: Any = None


def main(
    frames: list[Any], window: tuple[int, int, int, int], count: int = 3
) -> list[list[tuple[int, float]]]:
    """The `count` likeliest classes of each frame's window (x, y, width, height), as pairs of class and probability."""
    global session
    if session is None:
        # It was trained on blue, green, red with ImageNet's means taken off.
        prepare = cv.Preprocess((227, 227), mean=(104, 117, 123))
        session = shared_model("items", preprocess={"data": prepare})
    x, y, width, height = window
    found = []
    for frame in frames:
        shown = xp.asarray(frame)[y : y + height, x : x + width, :]
        shares = xp.asarray(session.run({"data": shown})["prob"])[0, :]
        best = xp.argsort(shares, descending=True)[:count]
        found.append(list(zip(best.tolist(), xp.take(shares, best).tolist(), strict=True)))
    return found
