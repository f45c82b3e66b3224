"""Walle's pixel functions beside OpenCV's on one 1080p image and one thread.

    python benchmarks/cv.py [--rounds 25] [--markdown docs/benchmarks.md]

Both run in turn, round by round; figures are medians in milliseconds, the ratio is Walle's to OpenCV's. The first group
is what the goal of 1.2 times OpenCV's time (geometric mean) is about, the second the goal of 0.6 for preprocessing.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import cv2
import numpy as np
from report import geometric_mean, machine, write_section

import walle_core as walle
from walle_core import cv

WIDTH, HEIGHT = 1920, 1080
Call = Callable[[], object]


def cases() -> dict[str, list[tuple[str, Call, Call]]]:
    """Rows by group: name, Walle's call, OpenCV's call."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), (5, 5), 1)
    gray = np.ascontiguousarray(image[..., 0])
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 10, 1.1)
    slant = np.vstack([turn, [1e-5, 2e-5, 1]])
    mean, norm = (103.94, 116.78, 123.68), (0.017, 0.017, 0.017)
    element = np.ones((5, 5), "uint8")
    codes = [(n, getattr(cv2, f"COLOR_{n}")) for n in ("BGR2RGB", "BGR2GRAY", "BGR2YUV", "BGR2HSV")]
    means, norms = np.float32(mean), np.float32(norm)
    main: list[tuple[str, Call, Call]] = [
        *((f"resize to {w} x {h}", lambda s=(w, h): cv.resize(image, s), lambda s=(w, h): cv2.resize(image, s)) for w, h in ((224, 224), (640, 360), (1280, 720))),
        ("warpAffine, 3 channels", lambda: cv.warpAffine(image, turn, (WIDTH, HEIGHT)), lambda: cv2.warpAffine(image, turn, (WIDTH, HEIGHT))),
        ("warpAffine, 1 channel", lambda: cv.warpAffine(gray, turn, (WIDTH, HEIGHT)), lambda: cv2.warpAffine(gray, turn, (WIDTH, HEIGHT))),
        *((f"cvtColor {n}", lambda c=code: cv.cvtColor(image, c), lambda c=code: cv2.cvtColor(image, c)) for n, code in codes),
        ("GaussianBlur 5 x 5", lambda: cv.GaussianBlur(image, (5, 5), 1.2), lambda: cv2.GaussianBlur(image, (5, 5), 1.2)),
        ("GaussianBlur 11 x 11", lambda: cv.GaussianBlur(image, (11, 11), 2), lambda: cv2.GaussianBlur(image, (11, 11), 2)),
        ("GaussianBlur 5 x 5, 1 channel", lambda: cv.GaussianBlur(gray, (5, 5), 1.2), lambda: cv2.GaussianBlur(gray, (5, 5), 1.2)),
    ]  # fmt: skip
    fused = []
    for side in (224, 416):
        ready = cv.Preprocess((side, side), cv.COLOR_BGR2RGB, mean, norm)

        def steps(side: int = side) -> np.ndarray:
            x = cv2.cvtColor(cv2.resize(image, (side, side)), cv2.COLOR_BGR2RGB).astype(np.float32)
            return np.ascontiguousarray(((x - means) * norms).transpose(2, 0, 1))[None]

        fused.append((f"preprocess to {side} x {side}", lambda ready=ready: ready(image), steps))
        builder = walle.Builder()
        x = builder.input("x", "float32", (1, 3, side, side))
        graph = builder.graph([builder.GlobalAveragePool(x)])
        first, plain = (
            walle.Session(graph, threads=1, preprocess={"x": ready}),
            walle.Session(graph, threads=1),
        )
        fused.append((
            f"the same as a session's first step, then each channel's mean, {side} x {side}",
            lambda first=first: first.run({"x": image}), lambda plain=plain, steps=steps: plain.run({"x": steps()}),
        ))  # fmt: skip
    others: list[tuple[str, Call, Call]] = [
        ("resize to 640 x 360, area", lambda: cv.resize(image, (640, 360), interpolation=3), lambda: cv2.resize(image, (640, 360), interpolation=3)),
        ("resize to 640 x 360, cubic", lambda: cv.resize(image, (640, 360), interpolation=2), lambda: cv2.resize(image, (640, 360), interpolation=2)),
        ("warpPerspective", lambda: cv.warpPerspective(image, slant, (WIDTH, HEIGHT)), lambda: cv2.warpPerspective(image, slant, (WIDTH, HEIGHT))),
        ("blur 7 x 7", lambda: cv.blur(image, (7, 7)), lambda: cv2.blur(image, (7, 7))),
        ("dilate 5 x 5", lambda: cv.dilate(image, element), lambda: cv2.dilate(image, element)),
        ("medianBlur 3", lambda: cv.medianBlur(gray, 3), lambda: cv2.medianBlur(gray, 3)),
        ("medianBlur 5", lambda: cv.medianBlur(gray, 5), lambda: cv2.medianBlur(gray, 5)),
        ("Sobel", lambda: cv.Sobel(gray, cv.CV_16S, 1, 0), lambda: cv2.Sobel(gray, cv2.CV_16S, 1, 0)),
        ("threshold", lambda: cv.threshold(gray, 99, 255, 0), lambda: cv2.threshold(gray, 99, 255, 0)),
        ("pyrDown", lambda: cv.pyrDown(image), lambda: cv2.pyrDown(image)),
        ("cvtColor BGR2Lab", lambda: cv.cvtColor(image, cv.COLOR_BGR2Lab), lambda: cv2.cvtColor(image, cv2.COLOR_BGR2Lab)),
        ("cvtColor Lab2BGR", lambda: cv.cvtColor(image, cv.COLOR_Lab2BGR), lambda: cv2.cvtColor(image, cv2.COLOR_Lab2BGR)),
    ]  # fmt: skip
    return {
        "resize, warpAffine, cvtColor, GaussianBlur (goal 1.2)": main,
        "fused preprocessing (goal 0.6)": fused,
        "others": others,
    }


def measured(mine: Call, theirs: Call, rounds: int) -> tuple[float, float]:
    """Medians of both in milliseconds, run in turn."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 2):
        for kept, call in zip(times, (mine, theirs), strict=True):
            start = time.perf_counter()
            call()
            if i >= 2:
                kept.append(time.perf_counter() - start)
    return statistics.median(times[0]) * 1e3, statistics.median(times[1]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    lines = [
        "## Images",
        "",
        f"Made by `python benchmarks/cv.py` on {date.today()}: {machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, OpenCV {cv2.__version__}.",
        f"A 1080p image, 1 thread, medians of {options.rounds} interleaved rounds in milliseconds.",
    ]
    for title, rows in cases().items():
        lines += ["", f"| {title} | Walle | OpenCV | ratio |", "|---|--:|--:|--:|"]
        ratios = []
        for name, mine, theirs in rows:
            ours, other = measured(mine, theirs, options.rounds)
            ratios.append(ours / other)
            lines.append(f"| {name} | {ours:.3f} | {other:.3f} | {ours / other:.2f} |")
            print(lines[-1], flush=True)
        lines.append(f"| geometric mean | | | {geometric_mean(ratios):.2f} |")
        print(lines[-1], flush=True)
    if options.markdown:
        write_section(options.markdown, "cv", lines)


if __name__ == "__main__":
    main()
