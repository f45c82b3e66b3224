"""Gradients of whole models against PyTorch's, in an environment of its own: WALLE_TORCH, or what `make bench-training` made."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("WALLE_TORCH", ROOT / ".venv-training" / "bin" / "python"))
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason=f"no {PYTHON}; make .venv-training/stamp, or set WALLE_TORCH"
)


@pytest.mark.parametrize("name", ["resnet18", "transformer"])
def test_gradients_of_a_whole_model(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import training

    assert training.gradient_error(name, str(PYTHON)) <= 1e-3
