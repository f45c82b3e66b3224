"""TensorProto -> Tensor for every data type and way of storing it, against onnx.numpy_helper."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from walle_core.errors import ModelError, UnsupportedError
from walle_core.frontends.onnx.external import ExternalData
from walle_core.frontends.onnx.limits import DEFAULT_LIMITS, Limits
from walle_core.frontends.onnx.schema import DATA_TYPES
from walle_core.frontends.onnx.tensor import TensorReader
from walle_core.types import DTYPES

READER = TensorReader(DEFAULT_LIMITS, None)
NUMERIC = [n for n, t in DATA_TYPES.items() if t != "string"]


def read(proto, reader=READER):
    return reader.read(memoryview(proto.SerializeToString()), "test")[1]


def same(tensor, expected):
    """The same type, shape and bits."""
    assert tensor.dtype == expected.dtype.name
    assert tuple(tensor.shape) == expected.shape
    if tensor.dtype in ("int4", "int2"):  # the unused high bits carry the sign here
        assert tensor.reshape(-1).tolist() == expected.astype(np.int8).reshape(-1).tolist()
        return
    assert tensor.tobytes() == np.ascontiguousarray(expected).tobytes()


def values(data_type, count, seed=0):
    """Random values that the type can hold, as an array of that type."""
    kind = helper.tensor_dtype_to_np_dtype(data_type)
    rng = np.random.default_rng(seed)
    name = DATA_TYPES[data_type]
    if name == "bool":
        return rng.integers(0, 2, count).astype(bool)
    if DTYPES[name].kind in "iu":
        low = -(1 << DTYPES[name].bits - 1) if DTYPES[name].kind == "i" else 0
        high = (1 << DTYPES[name].bits - (DTYPES[name].kind == "i")) - 1
        if DTYPES[name].bits == 64:
            return rng.integers(low, high, count, dtype=kind, endpoint=True)
        return rng.integers(low, high, count, endpoint=True).astype(kind)
    if DTYPES[name].kind == "c":
        return (rng.normal(size=count) + 1j * rng.normal(size=count)).astype(kind)
    return np.abs(rng.normal(size=count)).astype(kind)


@pytest.mark.parametrize("data_type", NUMERIC, ids=lambda n: DATA_TYPES[n])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (2, 0, 3), (7,)], ids=str)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_every_type_reads_like_onnx(data_type, shape, raw):
    data = values(data_type, int(np.prod(shape)))
    content = data
    if raw:
        if DTYPES[DATA_TYPES[data_type]].bits < 8:
            proto = numpy_helper.from_array(data.reshape(shape))
        else:
            proto = helper.make_tensor("t", data_type, shape, content.tobytes(), raw=True)
    else:
        proto = helper.make_tensor("t", data_type, shape, content)
    same(read(proto), numpy_helper.to_array(proto).astype(data.dtype))


def test_data_types_are_those_of_onnx():
    names = dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True))
    missing = {names[n] for n in names if n not in DATA_TYPES}
    assert missing == {"UNDEFINED", "FLOAT6E2M3", "FLOAT6E3M2"}
    for number, name in DATA_TYPES.items():
        if name != "string":
            assert helper.tensor_dtype_to_np_dtype(number) == np.dtype(
                helper.tensor_dtype_to_np_dtype(number)
            )
            assert helper.tensor_dtype_to_np_dtype(number).name == name


def test_strings():
    proto = helper.make_tensor("t", TensorProto.STRING, (2, 2), ["a", "bé", "", "d"])
    tensor = read(proto)
    assert tensor.tolist() == [["a", "bé"], ["", "d"]]
    assert np.asarray(tensor).tolist() == numpy_helper.to_array(proto).tolist()


@given(st.integers(0, 4), st.integers(0, 4), st.data())
def test_sparse_tensors_become_dense(rows, columns, data):
    size = rows * columns
    at = sorted(data.draw(st.sets(st.integers(0, size - 1), max_size=size))) if size else []
    linear = data.draw(st.booleans())
    content = np.arange(1, len(at) + 1, dtype=np.float32)
    expected = np.zeros((rows, columns), np.float32)
    expected.reshape(-1)[at] = content
    indices = (
        np.array(at, np.int64)
        if linear
        else np.array([divmod(i, columns) for i in at], np.int64).reshape(-1, 2)
    )
    proto = helper.make_sparse_tensor(
        numpy_helper.from_array(content, "v"), numpy_helper.from_array(indices, "i"), [rows, columns]
    )
    name, tensor = READER.read_sparse(memoryview(proto.SerializeToString()), "test")
    assert name == "v"
    same(tensor, expected)


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (
            TensorProto(dims=[2**29], data_type=1, raw_data=b"ab", name="w"),
            "'w'.*2147483648 bytes, but 2 are there",
        ),
        (TensorProto(dims=[2**62], data_type=1), "beyond"),
        (TensorProto(dims=[2**40, 2**40, 2**40], data_type=1), "beyond"),
        (TensorProto(dims=[2**40, 0, 2**40], data_type=8), "but|beyond|has"),
        (TensorProto(dims=[-1], data_type=1), "negative"),
        (TensorProto(dims=[1] * 99, data_type=1), "99 dimensions"),
        (TensorProto(dims=[2], data_type=1, float_data=[1.0]), "8 bytes, but float_data has 4"),
        (TensorProto(dims=[2], data_type=1, int32_data=[1, 2]), "float_data has 0"),
        (TensorProto(dims=[1], data_type=3, int32_data=[300]), "does not fit int8"),
        (TensorProto(dims=[1], data_type=10, int32_data=[70000]), "does not fit float16"),
        (TensorProto(dims=[3], data_type=22, int32_data=[1]), "2 numbers"),
        (TensorProto(dims=[2**30], data_type=7, int64_data=[1]), "numbers, but int64_data has 1"),
        (TensorProto(dims=[1], data_type=8), "1 strings, but 0"),
        (TensorProto(dims=[1], data_type=8, string_data=[b"\xff"]), "UTF-8"),
    ],
    ids=range(14),
)
def test_declared_and_present_must_agree(proto, message):
    if proto.dims == [2**40, 0, 2**40]:
        assert read(proto).size == 0
        return
    with pytest.raises(ModelError, match=message):
        read(proto)


@pytest.mark.parametrize("data_type", [0, 27, 99])
def test_unknown_types_are_refused(data_type):
    with pytest.raises(UnsupportedError, match=f"data type {data_type}"):
        read(TensorProto(dims=[1], data_type=data_type, raw_data=b"abcd"))


def test_sparse_tensors_have_a_limit_of_their_own():
    reader = TensorReader(Limits(max_expanded_bytes=1000), None)
    proto = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "v"),
        numpy_helper.from_array(np.zeros(1, np.int64)),
        [1000],
    )
    with pytest.raises(ModelError, match="beyond 1000 bytes when made dense"):
        reader.read_sparse(memoryview(proto.SerializeToString()), "test")


@pytest.mark.parametrize("index", [[4], [-1], [[0, 3]], [[2, 0]], [[-1, 0]]])
def test_sparse_indices_stay_inside(index):
    proto = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "v"),
        numpy_helper.from_array(np.array(index, np.int64)),
        [2, 2],
    )
    with pytest.raises(ModelError, match="outside"):
        READER.read_sparse(memoryview(proto.SerializeToString()), "test")


def external(location, **more):
    proto = TensorProto(dims=[4], data_type=1, name="w", data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        proto.external_data.add(key=key, value=str(value))
    return proto


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "model"
    (inside / "deep").mkdir(parents=True)
    (inside / "w.bin").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    (inside / "deep" / "w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (inside / "leads_out").symlink_to(tmp_path / "secret.bin")
    (inside / "folder_out").symlink_to(tmp_path)
    (inside / "leads_in").symlink_to("w.bin")
    return inside


def test_external_data(folder):
    reader = TensorReader(DEFAULT_LIMITS, ExternalData(folder))
    assert read(external("w.bin", offset=8, length=16), reader).tolist() == [2, 3, 4, 5]
    assert read(external("deep/w.bin"), reader).tolist() == [0, 1, 2, 3]
    assert read(external("leads_in", offset=16), reader).tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (external("../secret.bin"), "inside the model's folder"),
        (external("/etc/passwd"), "inside the model's folder"),
        (external("deep/../../secret.bin"), "inside the model's folder"),
        (external("C:\\secret.bin"), "inside the model's folder"),
        (external("..\\secret.bin"), "inside the model's folder"),
        (external("leads_out"), "outside the model's folder"),
        (external("folder_out/secret.bin"), "outside the model's folder"),
        (external(""), "must be relative"),
        (external("a\0b"), "must be relative"),
        (external("absent.bin"), "cannot be opened"),
        (external("deep"), "not a regular file"),
        (external("w.bin", offset=20), "needs bytes 20 to 36 of 'w.bin', which has 32"),
        (external("w.bin", offset=-4), "is not a size"),
        (external("w.bin", offset="9" * 30), "is not a size"),
        (external("w.bin", offset=2**62), "needs bytes"),
        (external("w.bin", length=12), "length 12, the shape needs 16"),
        (external("w.bin", length="x"), "is not a size"),
    ],
    ids=range(17),
)
def test_external_data_stays_in_the_folder(folder, proto, message):
    with pytest.raises(ModelError, match=message) as caught:
        read(proto, TensorReader(DEFAULT_LIMITS, ExternalData(folder)))
    assert "'w'" in str(caught.value)


def test_external_data_needs_a_folder():
    with pytest.raises(ModelError, match="give `folder`"):
        read(external("w.bin"))


def test_pipes_do_not_hang(folder):
    import os

    os.mkfifo(folder / "pipe")
    with pytest.raises(ModelError, match="not a regular file"):
        read(external("pipe"), TensorReader(DEFAULT_LIMITS, ExternalData(folder)))


def test_large_tensors_are_views_of_the_file(tmp_path):
    from walle_core.frontends.onnx import load

    weights = np.arange(1 << 16, dtype=np.float32)
    x = helper.make_tensor_value_info("x", 1, [1 << 16])
    y = helper.make_tensor_value_info("y", 1, [1 << 16])
    node = helper.make_node("Add", ["x", "w"], ["y"])
    for pad in range(4):  # one of the four puts the data at a multiple of 4
        graph = helper.make_graph([node], "g" * (pad + 1), [x], [y], [numpy_helper.from_array(weights, "w")])
        path = tmp_path / f"{pad}.onnx"
        onnx.save(helper.make_model(graph), path)
        tensor = load(path, check_operators=False).constants["w"]
        assert tensor.address % 4 == 0
        np.testing.assert_array_equal(np.asarray(tensor), weights)
