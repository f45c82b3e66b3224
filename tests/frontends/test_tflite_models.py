"""Models that TensorFlow's converter made (`make tflite`, which sets WALLE_TFLITE_MODELS), against LiteRT."""

import os
from pathlib import Path

import numpy as np
import pytest
from tflite_files import litert, ours

import walle_core as walle

FOLDER = os.environ.get("WALLE_TFLITE_MODELS", "")
MODELS = sorted(Path(FOLDER).glob("*.tflite")) if FOLDER else []
# share of the largest output: rounding of float sums; steps of 8 bits; LiteRT rounds the activations of hybrid models
FLOAT, HYBRID, INT16 = 2e-6, 1.5e-2, 1e-4


def drawn(graph, seed):
    """Inputs for a graph; sizes that are open become 1."""
    rng = np.random.default_rng(seed)
    for name in graph.inputs:
        spec = graph.specs[name]
        shape = [d if isinstance(d, int) else 1 for d in spec.shape]
        if spec.dtype.kind == "f":
            yield rng.uniform(-1, 1, shape).astype(np.float32)
        else:
            kind = np.iinfo(spec.dtype.name)
            yield rng.integers(kind.min, kind.max + 1, shape, spec.dtype.name)


@pytest.mark.skipif(not FOLDER, reason="make tflite runs these")
def test_there_are_twenty():
    assert len(MODELS) >= 20


@pytest.mark.parametrize("backend", ["reference", None])
@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_outputs(path, backend):
    data, graph = path.read_bytes(), walle.load(path)
    for seed in range(3):
        feeds = list(drawn(graph, seed))
        for mine, judge in zip(ours(data, feeds, backend), litert(data, feeds), strict=True):
            assert mine.dtype == judge.dtype and mine.shape == judge.shape
            off = np.abs(mine.astype(np.float64) - judge).max()
            if mine.dtype != np.float32:
                assert off <= 1
                continue
            kind = path.stem.rpartition("_")[2]
            limit = {"hybrid": HYBRID, "int16": INT16, "io": 1 / 256 / 0.2}.get(kind, FLOAT)
            assert off <= limit * np.abs(judge).max()
