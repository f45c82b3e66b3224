"""Damaged and hostile TFLite files end in a WalleError that says what and where."""

import os
import random
import struct

import numpy as np
import pytest
from test_hostile import flipped
from tflite_files import T, const, litert, ours, packed

import walle_core as walle
from walle_core.cli import main
from walle_core.errors import ModelError, UnsupportedError, WalleError
from walle_core.frontends.tflite import load, load_bytes
from walle_core.graph.fold import fold
from walle_core.graph.shapes import infer

CASES = 200_000 if os.environ.get("WALLE_FULL") else 4_000
R = np.random.default_rng(3)


def network():
    """A small quantised network: convolutions, a residual, a pool, a classifier."""
    q = lambda *shape: T(shape, "int8", None, 0.04, 3)
    conv = {"padding": 0, "strideH": 1, "strideW": 1, "fusedActivationFunction": 1}
    scales = R.uniform(0.005, 0.01, 4).astype(np.float32)
    tensors = [
        q(1, 6, 6, 2), const(R.integers(-90, 90, (4, 3, 3, 2)), "int8", scales), const(R.integers(-99, 99, 4), "int32", scales * np.float32(0.04)),
        q(1, 6, 6, 4), const(R.integers(-90, 90, (1, 3, 3, 4)), "int8", scales, 0, 3), const(R.integers(-99, 99, 4), "int32", scales * np.float32(0.04)),
        q(1, 6, 6, 4), q(1, 6, 6, 4), q(1, 3, 3, 4), const([-1, 36], "int32"), q(1, 36), const(R.integers(-90, 90, (5, 36)), "int8", 0.01),
        const(R.integers(-99, 99, 5), "int32", 0.0004), q(1, 5), T((1, 5), "int8", None, 1 / 256, -128),
    ]  # fmt: skip
    operators = [
        ("CONV_2D", [0, 1, 2], [3], conv), ("DEPTHWISE_CONV_2D", [3, 4, 5], [6], conv | {"depthMultiplier": 1}),
        ("ADD", [3, 6], [7], {}), ("MAX_POOL_2D", [7], [8], {"padding": 1, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}),
        ("RESHAPE", [8, 9], [10], {}), ("FULLY_CONNECTED", [10, 11, 12], [13], {}), ("SOFTMAX", [13], [14], {"beta": 1.0}),
    ]  # fmt: skip
    return packed(tensors, operators, [0], [14])


NETWORK = network()


def test_it_runs():
    x = R.integers(-128, 128, (1, 6, 6, 2)).astype(np.int8)
    for backend in ("reference", None):
        np.testing.assert_allclose(
            ours(NETWORK, [x], backend)[0].astype(int), litert(NETWORK, [x])[0].astype(int), atol=1
        )


def survives(data):
    """Loads and simplifies; a WalleError is fine, anything else is not."""
    try:
        graph = load_bytes(data)
        fold(infer(graph), lambda *_: None)
    except WalleError as error:
        assert "unexpected way" not in str(error), str(error)
        assert str(error)


def test_random_damage():
    for seed in range(CASES):
        survives(flipped(NETWORK, seed))


def test_every_cut():
    for end in range(0, len(NETWORK), 1 if os.environ.get("WALLE_FULL") else 7):
        with pytest.raises(WalleError):
            load_bytes(NETWORK[:end])


def test_every_offset_leads_astray():
    """Each aligned word in turn becomes something that is no offset and no size."""
    rng = random.Random(5)
    for at in range(0, len(NETWORK) - 4, 4):
        value = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(NETWORK), len(NETWORK) - at, at])
        survives(NETWORK[:at] + struct.pack("<I", value) + NETWORK[at + 4 :])


def test_operators_that_are_not_there_are_all_named():
    tensors = [T((1, 4))] * 4
    operators = [("CUSTOM:Strange", [0], [1], {}), ("SVDF", [1], [2], {}), ("CUSTOM:Strange", [2], [3], {})]
    with pytest.raises(UnsupportedError, match=r"CUSTOM:Strange \(operator 0, 2\).*SVDF \(operator 1\)"):
        load_bytes(packed(tensors, operators, [0], [3]))


@pytest.mark.parametrize(
    ("tensors", "operators", "outputs", "error", "text"),
    [
        ([T((1, 4)), T((1, 4))], [("RELU", [0], [9], {})], [1], ModelError, "operator 0 .RELU. refers to a tensor"),
        ([T((1, 4)), T((1, 4))], [("RELU", [0], [1], {})], [7], ModelError, "output of the graph is tensor 7 of 2"),
        ([T((1, 4)), T((1, 4))], [("RELU", [1], [1], {})], [1], ModelError, "cycle"),
        ([T((1, 4)), T((1, 4))], [], [1], ModelError, "made by no operator"),
        ([T((1, 4)), T((1, 4), "int8", None, 0.0)], [("QUANTIZE", [0], [1], {})], [1], ModelError, "not positive"),
        ([T((1, 4)), T((1, 4), "int8", None, [0.1, 0.2, 0.3], 0, 1)], [("QUANTIZE", [0], [1], {})], [1], ModelError, "dimension 1"),
        ([T((1, 4)), T((1, 4), "int8", None, 0.1, 300)], [("QUANTIZE", [0], [1], {})], [1], UnsupportedError, "zero point"),
        ([T((1, 4)), T((3, 4), "float32", np.zeros(5, np.float32)), T((1, 4))], [("ADD", [0, 1], [2], {})], [2], ModelError, "takes 48 bytes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tensors, operators, outputs, error, text):
    with pytest.raises(error, match=text):
        load_bytes(packed(tensors, operators, [0], outputs))


def test_versions_and_other_files():
    with pytest.raises(UnsupportedError, match="version 9"):
        load_bytes(packed([T((1,))], [], [0], [0], version=9))
    with pytest.raises(ModelError, match="TFL3"):
        load_bytes(b"\x00" * 64)
    with pytest.raises(ModelError):
        load_bytes(b"")


def test_a_file_is_found_by_suffix_and_by_content(tmp_path):
    for name in ("m.tflite", "m.bin"):
        path = tmp_path / name
        path.write_bytes(NETWORK)
        graph = walle.load(path)
        assert graph.inputs == ("t0",) and graph.source == str(path)
        assert graph.metadata["producer"] == "walle tests"
    path.write_bytes(NETWORK[:100])
    with pytest.raises(ModelError, match=r"m\.bin"):
        load(path)


@pytest.mark.parametrize("ending", ["walle", "onnx"])
def test_it_converts(ending, tmp_path, capsys):
    source = tmp_path / "m.tflite"
    source.write_bytes(NETWORK)
    for options in ([], ["--optimize"]):
        assert main(["convert", str(source), str(tmp_path / f"m.{ending}"), *options]) == 0
        assert "the same in every bit" in capsys.readouterr().out
