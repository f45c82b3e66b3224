"""Damaged and hostile files end in a WalleError that names what and where; nothing else, and soon."""

import os
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, ModelProto, TensorProto, helper, numpy_helper
from samples import ALL, info

from walle_core.errors import ModelError, UnsupportedError, WalleError
from walle_core.frontends import walle_file
from walle_core.frontends.onnx import Limits, OnnxFrontend, load, load_bytes
from walle_core.graph.fold import fold
from walle_core.graph.shapes import infer

SEEDS = 200_000 if os.environ.get("WALLE_FULL") else 10_000


def flipped(data, seed):
    """`data` with a few bytes changed, inserted or removed, or cut short."""
    rng = random.Random(seed)
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data))
        kind = rng.random()
        if kind < 0.5:
            data[at] ^= 1 << rng.randrange(8)
        elif kind < 0.8:
            data[at] = rng.randrange(256)
        elif kind < 0.9:
            del data[at : at + rng.randrange(1, 5)]
        elif kind < 0.95:
            data[at:at] = rng.randbytes(rng.randrange(1, 5))
        else:
            del data[at:]
        if not data:
            return b"\x00"
    return bytes(data)


def survives(data, folder=None):
    """Loads and simplifies; a WalleError is fine, anything else is not."""
    try:
        graph = load_bytes(data, folder, check_operators=False)
        fold(infer(graph), lambda *_: None)
    except WalleError as error:
        assert "unexpected way" not in str(error), str(error)
        assert str(error)


@pytest.mark.parametrize("name", ALL)
def test_random_damage(name, tmp_path):
    for seed in range(SEEDS // len(ALL)):
        survives(flipped(ALL[name], seed), tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_every_byte_and_every_length(name):
    data = ALL[name]
    for at in range(len(data)):
        survives(data[:at])
        survives(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        survives(data[:at] + b"\xff" * 10 + data[at:])


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes(data):
    survives(data)


@pytest.mark.parametrize("name", ALL)
def test_samples_are_whole(name):
    load_bytes(ALL[name], check_operators=False)


def changed(name, change):
    model = ModelProto.FromString(ALL[name])
    change(model)
    return model.SerializeToString()


def cycle(model):
    model.graph.node[0].input[0] = "u"


def self_cycle(model):
    model.graph.node[1].input[1] = "u"


def missing(model):
    model.graph.node[0].input[0] = "nowhere"


def twice(model):
    model.graph.node[1].output[0] = "t"


def as_input(model):
    model.graph.node[0].output[0] = "x"


def twice_constant(model):
    model.graph.initializer[1].name = "w"


def twice_input(model):
    model.graph.input.append(model.graph.input[0])


def no_output(model):
    model.graph.output[0].name = "elsewhere"


def negative_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -5


def huge_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2**60


def huge_product(model):
    for dim in model.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_value = 2**40


def many_dims(model):
    for _ in range(50):
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=1)


def two_gigabytes(model):
    model.graph.initializer[0].CopyFrom(
        TensorProto(dims=[2**29], data_type=1, name="w", raw_data=b"0123456789")
    )


def no_type(model):
    model.graph.input[0].ClearField("type")


def no_graph(model):
    model.ClearField("graph")


def no_opset(model):
    model.ClearField("opset_import")


def new_opset(model):
    model.opset_import[0].version = 999


def zero_opset(model):
    model.opset_import[0].version = 0


def no_name(model):
    model.graph.initializer[0].name = ""


def long_name(model):
    model.graph.node[0].output[0] = "t" * 100_000


def no_operator(model):
    model.graph.node[0].op_type = ""


def escaping(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def segment(model):
    model.graph.initializer[0].segment.begin = 1


HOSTILE = {
    cycle: "cycle through .*'mm'", self_cycle: "cycle through .*Add_1", missing: "reads 'nowhere', which nothing defines",
    twice: "'t' .*defined twice", as_input: "'x' .*defined twice", twice_constant: "'w' is defined twice",
    twice_input: "'x' is defined twice", no_output: "output 'elsewhere' is made by no node",
    negative_size: "value 'x': size -5 of dimension 1", huge_size: "value 'x': size 1152921504606846976",
    huge_product: "value 'x': .*beyond", many_dims: "value 'x': .*dimensions", two_gigabytes: "'w'.*2147483648 bytes, but 10",
    no_type: "'x' has no type", no_graph: "no graph", no_opset: "imports no operator set",
    new_opset: "operator set 999", zero_opset: "operator set 0", no_name: "has no name",
    long_name: "100000 characters", no_operator: "no operator is named", escaping: "inside the model's folder",
    segment: "segments",
}  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE, ids=lambda c: c.__name__)
def test_hostile_models(change, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(changed("arithmetic", change))
    with pytest.raises((ModelError, UnsupportedError), match=HOSTILE[change]) as caught:
        load(path, check_operators=False)
    assert "bad.onnx" in str(caught.value)


def test_unknown_operator_names_everything():
    def change(model):
        model.graph.node[0].op_type = "Quux"

    with pytest.raises(UnsupportedError) as caught:
        load_bytes(changed("arithmetic", change))
    for part in ("Quux", "'mm'", "ai.onnx", "operator set 17", "install a plugin"):
        assert part in str(caught.value)


def test_unknown_domain():
    def change(model):
        model.graph.node[0].domain = "com.example"

    with pytest.raises(ModelError, match=r"no operator set of domain 'com.example'"):
        load_bytes(changed("arithmetic", change))


def one_node(op, inputs, **attributes):
    node = helper.make_node(op, inputs, ["y"], name="n")
    for name, value in attributes.items():
        node.attribute.append(
            value if isinstance(value, AttributeProto) else helper.make_attribute(name, value)
        )
    graph = helper.make_graph([node], "g", [info("x", [2, 3])], [info("y", None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (helper.make_attribute("axis", 1.5), "'axis' must be an integer, not a float"),
        (helper.make_attribute("axis", "first"), "'axis' must be an integer, not a string"),
        (helper.make_attribute("axis", [1]), "'axis' must be an integer, not integers"),
        (AttributeProto(name="axis", type=AttributeProto.INT, f=1.0), "says an integer but holds a float"),
        (AttributeProto(name="axis", type=AttributeProto.INTS, i=1), "says integers but holds an integer"),
        (AttributeProto(name="axis"), "no type and 0 values"),
        (AttributeProto(type=AttributeProto.INT, i=1), "no name"),
        (AttributeProto(name="axis", type=AttributeProto.TENSOR), "holds nothing"),
    ],
    ids=range(8),
)
def test_attribute_types(attribute, message):
    with pytest.raises(ModelError, match=message):
        load_bytes(one_node("Softmax", ["x"], axis=attribute))


def test_attribute_twice():
    model = ModelProto.FromString(one_node("Softmax", ["x"], axis=1))
    model.graph.node[0].attribute.append(model.graph.node[0].attribute[0])
    with pytest.raises(ModelError, match="'axis' is given twice"):
        load_bytes(model.SerializeToString())


def test_operands():
    with pytest.raises(ModelError, match="'n' needs 2 inputs"):
        load_bytes(one_node("Add", ["x"]))
    with pytest.raises(ModelError, match="'n' needs 2 inputs"):
        load_bytes(one_node("Add", ["x", ""]))
    with pytest.raises(ModelError, match="'n' takes 1 inputs"):
        load_bytes(one_node("Relu", ["x", "x"]))


def nested(depth):
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["r"])], "g", [], [info("r", [3])])
    for level in range(depth):
        other = helper.make_graph([], "e", [], [info("x", [3])])
        node = helper.make_node("If", ["flag"], [f"r{level}"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "g", [], [info(f"r{level}", [3])])
    graph.input.extend([info("flag", [], TensorProto.BOOL), info("x", [3])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def test_nesting():
    load_bytes(nested(20), check_operators=False)
    with pytest.raises(ModelError, match="nested deeper than 8"):
        load_bytes(nested(20), check_operators=False, limits=Limits(max_depth=8))


def field(number, content):
    """A length-delimited field."""
    size, out = len(content), bytearray([number << 3 | 2])
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(out) + bytes([size]) + content


def test_nesting_beyond_what_protobuf_can_write():
    """10,000 levels of graph, of type and of function: no recursion error."""
    graph = b""
    for _ in range(10_000):
        attribute = field(5, field(1, b"body") + field(6, graph) + b"\xa0\x01\x05")
        graph = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Loop") + attribute)
        if len(graph) > 1 << 20:
            break
    for data in (field(7, graph) + field(8, b"\x10\x11"),):
        with pytest.raises(ModelError, match="nested deeper"):
            load_bytes(data, check_operators=False)
    kind = field(1, b"\x08\x01")
    for _ in range(10_000):
        kind = field(4, field(1, kind))
        if len(kind) > 1 << 20:
            break
    with pytest.raises(ModelError, match="types are nested deeper"):
        load_bytes(field(7, field(11, field(1, b"x") + field(2, kind))) + field(8, b"\x10\x11"))


def test_memory_stays_in_proportion():
    """A small file that declares much takes little memory."""
    hostile = changed("arithmetic", two_gigabytes)
    repeated = field(7, field(1, b"") * 200_000) + field(8, b"\x10\x11")
    tracemalloc.start()
    for data, limit in ((hostile, 1 << 20), (repeated, 300 * len(repeated))):
        tracemalloc.reset_peak()
        with pytest.raises(ModelError):
            load_bytes(data, check_operators=False)
        assert tracemalloc.get_traced_memory()[1] < limit
    tracemalloc.stop()


def test_limits():
    with pytest.raises(ModelError, match="more than 2 nodes"):
        load_bytes(ALL["arithmetic"], limits=Limits(max_nodes=2))
    with pytest.raises(ModelError, match="beyond 16 bytes"):
        load_bytes(ALL["arithmetic"], limits=Limits(max_tensor_bytes=16))
    with pytest.raises(ModelError, match="at most 1 are taken"):
        load_bytes(ALL["arithmetic"], limits=Limits(max_rank=1))


@pytest.mark.parametrize("make", ["absent", "folder", "empty", "text", "pipe"])
def test_files_that_are_no_models(make, tmp_path):
    path = tmp_path / "m.onnx"
    if make == "folder":
        path.mkdir()
    elif make == "empty":
        path.write_bytes(b"")
    elif make == "text":
        path.write_text("hello, this is no model")
    elif make == "pipe":
        os.mkfifo(path)
    for loader in (load, walle_file.load):
        with pytest.raises(ModelError, match=r"m\.onnx"):
            loader(path)


def test_a_model_cannot_be_changed_by_its_tensors(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(ALL["arithmetic"])
    weights = np.asarray(load(path).constants["w"])
    np.testing.assert_array_equal(
        weights, numpy_helper.to_array(ModelProto.FromString(ALL["arithmetic"]).graph.initializer[0])
    )
    if not weights.flags.owndata and not weights.flags.writeable:
        with pytest.raises(ValueError, match="read-only"):
            weights[0] = 1
    assert path.read_bytes() == ALL["arithmetic"]


def test_sniffing():
    frontend = OnnxFrontend()
    assert all(frontend.sniff(data[:64]) for data in ALL.values())
    assert not any(
        frontend.sniff(head) for head in (b"", b"\x08", b"PK\x03\x04", b"\x89HDF", b'{"a": 1}', b"#!/bin/sh")
    )
