"""Models that are too large for the repository: folders named by WALLE_MODELS, ``:``-separated."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(
    0, str(Path(__file__).parent)
)  # for onnx_oracle: the importlib mode adds no folder of its own


def model_files():
    """The ONNX files under the folders of WALLE_MODELS."""
    folders = [Path(f) for f in os.environ.get("WALLE_MODELS", "").split(os.pathsep) if f]
    return sorted(p for folder in folders for p in folder.rglob("*.onnx"))


def pytest_generate_tests(metafunc):
    if "model_file" in metafunc.fixturenames:
        files = model_files()
        absent = pytest.mark.skip(reason="set WALLE_MODELS to the folders with the models")
        params = files or [pytest.param(None, marks=absent)]
        metafunc.parametrize("model_file", params, ids=[p.stem for p in files] or ["absent"])
