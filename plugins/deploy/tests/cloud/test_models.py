"""Larger models of all kinds, and models that fail."""

import threading

import numpy as np
import pytest
from cloud_models import labels
from cloud_world import SIGNATURE, STREAM, largest, picture, sample
from walle_deploy.cloud import models
from walle_deploy.cloud.models import ScriptModel, SessionModel, model_of, run_together
from walle_deploy.cloud.work import CloudTask, work
from walle_deploy.errors import CloudError, TaskError
from walle_deploy.task.packing import pack, unpack

from walle_core import Session, Tensor


def answered(model, *payloads):
    return work({"digits": CloudTask("digits", STREAM, model, SIGNATURE)}, payloads)


def test_a_session_runs_samples_together(large):
    session = Session(str(large))
    runs = []

    class Counting:
        inputs = session.inputs

        def run(self, inputs):
            runs.append(len(inputs["points"]))
            return session.run(inputs)

    pictures = [Tensor.of(picture(n)) for n in range(10)]
    answers = run_together(Counting(), [{"points": one} for one in pictures])
    assert runs == [10]
    assert [int(np.argmax(np.asarray(a["scores"]))) for a in answers] == list(range(10))
    assert answers[0]["scores"].shape == (10,)
    whole = [{"points": Tensor.of(picture(n).reshape(1, 64))} for n in range(3)]
    assert [a["scores"].shape for a in run_together(Counting(), whole)] == [(1, 10)] * 3
    assert runs == [10, 3]
    mixed = [{"points": pictures[1]}, {"points": whole[2]["points"]}, {"points": pictures[3]}]
    assert [int(np.argmax(np.asarray(a["scores"]))) for a in run_together(Counting(), mixed)] == [1, 2, 3]
    assert sorted(runs[2:]) == [1, 2]
    assert run_together(Counting(), []) == []


def test_a_model_of_fixed_size_runs_alone(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    path = tmp_path / "fixed.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    inputs = [{"x": Tensor.of(np.full((1, 4), n, "float32"))} for n in range(3)]
    assert [a["y"].tolist() for a in SessionModel(str(path))(inputs)] == [[[-float(n)] * 4] for n in range(3)]


def test_outputs_without_an_axis_of_samples_are_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    path = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    with pytest.raises(CloudError, match="first axis"):
        SessionModel(str(path))([{"x": Tensor.of(np.zeros(4, "float32"))}] * 2)


def test_names_of_inputs(large):
    one = {"x": Tensor.of(picture(3)), "more": 1}
    (answer,) = SessionModel(str(large), (("x", "points"),))([one])
    assert int(np.argmax(np.asarray(answer["scores"]))) == 3
    (outcome,) = answered(SessionModel(str(large)), sample(8))  # one input each
    assert largest(outcome.answer) == 8
    (outcome,) = answered(Session(str(large)), sample(8))  # a Session is taken as it is, with its own names
    assert not outcome.ok
    assert "points" in outcome.why


SCRIPT = """
import helper
def main(x, models):
    scores = models["large"].run({"points": x.reshape(1, 64)})["scores"]
    return {"label": helper.largest(scores.tolist()[0]), "unasked": 1}
"""
SCRIPT_TOML = """
[task]
name = "large"
[trigger]
manual = true
[inputs]
x = { dtype = "float32", shape = [64] }
[outputs]
label = { dtype = "json" }
[model.large]
file = "large.onnx"
inputs = { points = { dtype = "float32", shape = ["N", 64] } }
outputs = { scores = { dtype = "float32", shape = ["N", 10] } }
"""


@pytest.fixture
def folder(tmp_path, large, monkeypatch):
    import sys

    (tmp_path / "main.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("def largest(row):\n    return row.index(max(row))\n")
    (tmp_path / "walle.toml").write_text(SCRIPT_TOML)
    (tmp_path / "large.onnx").write_bytes(large.read_bytes())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    yield tmp_path
    sys.modules.pop("helper", None)
    models._script.cache_clear()


def test_the_folder_of_a_task(folder):
    outcomes = answered(model_of(str(folder)), *(sample(n) for n in range(5)))
    assert [unpack(o.answer) for o in outcomes] == [{"label": n} for n in range(5)]


def test_a_folder_whose_script_does_not_work(folder):
    (folder / "main.py").write_text("import nothing_of_that_name\n")
    (outcome,) = answered(ScriptModel(str(folder)), sample(1))
    assert "nothing_of_that_name" in outcome.why
    (folder / "main.py").write_text("def main(x, models):\n    return {}\n")
    models._script.cache_clear()
    (outcome,) = answered(ScriptModel(str(folder)), sample(1))
    assert "did not return label" in outcome.why
    (folder / "walle.toml").write_text("[task")
    with pytest.raises(TaskError, match=r"walle\.toml"):
        model_of(str(folder))
    (folder / "walle.toml").unlink()
    with pytest.raises(CloudError, match="cannot be read"):
        model_of(str(folder))


def test_model_of(large):
    assert model_of(str(large)) == SessionModel(str(large))
    assert model_of("cloud_models:labels") is labels
    for bad in ("nowhere.onnx", "no.module:f", "math:nothing", "math:pi", ":", "math:"):
        with pytest.raises(CloudError):
            model_of(bad)


def seven_fails(inputs):
    """Fails on any batch with a seven in it."""
    found = labels(inputs)
    if {"label": 7} in found:
        raise RuntimeError("sevens are \0 too much")
    return found


def test_one_bad_sample_does_not_cost_the_others_their_answers():
    outcomes = answered(seven_fails, *(sample(n) for n in range(10)))
    assert [o.ok for o in outcomes] == [n != 7 for n in range(10)]
    assert outcomes[7].why == "RuntimeError: sevens are   too much"
    assert all(o.ms > 0 for o in outcomes)


class Rude(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda inputs: [], "0 answers to 1"),
        (lambda inputs: None, "TypeError"),
        (lambda inputs: 1 / 0, "division"),
        (lambda inputs: [object()], "neither plain nor a tensor"),
        (lambda inputs: [lambda: 1], "neither plain"),
        (lambda inputs: [b"x" * (2 << 20)], "bytes; at most"),
        (lambda inputs: exit(3), "SystemExit"),
        (lambda inputs: (_ for _ in ()).throw(Rude()), "Rude"),
        (lambda inputs: ["\ud800"], "sent"),
    ],
)
def test_models_that_fail(model, why):
    (outcome,) = answered(model, sample(1))
    assert not outcome.ok
    assert why in outcome.why


def test_time_is_counted():
    def busy(inputs):
        threading.Event().wait(0.03)
        return [1] * len(inputs)

    outcomes = answered(busy, sample(1), sample(2), b"")
    assert 14 < outcomes[0].ms < 200
    assert outcomes[0].ms == outcomes[1].ms
    assert outcomes[2].ms == 0
    assert pack(1) == outcomes[0].answer
