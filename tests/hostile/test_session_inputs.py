"""Wrong arguments and inputs of a Session: an error that names file and value and says what to do."""

import array
import os

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from seeds import model, some

import walle_core as walle
from walle_core.errors import BackendError, InputError, ModelError, ShapeError, UnsupportedError, WalleError
from walle_core.graph.ir import Graph, Node
from walle_core.ops import CATALOGUE
from walle_core.ops.define import make
from walle_core.types import TensorSpec, float32

BACKENDS = [name for name, devices in walle.backends().items() if devices]
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def saved(folder, data):
    path = folder / "m.onnx"
    path.write_bytes(data)
    return path


@pytest.fixture(params=BACKENDS)
def session(request, tmp_path):
    """y = relu(x W) for x float32 [n, 3], s bool [2]."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["t"], name="mm"),
        helper.make_node("Relu", ["t"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")],
    )  # fmt: skip
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return walle.Session(walle.load(saved(tmp_path, data)), backend=request.param, check_finite=True)


class Raises:
    def __array__(self, *_, **__):
        raise RuntimeError("no array today")


WRONG = {
    "missing": ({}, r"takes inputs \['x'\]; missing: \['x'\]"),
    "another name": ({"q": X}, r"missing: \['x'\]; unknown: \['q'\]"),
    "one too many": ({"x": X, "q": X}, r"unknown: \['q'\]"),
    "name is a number": ({1: X}, r"unknown: \[1\]"),
    "too many positions": ([X, X], "takes 1 inputs .* not 2"),
    "no inputs at all": (None, "a mapping of names to arrays"),
    "dtype": ({"x": X.astype(np.float64)}, r"has dtype float64, needs float32; .*astype\('float32'\)"),
    "bool": ({"x": X > 1}, "has dtype bool, needs float32"),
    "complex": ({"x": X.astype(np.complex64)}, "has dtype complex64, needs float32"),
    "rank": ({"x": X[0]}, r"has shape \[3\], needs \['n', 3\]"),
    "size": ({"x": X[:, :2]}, r"has shape \[2, 2\], needs \['n', 3\]"),
    "number": ({"x": 3}, r"has shape \[\]"),
    "objects": ({"x": X.astype(object)}, "has dtype object, needs float32"),
    "text array": ({"x": np.array(["a"])}, "has dtype string, needs float32"),
    "text": ({"x": "a"}, r"needs float32\[n, 3\]"),
    "bytes": ({"x": b"abc"}, "has dtype uint8"),
    "list": ({"x": X.tolist()}, r"give an array; it needs float32\[n, 3\]"),
    "nothing": ({"x": None}, r"give an array; it needs float32\[n, 3\]"),
    "dates": ({"x": np.array(["2020"], "M8[D]")}, r"it needs float32\[n, 3\]"),
    "records": ({"x": np.zeros(2, [("a", "f4"), ("b", "i4")])}, r"it needs float32\[n, 3\]"),
    "long double": ({"x": X.astype(np.longdouble)}, r"needs float32"),
    "raises": ({"x": Raises()}, "no array today"),
    "nan": ({"x": X * np.nan}, "element 0 is nan; clean the input or pass check_finite=False"),
    "infinity": ({"x": X + np.float32([0, np.inf, 0])}, "element 1 is inf"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_inputs(session, case):
    given, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        session.run(given)
    assert "m.onnx" in str(caught.value)
    assert "unexpected way" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        X, np.asfortranarray(X), np.repeat(X, 2, 0)[::2], X[:, ::-1][:, ::-1], X.astype(">f4"), memoryview(X),
        np.broadcast_to(np.float32(2), (2, 3)), X[:0], np.ma.masked_array(X, X > 1), X[:1].view(type("Sub", (np.ndarray,), {})),
    ],
    ids=["plain", "fortran", "strided", "reversed", "big endian", "memoryview", "broadcast", "empty", "masked", "subclass"],
)  # fmt: skip
def test_unusual_arrays_are_taken_for_what_they_hold(session, value):
    expected = np.maximum(np.asarray(value, np.float32), 0)
    np.testing.assert_array_equal(np.asarray(session.run([value])["y"]), expected)
    flat = array.array("f", range(3))
    with pytest.raises(InputError, match=r"has shape \[3\]"):
        session.run([flat])


ARGUMENTS = {
    "backend": ({"backend": "nope"}, UnsupportedError, "no backend 'nope' is installed; installed: "),
    "one of the backends": ({"backend": ["reference", "nope"]}, UnsupportedError, "no backend 'nope'"),
    "no backend": ({"backend": []}, InputError, "a name, a list of names or None"),
    "backend is a number": ({"backend": 5}, InputError, "a name, a list of names or None"),
    "no threads": ({"threads": 0}, InputError, "an integer from 1 to 64, not 0"),
    "too many threads": ({"threads": 65}, InputError, "an integer from 1 to 64"),
    "threads is a text": ({"threads": "2"}, InputError, "an integer from 1 to 64"),
    "precision": ({"precision": "x"}, InputError, "'x' is not one of high, low"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_wrong_arguments(session, case):
    arguments, kind, message = ARGUMENTS[case]
    with pytest.raises(kind, match=message):
        walle.Session(session.graph, **arguments)


@pytest.mark.parametrize("path", ["absent.onnx", ".", "\0", 5, None])
def test_paths_that_are_no_model(path):
    with pytest.raises(ModelError):
        walle.Session(path)


def test_a_pipe_is_no_model(tmp_path):
    path = tmp_path / "pipe.onnx"
    os.mkfifo(path)
    with pytest.raises(ModelError, match=r"pipe\.onnx.*not a regular file"):
        walle.Session(path)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_operator_that_no_backend_runs(backend, monkeypatch):
    def infer(ctx):
        return [ctx.spec(0)]

    lonely = make("Lonely", "atomic", "unary", infer=infer, input_names=("x",), required=1)
    monkeypatch.setitem(CATALOGUE, "Lonely", lonely)
    graph = Graph(("x",), ("y",), (Node("Lonely", ("x",), ("y",), {}, "n1"),), {}, {"x": TensorSpec(float32, (2,))},
                  source="lonely.onnx")  # fmt: skip
    with pytest.raises(
        UnsupportedError, match=r"lonely\.onnx: no backend among .* runs node Lonely 'n1'"
    ) as caught:
        walle.Session(graph, backend=backend)
    for name in BACKENDS:
        assert name in str(caught.value)


def outside(folder, kind):
    """A model whose weights lie outside of its folder."""
    (folder / "secret").write_bytes(b"\0" * 36)
    (folder / "model").mkdir()
    location = {"above": "../secret", "absolute": str(folder / "secret"), "link": "inner"}[kind]
    (folder / "model" / "inner").symlink_to(folder / "secret")
    tensor = TensorProto(dims=[3, 3], data_type=1, name="w", data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [helper.make_tensor_value_info("x", 1, [2, 3])],
        [helper.make_tensor_value_info("y", 1, None)], [tensor],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize("kind", ["above", "absolute", "link"])
def test_data_outside_of_the_folder(tmp_path, kind):
    data = outside(tmp_path, kind)
    with pytest.raises(ModelError, match=r"m\.onnx.*'w'.*(inside|outside) the model's folder"):
        walle.Session(saved(tmp_path / "model", data))


def test_more_memory_than_there_is(tmp_path):
    """What a file only declares is refused before it is taken: at the inputs, between nodes, and when data says it."""
    wide = model([helper.make_node("MatMul", ["x", "x"], ["y"], name="big")], {"x": some(1, 1)}, ["y"])
    for size in (2**20, 2**24):
        graph = walle.load(saved(tmp_path, wide))
        graph = graph.evolve(specs={"x": TensorSpec(float32, (size, size))})
        with pytest.raises((BackendError, ShapeError), match=r"m\.onnx.*(bytes|elements)"):
            walle.Session(graph, backend="reference")
    grown = model(
        [helper.make_node("Expand", ["x", "to"], ["y"], name="grow")],
        {"x": some(1), "to": np.array([1, 1])},
        ["y"],
    )
    for backend in BACKENDS:
        session = walle.Session(walle.load(saved(tmp_path, grown)), backend=backend)
        assert np.asarray(session.run([some(1), np.array([2, 3])])["y"]).shape == (2, 3)
        for shape in ([2**31, 2**9], [2**62, 2], [-1, -5]):
            with pytest.raises(WalleError, match=r"m\.onnx.*'grow'"):
                session.run([some(1), np.array(shape)])


def test_a_loop_without_end(tmp_path, monkeypatch):
    monkeypatch.setenv("WALLE_MAX_TRIPS", "512")
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["a"], ["b"])], "body",
        [info("i", 7, []), info("go", 9, []), info("a", 1, [1])], [info("on", 9, []), info("b", 1, [1])],
    )  # fmt: skip
    data = model([helper.make_node("Loop", ["", "yes", "x"], ["y"], name="ever", body=body)], {"x": some(1)}, ["y"],
                 yes=np.array(True))  # fmt: skip
    for backend in BACKENDS:
        session = walle.Session(walle.load(saved(tmp_path, data)), backend=backend)
        with pytest.raises(ModelError, match=r"'ever'.*still runs after 512 trips.*WALLE_MAX_TRIPS"):
            session.run([some(1)])
