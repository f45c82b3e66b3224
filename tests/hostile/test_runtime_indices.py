"""Indices, counts and shapes that come as inputs when a model runs: any number ends in an error or a defined result.

Operands lie between guard values, so that an element from outside shows in the result.
"""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import walle_core as walle
from walle_core.errors import WalleError
from walle_core.graph import footprint

BACKENDS = [name for name, devices in walle.backends().items() if devices]
GUARD = 1e30
NUMBERS = (-(2**63), -(2**31), -7, -3, -2, -1, 0, 1, 2, 3, 4, 7, 2**31, 2**62, 2**63 - 1)
N = helper.make_node


def guarded(shape, dtype=np.float32):
    """An array of 1, 2, 3, ... with guard values before and behind."""
    size = int(np.prod(shape))
    whole = np.full(size + 64, GUARD if np.dtype(dtype).kind == "f" else 99, dtype)
    inner = whole[32 : 32 + size]
    inner[:] = np.arange(1, size + 1)
    return inner.reshape(shape)


D = guarded((4, 3))
V = np.array([[1.5, 2.5, 3.5]], np.float32)
CASES = {
    "Gather": (["d", "i"], {"axis": 0}, lambda n: {"d": D, "i": np.array([n, 0])}),
    "Gather 1": (["d", "i"], {"axis": 1}, lambda n: {"d": D, "i": np.array([[n], [1]])}),
    "Gather int32": (["d", "i"], {}, lambda n: {"d": D, "i": np.array([max(min(n, 2**31 - 1), -(2**31))], np.int32)}),
    "GatherElements": (["d", "i"], {"axis": 0}, lambda n: {"d": D, "i": np.array([[n, 0, 1]])}),
    "GatherElements 1": (["d", "i"], {"axis": 1}, lambda n: {"d": D, "i": np.array([[0, n], [1, 1], [0, 0], [2, n]])}),
    "GatherND": (["d", "i"], {}, lambda n: {"d": D, "i": np.array([[n, 0], [0, n], [1, 1]])}),
    "GatherND 1": (["d", "i"], {}, lambda n: {"d": D, "i": np.array([[n], [2]])}),
    "GatherND batch": (["d", "i"], {"batch_dims": 1}, lambda n: {"d": D, "i": np.array([[0], [n], [1], [n]])}),
    "ScatterElements": (["d", "i", "v"], {"axis": 0}, lambda n: {"d": D, "i": np.array([[n, 0, 1]]), "v": V}),
    "ScatterElements add": (["d", "i", "v"], {"axis": 1, "reduction": "add"}, lambda n: {"d": D, "i": np.array([[n, 0, 1]]), "v": V}),
    "ScatterND": (["d", "i", "v"], {}, lambda n: {"d": D, "i": np.array([[n]]), "v": V}),
    "TensorScatter": (["c", "u", "w"], {"axis": 1}, lambda n: {"c": guarded((1, 4, 3)), "u": V[None], "w": np.array([n])}),
    "OneHot": (["i", "n", "b"], {}, lambda n: {"i": np.array([n, 1]), "n": np.array(3), "b": np.array([0, 1], np.float32)}),
    "OneHot depth": (["i", "n", "b"], {}, lambda n: {"i": np.array([1]), "n": np.array(n), "b": np.array([0, 1], np.float32)}),
    "TopK": (["d", "k"], {"axis": 0}, lambda n: {"d": D, "k": np.array([n])}),
    "Slice": (["d", "s", "e", "a", "t"], {}, lambda n: {"d": D, "s": np.array([n]), "e": np.array([2**63 - 1]), "a": np.array([0]), "t": np.array([1])}),
    "Slice step": (["d", "s", "e", "a", "t"], {}, lambda n: {"d": D, "s": np.array([0]), "e": np.array([3]), "a": np.array([0]), "t": np.array([n])}),
    "Slice axis": (["d", "s", "e", "a"], {}, lambda n: {"d": D, "s": np.array([0]), "e": np.array([2]), "a": np.array([n])}),
    "Pad": (["d", "p"], {}, lambda n: {"d": D, "p": np.array([n, 0, 0, 0])}),
    "Pad reflect": (["d", "p"], {"mode": "reflect"}, lambda n: {"d": D, "p": np.array([0, n, 0, 0])}),
    "Tile": (["d", "r"], {}, lambda n: {"d": D, "r": np.array([1, n])}),
    "Expand": (["d", "r"], {}, lambda n: {"d": D, "r": np.array([n, 4, 3])}),
    "Reshape": (["d", "r"], {}, lambda n: {"d": D, "r": np.array([n, -1])}),
    "Range": (["n", "m", "o"], {}, lambda n: {"n": np.array(0), "m": np.array(n), "o": np.array(1)}),
    "Range step": (["n", "m", "o"], {}, lambda n: {"n": np.array(0), "m": np.array(5), "o": np.array(n)}),
    "ConstantOfShape": (["r"], {}, lambda n: {"r": np.array([n, 2])}),
    "CumSum": (["d", "a0"], {}, lambda n: {"d": D, "a0": np.array(n)}),
    "Squeeze": (["s1", "a"], {}, lambda n: {"s1": guarded((1, 3)), "a": np.array([n])}),
    "Unsqueeze": (["d", "a"], {}, lambda n: {"d": D, "a": np.array([n])}),
    "ReduceSum": (["d", "a"], {}, lambda n: {"d": D, "a": np.array([n])}),
    "Split": (["d", "p2"], {"axis": 0}, lambda n: {"d": D, "p2": np.array([n])}),
    "Trilu": (["d", "n"], {"upper": 0}, lambda n: {"d": D, "n": np.array(n)}),
    "ReverseSequence": (["d", "l"], {}, lambda n: {"d": D, "l": np.array([n, 1, 2])}),
    "Compress": (["d", "m1"], {"axis": 0}, lambda n: {"d": D, "m1": np.ones(n % 9, bool)}),
    "EyeLike": (["d"], {"k": 2**62}, lambda n: {"d": D}),
    "BitShift": (["x", "y1"], {"direction": "LEFT"}, lambda n: {"x": np.ones(3, np.uint64), "y1": np.full(3, n % 2**64, np.uint64)}),
    "MaxUnpool": (["u4", "i4"], {"kernel_shape": [2, 2], "strides": [2, 2]},
                  lambda n: {"u4": guarded((1, 1, 2, 2)), "i4": np.array([[[[n, 1], [2, 3]]]])}),
    "Col2Im": (["c3", "h", "b2"], {}, lambda n: {"c3": guarded((1, 4, 4)), "h": np.array([n, 4]), "b2": np.array([2, 2])}),
    "Resize": (["d", "", "", "r"], {}, lambda n: {"d": D, "r": np.array([n, 3])}),
    "NonMaxSuppression": (["bx", "sc", "mx"], {}, lambda n: {"bx": guarded((1, 3, 4)), "sc": guarded((1, 1, 3)), "mx": np.array([n])}),
    "RoiAlign": (["x4", "ro", "bi"], {"output_height": 1, "output_width": 1},
                 lambda n: {"x4": guarded((1, 1, 4, 4)), "ro": np.array([[0, 0, 2, 2]], np.float32), "bi": np.array([n])}),
    "SequenceAt": None,
    "NegativeLogLikelihoodLoss": (["d", "i"], {"reduction": "none"}, lambda n: {"d": D, "i": np.array([n, 0, 1, 2])}),
    "LSTM": (["xs", "lw", "lr", "", "ln"], {"hidden_size": 2},
             lambda n: {"xs": guarded((3, 1, 2)) / 10, "lw": guarded((1, 8, 2)) / 99, "lr": guarded((1, 8, 2)) / 99,
                        "ln": np.array([max(min(n, 2**31 - 1), -(2**31))], np.int32)}),
}  # fmt: skip
del CASES["SequenceAt"]


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    """Numbers that a large machine could serve are refused as on a small one."""
    monkeypatch.setattr(footprint, "available_bytes", lambda: 1 << 27)


def one_node(op, names, attributes, feeds):
    """A graph of one node all of whose operands are inputs of open size."""
    kinds = {k: helper.np_dtype_to_tensor_dtype(v.dtype) for k, v in feeds.items()}
    infos = [helper.make_tensor_value_info(k, kinds[k], [None] * v.ndim) for k, v in feeds.items()]
    made = ["y", "z"][: 2 if op in ("TopK",) else 1]
    node = N(op, names, made, name="node", **attributes)
    graph = helper.make_graph(
        [node], "g", infos, [helper.make_tensor_value_info(m, TensorProto.UNDEFINED, None) for m in made]
    )
    for value in graph.output:
        value.ClearField("type")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)]).SerializeToString()


def results(op, names, attributes, feeds):
    """Per backend: arrays, or the error."""
    made = {}
    graph = walle.load_bytes(one_node(op, names, attributes, feeds))
    for backend in BACKENDS:
        try:
            found = walle.Session(graph, backend=backend).run(feeds)
            made[backend] = [np.asarray(v) for v in found.values()]
        except WalleError as error:
            assert "'node'" in str(error) or "input" in str(error), str(error)
            assert "unexpected way" not in str(error)
            made[backend] = error
    return made


@pytest.mark.parametrize("case", CASES)
def test_any_number(case):
    names, attributes, feed = CASES[case]
    op = case.partition(" ")[0]
    for n in NUMBERS:
        feeds = {k: v for k, v in feed(n).items() if k in names}
        before = {k: v.base.copy() if v.base is not None else v.copy() for k, v in feeds.items()}
        made = results(op, names, attributes, feeds)
        for k, v in feeds.items():  # nothing was written outside, or inside
            np.testing.assert_array_equal(v.base if v.base is not None else v, before[k])
        for found in made.values():
            for value in found if isinstance(found, list) else []:
                assert not (np.abs(value.astype(np.float64)) >= GUARD).any(), f"{case} {n}: {value}"


def test_good_numbers_agree():
    """The cases are meant: with numbers inside, every backend gives the reference's result."""
    for (case, row), n in itertools.product(CASES.items(), (0, 1, 2)):
        names, attributes, feed = row
        made = results(
            case.partition(" ")[0], names, attributes, {k: v for k, v in feed(n).items() if k in names}
        )
        first = made.pop("reference")
        for backend, found in made.items():
            assert isinstance(found, list) == isinstance(first, list), (
                f"{case} {n} {backend}: {found} {first}"
            )
            for a, b in zip(found, first, strict=True) if isinstance(first, list) else []:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=f"{case} {n} {backend}")


def test_constant_operands_too():
    """The same where the operands are constants, which are folded or become arguments of kernels."""
    for (case, row), n in itertools.product(CASES.items(), NUMBERS):
        names, attributes, feed = row
        feeds = {k: v for k, v in feed(n).items() if k in names}
        from onnx import ModelProto

        model = ModelProto.FromString(one_node(case.partition(" ")[0], names, attributes, feeds))
        first = next(iter(feeds))
        for info in list(model.graph.input):
            if info.name != first:
                model.graph.input.remove(info)
                model.graph.initializer.append(
                    numpy_helper.from_array(np.ascontiguousarray(feeds[info.name]), info.name)
                )
        for backend in BACKENDS:
            try:
                found = walle.Session(walle.load_bytes(model.SerializeToString()), backend=backend).run(
                    [feeds[first]]
                )
            except WalleError as error:
                assert "unexpected way" not in str(error)
                continue
            for value in found.values():
                assert not (np.abs(np.asarray(value).astype(np.float64)) >= GUARD).any(), f"{case} {n}"
