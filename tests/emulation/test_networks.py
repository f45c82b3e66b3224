"""Whole networks on emulated instructions: low precision against float32, 8-bit integers against the portable kernels."""

import os
from pathlib import Path

import numpy as np
import pytest

import walle_core as walle


def network(name):
    """(graph, its sample inputs, what float32 gives for them)."""
    folders = [Path(f) for f in os.environ.get("WALLE_MODELS", "").split(os.pathsep) if f]
    found = [p for folder in folders for p in folder.rglob(f"{name}.onnx")]
    if not found:
        pytest.skip(f"set WALLE_MODELS to the folders with the models: {name}.onnx is not there")
    with np.load(found[0].with_suffix(".npz")) as data:
        feeds, made = ({k[len(p) :]: data[k] for k in data.files if k.startswith(p)} for p in ("in_", "out_"))
    return walle.load(str(found[0])), feeds, next(iter(made.values()))


def algorithms(session):
    return {row["algorithm"] for row in session.describe()}


@pytest.mark.parametrize("name", ["mobilenetv2_imagenet", "minilm_l6_128", "kws_dscnn"])
def test_low_precision_keeps_what_a_network_says(backend, name):
    graph, feeds, want = network(name)
    session = walle.Session(graph, backend=backend.name, threads=2, precision="low")
    made = np.asarray(next(iter(session.run(feeds).values())))
    low = backend.kernels.kernel("bf16_dot", "conv") is not None
    assert low == bool(algorithms(session) & {"gemm_bf16", "direct_bf16"})
    a, b = made.reshape(-1).astype(np.float64), want.reshape(-1).astype(np.float64)
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= 0.999
    assert a.argmax() == b.argmax()
    assert not low or np.abs(a - b).max() > 3e-6 * np.abs(b).max()  # rounding to bfloat16 can be seen


def test_high_precision_takes_no_product_of_bfloat16(backend):
    graph, feeds, want = network("kws_dscnn")
    session = walle.Session(graph, backend=backend.name, threads=1)
    made = np.asarray(next(iter(session.run(feeds).values())))
    assert not algorithms(session) & {"gemm_bf16", "direct_bf16"}
    np.testing.assert_allclose(made, want, rtol=1e-4, atol=1e-5)
    exact = walle.Session(graph, backend=backend.name, threads=1, precision="low", exact=True)
    exact.run(feeds)
    assert not algorithms(exact) & {"gemm_bf16", "direct_bf16"}


def test_integers_of_a_network_are_the_same_as_on_the_portable_kernels(backend, portable):
    graph, feeds, _ = network("mobilenetv2_imagenet_qdq")
    session = walle.Session(graph, backend=backend.name, threads=2)
    made = np.asarray(next(iter(session.run(feeds).values())))
    assert {"gemm_int8", "depthwise_int8"} <= algorithms(session)
    other = walle.Session(graph, backend=portable.name, threads=2)
    np.testing.assert_array_equal(made, np.asarray(next(iter(other.run(feeds).values()))))


def test_calibration_rates_every_kernel(backend):
    (device,) = backend.devices()
    rates = backend.calibrate(device, 1, lambda _: None).ops_per_s
    classes = {"gemm_bf16", "direct_bf16"}
    low = backend.kernels.kernel("bf16_dot", "conv") is not None
    assert classes & set(rates) == (classes if low else set())
    assert len(set(rates.values())) == len(rates)  # each was measured by itself
