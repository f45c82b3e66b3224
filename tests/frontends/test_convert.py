"""walle convert: what is written means the same, the table says what changed, the exit code tells what differs."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import walle_core as walle
from walle_core import conversion, plugins
from walle_core.cli import main
from walle_core.cli.inputs import collect
from walle_core.errors import InputError, UnsupportedError
from walle_core.graph.builder import Builder
from walle_core.installed import Entry
from walle_core.saving import save, saver_of

R = np.random.default_rng(11)


def some(*shape):
    return R.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A convolution with its normalisation, an activation, and a classifier that takes any batch; a node nobody needs."""
    constants = {
        "w": some(8, 3, 3, 3), "s": some(8), "b": some(8), "m": some(8), "v": np.abs(some(8)) + 0.5, "d": some(5, 8), "one": some(1),
    }  # fmt: skip
    nodes = [
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Mul", ["n", "two"], ["t"]),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("Exp", ["r"], ["unused"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "d"], ["y"], transB=1),
    ]
    kept = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, ("n", 3, 8, 8))], [info("y", TensorProto.FLOAT, ("n", 5))], kept
    )  # fmt: skip
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    return path


def test_every_model_survives_with_its_outputs(model_file, tmp_path):
    before = walle.load(model_file)
    save(before, tmp_path / "m.walle")
    after = walle.load(tmp_path / "m.walle")
    beside = model_file.with_suffix(".npz")
    feeds = collect(before, [], str(beside)) if beside.exists() else conversion.draw(before, 0)
    found = conversion.compare(before, after, [feeds])
    assert len(found) == len(before.outputs)
    assert all(d.equal for d in found)
    save(before, tmp_path / "m.onnx")
    assert all(d.equal for d in conversion.compare(before, walle.load(tmp_path / "m.onnx"), [feeds]))
    save(after, tmp_path / "again.walle")
    assert (tmp_path / "again.walle").read_bytes() == (tmp_path / "m.walle").read_bytes()


def test_plain_conversion_keeps_every_bit(network, tmp_path, capsys):
    for source, target in (
        (network, "a.walle"),
        (tmp_path / "a.walle", "b.onnx"),
        (tmp_path / "b.onnx", "c.walle"),
    ):
        assert main(["convert", str(source), str(tmp_path / target)]) == 0
        assert "outputs are the same in every bit" in capsys.readouterr().out
    x = some(2, 3, 8, 8)
    first, last = (walle.Session(walle.load(p)).run([x])["y"] for p in (network, tmp_path / "c.walle"))
    assert np.asarray(first).tobytes() == np.asarray(last).tobytes()


def test_optimising_drops_what_is_not_needed(network, tmp_path, capsys):
    target = tmp_path / "m.walle"
    assert main(["convert", str(network), str(target), "--optimize", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    gone = set(said["before"]["operators"]) - set(said["after"]["operators"])
    assert gone == {"BatchNormalization", "Exp", "Add"}
    assert said["passed"] and 0 <= said["outputs"][0]["relative"] <= said["tolerance"] == 1e-4
    assert walle.load(target).specs["x"].shape == ("n", 3, 8, 8)


@pytest.mark.parametrize(("kind", "error"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_weights_are_stored_in_half_the_bytes(network, tmp_path, capsys, kind, error):
    target = tmp_path / "m.walle"
    assert main(["convert", str(network), str(target), "--precision", kind]) == 0
    assert kind in capsys.readouterr().out
    made = conversion.summary(walle.load(target)).weights
    assert made[kind] == 2 * (8 * 27 + 40)
    assert made["float32"] == 4 * (4 * 8 + 1)  # few numbers keep their type
    assert main(["convert", str(network), str(target), "--precision", kind, "--tolerance", "0"]) == 1
    assert "off by" in capsys.readouterr().out
    graph = walle.load(target)
    wide = np.asarray(
        walle.Session(conversion.narrow(_identity("w", np.float32([1 + 2**-14] * 40)), kind)).run([])["y"]
    )
    assert graph.constants[f"w:{kind}"].dtype == kind
    assert 0 < np.abs(wide - (1 + 2**-14)).max() <= error


def _identity(name, value):
    g = Builder()
    constant = g.const(walle.Tensor.of(value))
    g.op("Add", constant, g.const(0.0), outputs=["y"])
    return g.graph(["y"])


def test_numbers_beyond_half_precision_stay(tmp_path):
    graph = _identity("w", np.float32([1e6] * 40))
    assert conversion.summary(conversion.narrow(graph, "float16")).weights == {"float32": 164}
    assert conversion.summary(conversion.narrow(graph, "bfloat16")).weights == {"bfloat16": 80, "float32": 4}


def test_quantising(network, tmp_path, capsys):
    folder = tmp_path / "typical"
    folder.mkdir()
    for i in range(4):
        np.save(folder / f"{i}.npy", some(1, 3, 8, 8))
    target = tmp_path / "m.walle"
    assert main(["convert", str(network), str(target), "--optimize", "--quantize", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "QuantizeLinear" in out and "int8" in out
    assert {8 * 27, 5 * 8} <= {v.size for v in walle.load(target).constants.values() if v.dtype == "int8"}


def test_given_inputs_and_no_check(network, tmp_path, capsys):
    np.save(tmp_path / "x.npy", some(4, 3, 8, 8))
    target = str(tmp_path / "m.walle")
    assert main(["convert", str(network), target, "--input", str(tmp_path / "x.npy")]) == 0
    assert main(["convert", str(network), target, "--input", str(tmp_path / "none.npy")]) == 2
    assert main(["convert", str(network), target, "--no-check"]) == 0
    assert "not compared" in capsys.readouterr().out


def test_what_cannot_be_done_is_said(network, tmp_path, capsys):
    assert main(["convert", str(network), str(tmp_path / "m.tflite")]) == 2
    assert ".walle or .onnx" in capsys.readouterr().err
    assert main(["convert", str(network), str(network)]) == 2
    assert "the model itself" in capsys.readouterr().err
    assert main(["convert", str(network), str(tmp_path / "no" / "m.walle")]) == 2
    assert not (tmp_path / "m.tflite").exists()


def test_a_difference_is_seen():
    one, two = _identity("w", np.float32([1, np.nan, -4])), _identity("w", np.float32([1, np.nan, -4.5]))
    (same,) = conversion.compare(one, one, [{}])
    assert same.equal and same.largest == 0
    (off,) = conversion.compare(one, two, [{}])
    assert not off.equal and off.largest == 0.5 and off.relative == 0.125
    (lost,) = conversion.compare(one, _identity("w", np.float32([1, 0, -4])), [{}])
    assert lost.largest == float("inf")
    with pytest.raises(InputError, match="takes"):
        g = Builder()
        conversion.compare(one, g.graph([g.Neg(g.input("x", "float32", (1,)))]), [{}])


def test_inputs_that_cannot_be_drawn():
    g = Builder()
    x = g.input("words", "string", (2,))
    with pytest.raises(InputError, match="words"):
        conversion.draw(g.graph([g.Identity(x)]), 0)


def test_savers_come_through_the_hook(tmp_path, monkeypatch):
    (tmp_path / "walle_saver_probe.py").write_text(
        "from pathlib import Path\nfrom walle_core.hookspecs import hookimpl\n"
        "class Probe:\n    name = 'probe'\n    suffixes = ('.probe', '.onnx')\n"
        "    def save(self, graph, path):\n        Path(path).write_text(graph.name)\n"
        "@hookimpl\ndef walle_register_savers(registry):\n    registry.add(Probe())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entries = [Entry(plugins.CORE, plugins.CORE_MODULE), Entry("probe", "walle_saver_probe")]
    found = plugins.build(entries, strict=True)
    monkeypatch.setattr("walle_core.saving.load_plugins", lambda: found)
    save(_identity("w", np.float32([1])), tmp_path / "m.probe")
    assert (tmp_path / "m.probe").read_text() == "graph"
    with pytest.raises(InputError, match="onnx and probe write it"):
        saver_of("m.onnx")


def test_a_format_that_cannot_say_it(tmp_path):
    g = Builder()
    x = g.input("x", "float32", (1, 3))
    graph = g.graph([x])
    strange = graph.evolve(nodes=(walle.Node("FusedConv", ("x",), ("y",), {}, "n"),), outputs=("y",))
    with pytest.raises(UnsupportedError, match="FusedConv"):
        save(strange, tmp_path / "m.onnx")
