"""The protobuf reader against the protobuf package, and against bytes that are no message."""

import contextlib
import struct

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walle_core.frontends.onnx import schema as s
from walle_core.frontends.onnx.wire import MalformedError, Schema, concat, count_varints, decode, varints

INT64 = st.integers(-(2**63), 2**63 - 1)


def view(message):
    return memoryview(message.SerializeToString())


@given(st.lists(INT64, max_size=30), st.integers(-(2**31), 2**31 - 1), st.text(max_size=8))
def test_numbers_and_text_read_like_protobuf(dims, kind, name):
    fields = decode(view(onnx.TensorProto(dims=dims, data_type=kind, name=name)), s.TENSOR)
    assert fields["dims"] == dims
    assert fields["data_type"] == kind
    assert fields["name"] == name


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=20), st.lists(INT64, max_size=20))
def test_packed_fields_stay_bytes(floats, ints):
    fields = decode(view(onnx.TensorProto(float_data=floats, int64_data=ints)), s.TENSOR)
    assert bytes(concat(fields["float_data"])) == struct.pack(f"<{len(floats)}f", *floats) if floats else True
    assert [v for c in fields["int64_data"] for v in varints(c)] == ints
    assert sum(map(count_varints, fields["int64_data"])) == len(ints)


def test_packed_and_unpacked_forms_are_equal():
    packed = decode(memoryview(b"\x0a\x03\x01\x02\x03"), s.TENSOR)
    unpacked = decode(memoryview(b"\x08\x01\x08\x02\x08\x03"), s.TENSOR)
    assert packed["dims"] == unpacked["dims"] == [1, 2, 3]
    floats = decode(memoryview(b"\x25" + struct.pack("<f", 1.5) + b"\x25" + struct.pack("<f", 2.5)), s.TENSOR)
    assert bytes(concat(floats["float_data"])) == struct.pack("<2f", 1.5, 2.5)


def test_unknown_fields_are_skipped():
    fields = decode(memoryview(b"\xf8\x07\x05" + b"\x08\x07" + b"\xfa\x07\x02ab"), s.MODEL)
    assert fields["ir_version"] == 7


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08", "ends in the middle"),
        (b"\x08\xff", "ends in the middle"),
        (b"\x08" + b"\xff" * 11, "longer than 10 bytes"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        (b"\x3a\x05ab", "declares 5 bytes but 2 are left"),
        (b"\x3a\xff\xff\xff\xff\x7f", "declares"),
        (b"\x0d\x00", "needs 4 bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x0a\x00", "another type"),
        (b"\x12\x02\xff\xfe", "UTF-8"),
        (b"\x3a\x00\x3a\x00", "given twice"),
        (b"\x00\x01", "numbered 0"),
    ],
)
def test_broken_messages_are_named(data, message):
    with pytest.raises(MalformedError, match=message):
        decode(memoryview(data), s.MODEL)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_malformed(data):
    for schema in (s.MODEL, s.TENSOR, s.ATTRIBUTE):
        with contextlib.suppress(MalformedError):
            decode(memoryview(data), schema)


def test_lists_have_a_limit(monkeypatch):
    monkeypatch.setattr("walle_core.frontends.onnx.wire.MAX_MESSAGES", 3)
    with pytest.raises(MalformedError, match="more than 3 items"):
        decode(memoryview(b"\x0a\x00" * 4), s.GRAPH)
    with pytest.raises(MalformedError, match="longer than 2"):
        varints(memoryview(b"\x01\x80\x01\x02"), 2)


def test_schemas_agree_with_onnx():
    """Every field has the number, type and multiplicity that the onnx package declares."""
    pairs = {
        "MODEL": onnx.ModelProto, "GRAPH": onnx.GraphProto, "NODE": onnx.NodeProto, "TENSOR": onnx.TensorProto,
        "ATTRIBUTE": onnx.AttributeProto, "FUNCTION": onnx.FunctionProto, "VALUE_INFO": onnx.ValueInfoProto,
        "TYPE": onnx.TypeProto, "SHAPE": onnx.TensorShapeProto, "SPARSE_TENSOR": onnx.SparseTensorProto,
        "OPERATOR_SET": onnx.OperatorSetIdProto, "STRING_PAIR": onnx.StringStringEntryProto,
        "DIMENSION": onnx.TensorShapeProto.Dimension, "TENSOR_TYPE": onnx.TypeProto.Tensor,
        "MAP_TYPE": onnx.TypeProto.Map, "WRAPPED_TYPE": onnx.TypeProto.Sequence,
    }  # fmt: skip
    ours = {k for k, v in vars(s).items() if isinstance(v, Schema)}
    assert ours == set(pairs)
    for key, message in pairs.items():
        schema = getattr(s, key)
        fields = message.DESCRIPTOR.fields_by_number
        for number, name in schema.names.items():
            assert fields[number].name == name
            repeated = isinstance(schema.defaults[name], list)
            assert repeated == fields[number].is_repeated, (key, name)
