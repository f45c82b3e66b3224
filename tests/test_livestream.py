"""The livestream example, as its one command runs it: what it says it found is in the stream, and the picture is drawn."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "livestream"
MODELS = Path(os.environ.get("WALLE_MODELS", Path(__file__).parents[2] / "shared" / "models")) / "real"
SECONDS, FPS = 7, 5
DOGS = range(151, 269)  # of ImageNet's classes
pytest.importorskip("PIL")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict, Path]:
    """(what it printed, what it found, the picture) of one pass."""
    if not (MODELS / "samples").is_dir():
        pytest.skip(f"no models in {MODELS}; set WALLE_MODELS")
    out = tmp_path_factory.mktemp("livestream")
    command = [sys.executable, EXAMPLE / "livestream.py", "--out", out, "--seconds", SECONDS, "--rounds", 1]
    environment = {**os.environ, "WALLE_MODELS": str(MODELS.parent)}
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout, json.loads((out / "highlights.json").read_text()), out / "highlights.png"


def frames(second: int) -> range:
    return range(second * FPS, (second + 1) * FPS)


def test_items_are_what_the_window_shows(run) -> None:
    items = run[1]["items"]
    for second in (1, 2, 5, 6):
        for i in frames(second):
            number, sure = items[i][0]
            assert number in DOGS
            assert sure > 0.5
    for second in (0, 3):  # nothing is shown
        assert all(items[i][0][1] < 0.5 for i in frames(second))


def test_a_voice_is_heard_where_the_word_is(run) -> None:
    voice = run[1]["voice"]
    per_s = len(voice) / SECONDS
    loudest = [max(voice[round(s * per_s) : round((s + 1) * per_s)]) for s in range(SECONDS)]
    assert [s for s in range(SECONDS) if loudest[s] > 0.5] == [2, 6]


def test_faces_are_where_the_camera_sees_people(run) -> None:
    faces = run[1]["faces"]
    assert not any(faces[i] for i in frames(0))  # the floor
    assert all(faces[i] for i in frames(6))
    for boxes in faces:
        for x0, y0, x1, y1, score in boxes:
            assert x0 < x1
            assert y0 < y1
            assert 0.7 < score <= 1


def test_the_best_moment_has_a_voice_an_item_and_a_face(run) -> None:
    best = run[1]["highlights"]["moments"][0]
    assert best["begin"] <= best["best"] < best["end"]
    assert set(best["why"]) == {"face", "item", "voice"}
    scores = run[1]["highlights"]["scores"]
    assert len(scores) == SECONDS * FPS
    assert best["score"] == max(m["score"] for m in run[1]["highlights"]["moments"])


def test_latencies_and_the_speed_up_are_printed(run) -> None:
    for part in ("faces", "items", "voice", "highlights", "all four"):
        assert re.search(rf"^  {part} +\d+\.\d +\d+\.\d$", run[0], re.MULTILINE), run[0]
    assert float(re.search(r"speed-up over one GIL: (\d+\.\d\d)", run[0]).group(1)) > 0


def test_the_picture_shows_frames_boxes_and_the_chart(run) -> None:
    from PIL import Image

    pixels = np.asarray(Image.open(run[2]).convert("RGB")).astype(int)
    height = pixels.shape[0] - 280
    assert pixels.shape[1] == 1440
    green = np.abs(pixels[:height] - [60, 220, 90]).sum(2) < 60
    assert green.sum() > 100  # boxes around faces
    blue = np.abs(pixels[height:] - [60, 150, 230]).sum(2) < 20
    assert blue.sum() > 100  # the voice
