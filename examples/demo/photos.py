"""The photo part of the demonstration: classify a cat, find faces; needs the models of WALLE_MODELS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import walle_core as walle

MEAN = np.array(
    [104, 117, 123], np.float32
)  # of ImageNet, blue, green, red in 0..255: what this SqueezeNet was fitted to


def classify(model: Path, photo: Path, out: Path) -> list[tuple[int, float]]:
    """The three best ImageNet classes with their probabilities; writes the photo with them as a caption."""
    image = Image.open(photo).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((227, 227), Image.Resampling.BILINEAR)
    pixels = np.asarray(square, np.float32)[..., ::-1] - MEAN
    session = walle.Session(walle.load(model))
    made = session.run([np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)])
    shares = np.asarray(made[session.outputs[0]])[0]
    best = [(int(i), float(shares[i])) for i in np.argsort(shares)[::-1][:3]]
    canvas = Image.new("RGB", (image.width, image.height + 22), "white")
    canvas.paste(image, (0, 0))
    caption = "  ".join(f"class {i}: {p:.0%}" for i, p in best)
    ImageDraw.Draw(canvas).text((6, image.height + 5), caption, fill="black")
    canvas.save(out)
    return best


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float = 0.3) -> list[int]:
    """Indices of boxes [n, 4] left by greedy non-maximum suppression."""
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in np.argsort(scores)[::-1]:
        low = np.maximum(boxes[i, :2], boxes[kept, :2]) if kept else np.zeros((0, 2))
        high = np.minimum(boxes[i, 2:], boxes[kept, 2:]) if kept else np.zeros((0, 2))
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        if not kept or np.all(shared / (areas[i] + areas[kept] - shared) < overlap):
            kept.append(int(i))
    return kept


def faces(model: Path, photo: Path, out: Path, least: float = 0.7) -> int:
    """How many faces the detector finds; writes the photo with their boxes."""
    image = Image.open(photo).convert("RGB")
    pixels = (np.asarray(image.resize((320, 240), Image.Resampling.BILINEAR), np.float32) - 127) / 128
    session = walle.Session(walle.load(model))
    made = session.run([np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)])
    scores, boxes = np.asarray(made["scores"])[0, :, 1], np.asarray(made["boxes"])[0]
    sure = scores > least
    scores, boxes = scores[sure], boxes[sure]
    kept = suppress(boxes, scores)
    draw = ImageDraw.Draw(image)
    for i in kept:
        box = boxes[i] * [image.width, image.height, image.width, image.height]
        draw.rectangle([float(v) for v in box], outline="lime", width=max(2, image.width // 400))
    image.save(out)
    return len(kept)
