"""Static quantisation: close to the float model, exact about what it refuses."""

import subprocess
import sys

import numpy as np
import pytest

import walle_core as walle
from walle_core.frontends.walle_file import save
from walle_core.graph.builder import Builder
from walle_core.quantization import METHODS, quantize
from walle_core.quantization.ranges import Range

RNG = np.random.default_rng(0)


def tensor(*shape, scale=None):
    scale = 1 / np.sqrt(np.prod(shape[1:])) if scale is None else scale
    return walle.Tensor.wrap((RNG.standard_normal(shape) * scale).astype(np.float32))


def network():
    """Convolutions of every kind, a residual sum, pooling, a concatenation and a classifier."""
    g = Builder()
    x = g.input("x", "float32", (2, 3, 16, 16))
    pads = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    y = g.Relu(g.Conv(x, g.const(tensor(16, 3, 3, 3)), g.const(tensor(16, scale=0.1)), **pads))
    z = g.Conv(y, g.const(tensor(16, 1, 3, 3)), group=16, **pads)
    y = g.Relu(
        g.Add(
            g.Conv(z, g.const(tensor(16, 16, 1, 1)), g.const(tensor(16, scale=0.1)), kernel_shape=(1, 1)), y
        )
    )
    y = g.MaxPool(y, kernel_shape=(2, 2), strides=(2, 2))
    y = g.Concat(y, g.Relu(g.Conv(y, g.const(tensor(8, 16, 3, 3)), strides=(1, 1), **pads)), axis=1)
    y = g.Flatten(g.GlobalAveragePool(y))
    return g.graph([g.Gemm(y, g.const(tensor(24, 10)), g.const(tensor(10, scale=0.1)))])


GRAPH = network()
DATA = [{"x": RNG.standard_normal((2, 3, 16, 16), dtype=np.float32)} for _ in range(8)]


@pytest.mark.parametrize("method", METHODS)
def test_the_quantised_model_stays_close(method):
    made, report = quantize(GRAPH, DATA, method=method)
    assert report.cosine > 0.99 and report.sqnr_db > 18 and report.top1 >= 0.8
    assert report.quantised == 8 and len(report.layers) == 8
    assert report.layers == tuple(sorted(report.layers, key=lambda row: row[1]))
    (want,) = walle.Session(GRAPH, backend="reference").run(DATA[0]).values()
    for name, devices in walle.backends().items():
        if devices:
            (got,) = walle.Session(made, backend=name).run(DATA[0]).values()
            assert np.abs(np.asarray(got) - np.asarray(want)).max() < 0.15 * np.abs(np.asarray(want)).max(), (
                name
            )


def test_most_of_it_runs_in_integers():
    made, _ = quantize(GRAPH, DATA)
    steps = walle.Session(made, backend="portable", threads=1).describe()
    kinds = [row["algorithm"] for row in steps]
    assert kinds.count("gemm") <= 1  # the last one, whose result is float32
    kinds = {*kinds} - {"gemm"}
    assert {"direct_int8", "gemm_int8", "vector_int8"} <= kinds
    assert not kinds & {"direct", "depthwise", "pool"} and not [k for k in kinds if k.startswith("chain")]


def test_weights_are_per_channel_and_symmetric():
    made, _ = quantize(GRAPH, DATA)
    stored = [v for k, v in made.constants.items() if k.endswith("/weight/stored")]
    assert len(stored) == 5
    for value in stored:
        array = np.asarray(value)
        assert array.dtype == np.int8 and array.min() >= -127 and np.abs(array).max() == 127


def test_seven_bit_weights():
    made, report = quantize(GRAPH, DATA, weight_bits=7)
    stored = [np.asarray(v) for k, v in made.constants.items() if k.endswith("/weight/stored")]
    assert [np.abs(v).max() for v in stored] == [63] * 5 and report.cosine > 0.98


def test_sensitive_operators_stay_in_float_until_the_noise_is_as_low_as_asked():
    reports = [quantize(GRAPH, DATA, sqnr_db=db)[1] for db in (10.0, 52.0)]
    assert reports[0].quantised == 8 > reports[1].quantised > 0
    assert reports[1].sqnr_db > max(50, reports[0].sqnr_db)  # the errors of the operators add up


def test_bias_correction_keeps_the_mean():
    errors = []
    for correct in (False, True):
        made, _ = quantize(GRAPH, DATA, bias_correction=correct)
        difference = 0.0
        for feeds in DATA:
            (want,), (got,) = (
                walle.Session(g, backend="portable").run(feeds).values() for g in (GRAPH, made)
            )
            difference = difference + (np.asarray(got) - np.asarray(want)).mean(axis=0)
        errors.append(np.abs(difference).mean())
    assert errors[1] <= 1.1 * errors[0]


def test_excluded_operators_stay_in_float():
    gemm = next(n.name for n in GRAPH.nodes if n.op == "Gemm")
    made, report = quantize(GRAPH, DATA, exclude=[gemm])
    assert report.quantised == 7 and f"{gemm}/weight/stored" not in made.constants


def test_a_bias_that_is_no_constant_keeps_its_operator_in_float():
    g = Builder()
    x, bias = g.input("x", "float32", (1, 8)), g.input("b", "float32", (4,))
    graph = g.graph([g.Gemm(g.Gemm(x, g.const(tensor(8, 8))), g.const(tensor(8, 4)), bias)])
    data = [{"x": RNG.standard_normal((1, 8), dtype=np.float32), "b": np.full(4, 5, np.float32)}]
    made, report = quantize(graph, data)
    (got,) = walle.Session(made, backend="portable").run(data[0]).values()
    assert report.quantised == 1 and np.asarray(got).mean() > 2


def test_outliers_do_not_widen_the_range():
    seen, data = Range(), np.concatenate([RNG.standard_normal(100_000), [60.0]]).astype(np.float32)
    seen.see(data, "x")
    seen.count(data)
    assert seen.limits("minmax", 99.9)[1] == 60.0
    for method in ("percentile", "entropy"):
        low, high = seen.limits(method, 99.9)
        assert -8 < low < -2 and 2 < high < 16, method


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batches": []}, "calibration data"),
        ({"method": "best"}, "one of mse"),
        ({"percentile": 20}, "percentile"),
        ({"weight_bits": 4}, "7 or 8 bits"),
        ({"sqnr_db": -1.0}, "sqnr_db"),
        ({"sqnr_db": 100.0}, "ask for less"),
        ({"exclude": ["nobody"]}, "no operator 'nobody'"),
        ({"batches": [{"x": np.full((2, 3, 16, 16), np.nan, np.float32)}]}, "not finite"),
        ({"batches": [{"x": np.zeros((1, 3, 16, 16), np.float32)}]}, "needs"),
        ({"exclude": [n.name for n in GRAPH.nodes]}, "nothing to quantise"),
    ],
)
def test_bad_requests_are_refused(change, message):
    with pytest.raises(walle.InputError, match=message):
        quantize(**{"graph": GRAPH, "batches": DATA, **change})


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "walle_core", "quantize", *map(str, arguments)], capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_command(tmp_path):
    model, folder = tmp_path / "net.walle", tmp_path / "data"
    save(GRAPH, model)
    folder.mkdir()
    code, text = command(model, "--calibration", folder)
    assert code and "holds no file" in text and "Traceback" not in text
    np.savez(folder / "a.npz", x=DATA[0]["x"])
    np.save(folder / "b.npy", DATA[1]["x"])
    code, text = command(model, "--calibration", folder, "--method", "percentile")
    assert code == 0 and "8 operators in 8-bit integers" in text, text
    assert len(walle.Session(tmp_path / "net.int8.walle").run(DATA[0])) == 1
    pytest.importorskip("onnx")
    code, text = command(model, "--calibration", folder, "--out", tmp_path / "out.onnx")
    assert code == 0, text
    ort = pytest.importorskip("onnxruntime")
    (want,) = ort.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"]).run(
        None, DATA[0]
    )
    (got,) = walle.Session(tmp_path / "out.onnx").run(DATA[0]).values()
    assert np.abs(np.asarray(got) - want).max() < 0.05 * np.abs(want).max()
    np.save(folder / "c.npy", DATA[1]["x"][:1])
    code, text = command(model, "--calibration", folder)
    assert code and "c.npy" in text and "Traceback" not in text
