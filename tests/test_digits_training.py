"""The digits example, as its one command runs it: it learns, goes on from its checkpoint, and what it saves runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import walle_core as walle

EXAMPLE = Path(__file__).parents[1] / "examples" / "digits_training" / "digits_training.py"
pytest.importorskip("sklearn")


def run(out: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "--out", str(out), *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_learns_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    said = run(whole)
    assert float(re.search(r"test accuracy ([\d.]+)%", said)[1]) >= 97
    first = run(parts)
    assert "random weights" in first
    assert "step 264" in run(parts)
    images = np.random.default_rng(0).uniform(size=(3, 1, 8, 8)).astype(np.float32)
    made = []
    for file in (
        whole / "digits.onnx",
        whole / "digits.walle",
        parts / "digits.onnx",
        parts / "digits.walle",
    ):
        made.append(np.asarray(next(iter(walle.Session(walle.load(file)).run([images]).values()))))
    for other in made[1:]:
        np.testing.assert_array_equal(made[0], other)  # equal seeds, equal bits
