"""Real models, loaded from ONNX: fine-tuned wholly, in the last layers, or by adapters, and saved again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import walle_core as walle
from walle_core import train
from walle_core.frontends.onnx import writer

MODELS = Path(os.environ.get("WALLE_MODELS", Path(__file__).parents[3] / "shared" / "models")) / "real"
pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"no models in {MODELS}; set WALLE_MODELS")


def inputs_of(graph, name):
    with np.load(MODELS / f"{name}.npz") as data:
        found = [data[k] for k in data.files]
        named = {k.removeprefix("in_"): data[k] for k in data.files}
    return {n: named.get(n, found[i]) for i, n in enumerate(graph.inputs)}


def tuned(name, graph, steps, trained=None, rate=0.05):
    inputs = inputs_of(graph, name)
    target = np.roll(np.asarray(walle.Session(graph).run(inputs)[graph.outputs[0]]), 1, -1)
    trainer = train.Trainer(graph, train.MSE(), train.Adam(rate), trained=trained, statistics=False)
    losses = [trainer.step(inputs, target) for _ in range(steps)]
    assert losses[-1] < losses[0]
    return trainer, inputs


def test_a_small_model_as_a_whole_and_saved_again(tmp_path):
    graph = walle.load(MODELS / "kws_dscnn.onnx")
    trainer, inputs = tuned("kws_dscnn", graph, 4, rate=1e-3)
    trained = trainer.graph()
    writer.save(trained, tmp_path / "m.onnx")
    made = [
        walle.Session(g).run(inputs)[graph.outputs[0]] for g in (trained, walle.load(tmp_path / "m.onnx"))
    ]
    np.testing.assert_array_equal(*map(np.asarray, made))


def test_the_last_layers_of_a_classifier():
    graph = walle.load(MODELS / "squeezenet11_imagenet.onnx")
    names = train.last_layers(graph, 1)
    trainer, _ = tuned("squeezenet11_imagenet", graph, 3, trained=names, rate=1e-3)
    made = trainer.graph().constants
    changed = {n for n, v in graph.constants.items() if v.tobytes() != made[n].tobytes()}
    assert changed == set(names)


def test_adapters_of_a_language_model():
    graph = walle.load(MODELS / "minilm_l6_128.onnx")
    producers = graph.producers()  # the file keeps them in float16
    matrices = [n.inputs[1] for n in graph.nodes if n.op == "MatMul" and producers[n.inputs[1]].op == "Cast"][
        :4
    ]
    adapted = train.adapt(graph, rank=2, weights=matrices)
    trainer, inputs = tuned("minilm_l6_128", adapted.graph, 3, trained=adapted.trained, rate=1e-2)
    beside = trainer.graph()
    merged = train.merge(beside)
    assert not any(n.name.startswith("lora/") for n in merged.nodes)
    made = [np.asarray(walle.Session(g).run(inputs)[graph.outputs[0]]) for g in (beside, merged)]
    np.testing.assert_allclose(*made, rtol=1e-3, atol=1e-4)
