"""The model file: everything a graph holds survives, other tools can read it, damage is reported."""

import json
import random
import struct

import numpy as np
import pytest
from samples import ALL
from test_models import same_graph

from walle_core._native import Tensor
from walle_core.errors import ModelError, WalleError
from walle_core.frontends import walle_file
from walle_core.frontends.onnx import load_bytes
from walle_core.graph.ir import Graph, Node
from walle_core.strings import StringTensor
from walle_core.types import DTYPES, TensorSpec


def graph_of_everything():
    """Every dtype and every kind of attribute."""
    constants = {n: Tensor([2, 3], n) for n, d in DTYPES.items() if d.itemsize}
    constants |= {
        "words": StringTensor(["a", "é"], (2,)),
        "empty": Tensor([0, 4], "float32"),
        "scalar": Tensor.of(2.5),
    }
    inner = Graph(
        (), ("s",), (Node("Neg", ("x",), ("s",), {"t": Tensor.of([1, 2], "int64")}, "deep"),), name="inner"
    )
    attributes = {
        "i": 3, "f": 1.5, "inf": float("inf"), "nan": float("nan"), "s": "text", "b": b"\xff\x00", "is": (1, 2), "fs": (0.5,),
        "none": (), "t": Tensor.of([[1.0]]), "ts": (Tensor.of(1.0), Tensor.of([True], "bool")), "g": inner, "gs": (inner, inner),
        "ss": ("a", "b"),
    }  # fmt: skip
    nodes = (
        Node("Op", ("x", "", "float32"), ("y", ""), attributes, "n1"),
        Node("Neg", ("y",), ("z",), {}, "n2"),
    )
    specs = {"x": TensorSpec(DTYPES["float32"], ("n", 3)), "y": TensorSpec(DTYPES["int8"], None)}
    specs |= {k: TensorSpec(DTYPES[str(v.dtype)], tuple(v.shape)) for k, v in constants.items()}
    return Graph(("x",), ("z",), nodes, constants, specs, "everything", "", {"author": "é"})


def test_everything_survives(tmp_path):
    path = tmp_path / "m.walle"
    walle_file.save(graph_of_everything(), path)
    same_graph(graph_of_everything(), walle_file.load(path))
    same_graph(graph_of_everything(), walle_file.load_bytes(path.read_bytes()))
    assert walle_file.load(path).source == str(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ALL)
def test_onnx_graphs_survive(name, tmp_path):
    graph = load_bytes(ALL[name], check_operators=False)
    walle_file.save(graph, tmp_path / "m.walle")
    same_graph(graph, walle_file.load(tmp_path / "m.walle"))


def test_layout_is_safetensors(tmp_path):
    """Checked against the format's rules: aligned, in range, no holes, no overlaps."""
    path = tmp_path / "m.walle"
    walle_file.save(graph_of_everything(), path)
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    assert all(isinstance(v, str) for v in header.pop("__metadata__").values())
    assert (8 + size) % 64 == 0
    position = 0
    for begin, end, name in sorted((*v["data_offsets"], k) for k, v in header.items()):
        assert begin == position
        assert name.startswith("padding") or begin % 64 == 0
        position = end
    assert position == len(data) - 8 - size


def test_weights_are_views_of_the_file(tmp_path):
    weights = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    graph = Graph(("x",), ("y",), (Node("MatMul", ("x", "w"), ("y",), {}, "n"),), {"w": Tensor.of(weights)},
                  {"x": TensorSpec(DTYPES["float32"], (1, 64))})  # fmt: skip
    walle_file.save(graph, tmp_path / "m.walle")
    loaded = walle_file.load(tmp_path / "m.walle").constants["w"]
    assert loaded.address % 64 == 0
    np.testing.assert_array_equal(np.asarray(loaded), weights)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(loaded)[0, 0] = 1


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.walle"
    walle_file.save(graph_of_everything(), path)
    before = path.read_bytes()
    bad = graph_of_everything().evolve(constants={"o": object()})
    with pytest.raises(ModelError, match="constant 'o'"):
        walle_file.save(bad, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ModelError, match="cannot be written"):
        walle_file.save(graph_of_everything(), tmp_path / "absent" / "m.walle")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("walle") / "m.walle"
    walle_file.save(graph_of_everything(), path)
    return path.read_bytes()


def test_random_damage(data):
    (size,) = struct.unpack("<Q", data[:8])
    for seed in range(3000):
        rng = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 2, 8))):
            damaged[rng.randrange(8 + size)] = rng.choice((rng.randrange(256), *b'0159[]{}",:-e'))
        cut = rng.randrange(len(data)) if rng.random() < 0.2 else len(data)
        try:
            walle_file.load_bytes(bytes(damaged[:cut]), verify=False)
        except WalleError as error:
            assert str(error)


def test_every_damage_is_found(data):
    (size,) = struct.unpack("<Q", data[:8])
    graph = data.index(b'"graph":') + 8
    for at in [*range(graph, data.index(b'"t0":'), 97), *range(8 + size, len(data), 11)]:
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(ModelError):
            walle_file.load_bytes(damaged)


def test_files_without_a_checksum_are_read(data):
    older = rewritten(data, lambda h, g: h["__metadata__"].pop("crc32"))
    same_graph(graph_of_everything(), walle_file.load_bytes(older))


def rewritten(data, change):
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    graph = json.loads(header["__metadata__"]["graph"])
    change(header, graph)
    if "__metadata__" in header:
        header["__metadata__"]["graph"] = json.dumps(graph)
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data[8 + size :]


CHANGES = {
    "offset beyond the file": (lambda h, g: h["t0"].update(data_offsets=[0, 10**12]), "'t0'.*does not fit"),
    "offset below zero": (lambda h, g: h["t0"].update(data_offsets=[-8, 16]), "'t0'.*not possible"),
    "offsets swapped": (lambda h, g: h["t0"].update(data_offsets=[24, 0]), "'t0'.*does not fit"),
    "huge shape": (lambda h, g: h["t0"].update(shape=[2**62, 2**62]), "'t0'.*does not fit"),
    "other shape": (lambda h, g: g["constants"]["float32"].update(shape=[999]), "does not fit"),
    "negative shape": (lambda h, g: g["constants"]["float32"].update(shape=[-2, -3]), "not possible"),
    "other type": (lambda h, g: h["t0"].update(dtype="F128"), "'F128'"),
    "missing tensor": (lambda h, g: h.pop("t0"), "KeyError"),
    "no metadata": (lambda h, g: h.pop("__metadata__"), "without a graph"),
    "newer format": (lambda h, g: h["__metadata__"].update(format="walle-9"), "format 'walle-9'"),
    "cycle": (lambda h, g: g["nodes"][0].update(inputs=["z"]), "cycle"),
    "missing value": (lambda h, g: g["nodes"][0].update(inputs=["nowhere"]), "nothing defines"),
    "no output": (lambda h, g: g.update(outputs=["nowhere"]), "made by no node"),
    "untyped input": (lambda h, g: g["specs"].pop("x"), "has no type"),
    "number for a name": (lambda h, g: g["nodes"][0].update(op=3), "a name is 3"),
    "strings do not fit": (lambda h, g: g["constants"]["words"].update(shape=[5]), "do not fill"),
    "negative size": (lambda h, g: g["specs"].update(x=["float32", [-1]]), "not possible"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_hostile_files(data, name):
    change, message = CHANGES[name]
    with pytest.raises(ModelError, match=message):
        walle_file.load_bytes(rewritten(data, change), verify=False)


def test_deep_nesting(data):
    def change(header, graph):
        node = graph["nodes"][0]
        for _ in range(100):
            node["attrs"]["g"] = {
                "graph": {**graph, "nodes": [json.loads(json.dumps({**node, "attrs": {}}))]}
            }
            node = node["attrs"]["g"]["graph"]["nodes"][0]

    with pytest.raises(ModelError, match="nested deeper"):
        walle_file.load_bytes(rewritten(data, change), verify=False)
    text = b"[" * 100_000
    with pytest.raises(ModelError, match=r"damaged|RecursionError"):
        walle_file.load_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ModelError, match="is it complete"):
        walle_file.load_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ModelError, match="no model file"):
        walle_file.load_bytes(b"abc")


def test_sniffing(data):
    assert walle_file.WalleFrontend().sniff(data[:64])
    assert not any(walle_file.WalleFrontend().sniff(d[:64]) for d in ALL.values())
    assert not walle_file.WalleFrontend().sniff(b"")
