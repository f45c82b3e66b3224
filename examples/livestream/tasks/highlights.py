"""Task: the moments worth showing, from what the other three found."""

from __future__ import annotations

from typing import Any

from walle_core import matrix as xp

WEIGHTS = {"face": 0.35, "item": 0.30, "voice": 0.35}


def features(
    faces: list[Any], items: list[Any], voice: list[float], per_frame: float
) -> dict[str, list[float]]:
    """Numbers from 0 to 1 for each frame: how large its largest face is, how sure its item, how much of it is spoken."""
    large = [max([box[3] - box[1] for box in boxes], default=0.0) for boxes in faces]
    spoken = [voice[round(i * per_frame) : round((i + 1) * per_frame)] for i in range(len(faces))]
    return {
        "face": [min(1.0, height / 0.25) for height in large],
        "item": [classes[0][1] for classes in items],
        "voice": [sum(part) / len(part) if part else 0.0 for part in spoken],
    }


def smooth(values: list[float], width: int) -> list[float]:
    """Means over `width` frames; at the ends over those that are there."""
    ones = xp.ones(width, dtype=xp.float64)
    sums = xp.convolve(xp.asarray(values, dtype=xp.float64), ones, "same")
    counts = xp.convolve(xp.ones(len(values), dtype=xp.float64), ones, "same")
    return (sums / counts).tolist()


def main(
    faces: list[Any], items: list[Any], voice: list[float], fps: float, windows_per_s: float, most: int = 3
) -> dict[str, Any]:
    """What the stream's best moments are.

    Returns:
        ``scores`` of all frames, smoothed; ``parts``, the features they come from; ``moments``, the best first: begin and end
        (frames, end not included), best (frame), score, and why (the features that are above a half there).
    """
    parts = features(faces, items, voice, windows_per_s / fps)
    raw = [sum(WEIGHTS[name] * parts[name][i] for name in WEIGHTS) for i in range(len(faces))]
    scores = smooth(raw, min(3, len(raw)))
    line = (max(scores) + sum(scores) / len(scores)) / 2
    moments, begin = [], None
    for i, score in enumerate([*scores, float("-inf")]):
        if score >= line and begin is None:
            begin = i
        elif score < line and begin is not None:
            best = max(range(begin, i), key=lambda k: raw[k])
            why = [name for name in WEIGHTS if parts[name][best] > 0.5]
            moments.append({"begin": begin, "end": i, "best": best, "score": scores[best], "why": why})
            begin = None
    moments.sort(key=lambda m: -m["score"])
    return {"scores": scores, "parts": parts, "moments": moments[:most]}
