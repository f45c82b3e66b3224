"""Checkpoints and saved models: what is written is what was trained; damage is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from test_trainer import batch, perceptron

import walle_core as walle
from walle_core import train
from walle_core.errors import CheckpointError, UnsupportedError
from walle_core.frontends import walle_file
from walle_core.frontends.onnx import writer
from walle_core.graph.builder import Builder
from walle_core.train.checkpoint import previous


def new(optimizer=None, seed=3):
    graph, _ = perceptron(dropout=0.3)
    return train.Trainer(graph, train.CrossEntropy(), optimizer or train.Adam(0.01), seed=seed)


def bits(trainer):
    return {n: t.tobytes() for n, t in trainer.kept.items()}


def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    through, first, second = new(), new(), new(seed=99)
    for t in range(6):
        through.step(*batch(t))
    for t in range(3):
        first.step(*batch(t))
    train.save(first, tmp_path / "c")
    assert train.restore(second, tmp_path / "c") == tmp_path / "c"
    for t in range(3, 6):
        second.step(*batch(t))
    assert bits(through) == bits(second)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_cut_anywhere_is_refused_and_the_one_before_is_used(tmp_path):
    trainer, path = new(), tmp_path / "c"
    trainer.step(*batch(0))
    train.save(trainer, path)
    good = bits(trainer)
    trainer.step(*batch(1))
    train.save(trainer, path)
    whole = path.read_bytes()
    for size in (0, 7, 8, 39, 45, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        other = new()
        assert train.restore(other, path) == previous(path)
        assert bits(other) == good
        assert other.step_count == 1
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    path.write_bytes(changed)
    assert train.restore(new(), path) == previous(path)
    train.save(trainer, path)  # over a damaged file: it does not become the last good one
    assert train.restore(new(), previous(path)) == previous(path)
    path.unlink()
    previous(path).unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        train.restore(new(), path)


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path):
    trainer = new()
    trainer.step(*batch(0))
    train.save(trainer, tmp_path / "c")
    with pytest.raises(CheckpointError, match="SGD"):
        train.restore(new(train.SGD()), tmp_path / "c")
    with pytest.raises(CheckpointError, match="cannot be written"):
        train.save(trainer, tmp_path / "no" / "c")


def test_a_trained_model_is_saved_as_onnx_and_as_a_walle_file(tmp_path):
    trainer = new()
    trainer.step(*batch(0))
    graph, (inputs, _) = trainer.graph(), batch(5)
    wanted = np.asarray(walle.Session(graph).run(inputs)[graph.outputs[0]])
    writer.save(graph, tmp_path / "m.onnx")
    walle_file.save(graph, tmp_path / "m.walle")
    for name in ("m.onnx", "m.walle"):
        made = walle.Session(walle.load(tmp_path / name)).run(inputs)[graph.outputs[0]]
        np.testing.assert_array_equal(np.asarray(made), wanted)
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"))
    (other,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, inputs)
    np.testing.assert_allclose(other, wanted, rtol=1e-4, atol=1e-5)


def test_every_kind_of_attribute_and_constant_is_written():
    g = Builder()
    x = g.input("x", "float32", ("N", 3, 8, 8))
    w = g.const(np.ones((2, 3, 3, 3), np.float32))
    y = g.Conv(x, w, pads=[1, 1, 1, 1], auto_pad="NOTSET")
    y = g.LeakyRelu(y, alpha=0.25)
    y = g.Reshape(y, g.const([0, -1], "int64"))
    graph = g.graph([y])
    back = walle.load_bytes(writer.to_bytes(graph))
    assert [(n.op, n.inputs, n.outputs, n.name) for n in back.nodes] == [
        (n.op, n.inputs, n.outputs, n.name) for n in graph.nodes
    ]
    assert back.nodes[0].attrs["pads"] == (1, 1, 1, 1)
    assert back.nodes[1].attrs["alpha"] == 0.25
    assert {n: v.tobytes() for n, v in back.constants.items()} == {
        n: v.tobytes() for n, v in graph.constants.items()
    }
    assert back.specs["x"].shape == ("N", 3, 8, 8)


def test_what_is_no_onnx_is_refused():
    g = Builder()
    x = g.input("x", "float32", (2, 3))
    with pytest.raises(UnsupportedError, match="FusedMatMul"):
        writer.to_bytes(g.graph([g.FusedMatMul(x, g.const(np.ones((3, 2), np.float32)))]))
