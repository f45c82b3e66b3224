"""Real models with stored inputs and outputs: NAME.onnx beside NAME.npz, in the folders of WALLE_MODELS."""

import os
from pathlib import Path

import numpy as np
import pytest

from walle_core.plugins import load_plugins


class Model:
    """A model file with `inputs` and expected `outputs` by name."""

    def __init__(self, path):
        self.path = path
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as data:
            self.inputs = {k.removeprefix("in_"): data[k] for k in data.files if k.startswith("in_")}
            self.outputs = {k.removeprefix("out_"): data[k] for k in data.files if k.startswith("out_")}


def model_files():
    folders = [Path(f) for f in os.environ.get("WALLE_MODELS", "").split(os.pathsep) if f]
    found = sorted(p for folder in folders for p in folder.rglob("*.onnx"))
    return [p for p in found if p.with_suffix(".npz").exists()]


def pytest_generate_tests(metafunc):
    if "model" in metafunc.fixturenames:
        files = model_files()
        absent = pytest.mark.skip(reason="set WALLE_MODELS to the folders with the models")
        params = files or [pytest.param(None, marks=absent)]
        metafunc.parametrize("model", params, indirect=True, ids=[p.stem for p in files] or ["absent"])
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", [n for n, b in load_plugins().backends.items() if b.devices()])


@pytest.fixture
def model(request):
    return Model(request.param)
