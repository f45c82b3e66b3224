"""Real models: what the frontend reads is what the onnx package reads, and survives the model file."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from walle_core.errors import WalleError
from walle_core.frontends import walle_file
from walle_core.frontends.onnx import load, load_bytes
from walle_core.frontends.onnx.upgrade import RULES
from walle_core.graph.ir import Graph, subgraphs


def test_parsed_content_is_that_of_onnx(model_file):
    graph = load(model_file, check_operators=False)
    model = onnx.load(model_file)
    constants = {t.name: t for t in model.graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"
                  and n.attribute[0].name == "value"}  # fmt: skip
    for name, tensor in constants.items():
        value = graph.constants[name]
        expected = numpy_helper.to_array(tensor)
        assert tuple(value.shape) == expected.shape
        assert value.dtype == expected.dtype.name
        assert value.tobytes() == expected.tobytes(), name
    assert graph.inputs == tuple(i.name for i in model.graph.input if i.name not in constants)
    assert graph.outputs == tuple(o.name for o in model.graph.output)
    for value in model.graph.input:
        if value.name in graph.inputs:
            spec = graph.specs[value.name]
            assert (
                helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype.name)) == value.type.tensor_type.elem_type
            )
            assert spec.shape is not None
            for have, dim in zip(spec.shape, value.type.tensor_type.shape.dim, strict=True):
                assert have == (dim.dim_value if dim.HasField("dim_value") else have)
                assert isinstance(have, str) == (not dim.HasField("dim_value"))
    assert_nodes(graph, model)


def assert_nodes(graph, model):
    """Nodes that no rule touches are there with the same operands and attributes."""
    theirs = {tuple(n.output): n for n in model.graph.node if n.op_type != "Constant"}
    assert Counter(n.op_type for n in theirs.values() if n.op_type not in RULES) <= Counter(
        n.op for n in graph.nodes
    )
    for node in graph.nodes:
        original = theirs.get(node.outputs)
        if original is None or original.op_type in RULES:
            continue
        assert (node.op, node.inputs) == (original.op_type, tuple(original.input))
        for attribute in original.attribute:
            mine, value = node.attrs[attribute.name], helper.get_attribute_value(attribute)
            if isinstance(mine, Graph):
                assert mine.outputs == tuple(o.name for o in value.output)
            elif isinstance(mine, str):
                assert mine == value.decode()
            elif hasattr(mine, "tobytes"):
                assert mine.tobytes() == numpy_helper.to_array(value).tobytes()
            elif isinstance(mine, tuple):
                assert list(mine) == list(value)
            else:
                assert mine == value


def same_value(a, b):
    if isinstance(a, Graph):
        return same_graph(a, b) is None
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same_value, a, b))
    if hasattr(a, "tolist"):
        same = a.dtype == b.dtype and tuple(a.shape) == tuple(b.shape)
        return same and (a.tobytes() == b.tobytes() if hasattr(a, "tobytes") else a.tolist() == b.tolist())
    return type(a) is type(b) and (a == b or a != a)


def same_graph(a, b):
    assert (a.inputs, a.outputs, a.specs, a.name, a.metadata) == (
        b.inputs,
        b.outputs,
        b.specs,
        b.name,
        b.metadata,
    )
    assert set(a.constants) == set(b.constants)
    assert all(same_value(v, b.constants[k]) for k, v in a.constants.items())
    assert len(a.nodes) == len(b.nodes)
    for one, two in zip(a.nodes, b.nodes, strict=True):
        assert (one.op, one.inputs, one.outputs, one.name) == (two.op, two.inputs, two.outputs, two.name)
        assert set(one.attrs) == set(two.attrs)
        assert all(same_value(v, two.attrs[k]) for k, v in one.attrs.items())


def test_round_trip_through_the_model_file(model_file, tmp_path):
    graph = load(model_file, check_operators=False)
    walle_file.save(graph, tmp_path / "m.walle")
    same_graph(graph, walle_file.load(tmp_path / "m.walle"))


def test_every_operator_is_in_the_catalogue(model_file):
    graph = load(model_file)
    assert graph.nodes
    assert graph.source == str(model_file)


def test_truncated_models(model_file):
    """Cut anywhere, a model ends in an error that says so, or is a whole model as far as protobuf can tell."""
    data = model_file.read_bytes()[: 1 << 22]
    for share in (0.0, 0.01, 0.1, 0.5, 0.9, 0.999):
        cut = data[: int(len(data) * share)]
        with pytest.raises(WalleError):
            load_bytes(cut)


def test_subgraphs_know_what_they_read(model_file):
    def check(graph, outer):
        known = {*outer, *graph.inputs, *graph.constants}
        for node in graph.nodes:
            assert {n for n in node.inputs if n} <= known
            for inner in subgraphs(node):
                check(inner, known)
            known.update(node.outputs)
        assert set(graph.outputs) <= known

    check(load(model_file, check_operators=False), set())
