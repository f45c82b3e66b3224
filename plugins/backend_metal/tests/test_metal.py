"""The whole backend over a stand-in for Metal that has the real selectors and runs the kernels on the processor."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import metal_cpu
import metal_sdk
import numpy as np
import pytest

import walle_core as walle
from walle_core.backends.device.backend import DeviceBackend
from walle_core.errors import BackendError, DeviceError, DeviceLostError, DeviceMemoryError
from walle_core.graph.builder import Builder

HERE = Path(__file__).parent
REQUIRED = os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}


def absent() -> str:
    """Why the stand-in cannot run here; "" if it can."""
    if sys.platform == "darwin":
        return "this machine has Metal itself"
    if metal_cpu.clang() is None:
        return "clang++ is not found (Debian: clang)"
    try:
        metal_sdk.definitions()
    except OSError as error:
        return f"the description of the macOS SDK cannot be fetched ({error})"
    return ""


if WHY := absent():
    if REQUIRED:
        pytest.fail(f"{WHY}, but WALLE_REQUIRE_DEVICES is set", pytrace=False)
    pytest.skip(WHY, allow_module_level=True)

import Metal  # noqa: E402
from walle_backend_metal.device import MetalDevice  # noqa: E402


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Metal, "faults", {})
    return MetalDevice(Metal.MTLCopyAllDevices()[0])


def in_process(code: str, fake: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    paths = [str(HERE), *([str(HERE / "fake")] if fake else []), os.environ.get("PYTHONPATH", "")]
    full = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **env}
    return subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, timeout=900, check=False
    )


def small_graph(size: int = 40) -> Any:
    g = Builder()
    x = g.input("x", "float32", (3, size))
    w = np.random.default_rng(1).standard_normal((size, 24)).astype(np.float32)
    return g.graph([g.Softmax(g.Tanh(g.MatMul(x, g.const(w))), axis=-1)])


def prepared(device: Any, graph: Any) -> Any:
    """The graph on this device alone, with each node's first candidate."""
    backend = DeviceBackend("metal", "0", lambda: device)
    choices = {n.name: backend.candidates(n, graph.specs, graph.constants)[0] for n in graph.nodes}
    return backend.prepare(graph, choices, 1, "high")


@pytest.fixture
def graph() -> Any:
    g = Builder()
    x = g.input("x", "float32", (3, 40))
    return g.graph([g.Tanh(g.Add(x, g.Exp(x)))])


X = np.random.default_rng(2).standard_normal((3, 40)).astype(np.float32)


def test_the_conformance_kit(tmp_path: Path) -> None:
    """A sample; WALLE_FULL=1 runs all of it."""
    code = (
        "import sys, pytest\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '--pyargs', 'walle_core.testing.conformance',\n"
        "    '--walle-backend', 'metal']))\n"
    )
    done = in_process(code, WALLE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_products_with_shared_tiles(tmp_path: Path) -> None:
    """Barriers and group memory: threads run in a random order between barriers, as fibers."""
    shared = HERE.parents[2] / "tests/kernels/test_shared_tiles.py"
    code = f"import sys, pytest; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', {str(shared)!r}]))"
    others = {"WALLE_OPENCL_DEVICE": "none", "WALLE_VULKAN_DEVICE": "none"}
    done = in_process(code, WALLE_CACHE=str(tmp_path), **others)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "16 passed" in done.stdout


def test_a_run_is_one_command_buffer(opened: Any, graph: Any) -> None:
    made = prepared(opened, graph)
    before = Metal.Queue.submitted
    for _ in range(3):
        (y,) = made.run([walle.Tensor.of(X)])
        np.testing.assert_allclose(np.asarray(y), np.tanh(X + np.exp(X)), rtol=1e-5, atol=1e-6)
    assert Metal.Queue.submitted - before == 3


def test_a_profile_times_every_launch(opened: Any, graph: Any) -> None:
    made = prepared(opened, graph)
    (y,), times = made.profile([walle.Tensor.of(X)])
    np.testing.assert_allclose(np.asarray(y), np.tanh(X + np.exp(X)), rtol=1e-5, atol=1e-6)
    assert len(times) == len(made.image.launches)
    assert all(t > 0 for t in times)


def test_launches_that_depend_are_kept_apart(opened: Any) -> None:
    """The stand-in runs what no barrier parts in a random order."""
    g = Builder()
    a = g.Softmax(g.input("x", "float32", (4, 16)), axis=-1)
    b = g.Softmax(g.input("y", "float32", (16, 4)), axis=-1)
    made = prepared(opened, g.graph([g.Softmax(g.MatMul(a, b), axis=-1), g.Softmax(a, axis=-1)]))
    x = np.random.default_rng(3).standard_normal((4, 16)).astype(np.float32)
    given = [walle.Tensor.of(x), walle.Tensor.of(x.T.copy())]
    first = [np.array(t) for t in made.run(given)]
    for _ in range(30):
        for t, u in zip(made.run(given), first, strict=True):
            np.testing.assert_array_equal(np.asarray(t), u)
    barriers = sum(step.after for step in made.image.launches)
    assert 0 < barriers < len(made.image.launches)


def test_loading_and_running_keeps_no_memory(opened: Any, graph: Any) -> None:
    image = prepared(opened, graph).image
    sizes = []
    for _ in range(50):
        opened.load(image).run([walle.Tensor.of(X)])
        gc.collect()  # command buffers and their encoders know each other in the stand-in
        sizes.append(Metal.Buffer.alive)
    assert sizes[-1] == sizes[0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("MTLCommandBufferErrorOutOfMemory", DeviceMemoryError),
        ("MTLCommandBufferErrorDeviceRemoved", DeviceLostError),
        ("MTLCommandBufferErrorAccessRevoked", DeviceLostError),
        ("MTLCommandBufferErrorTimeout", DeviceError),
    ],
)
def test_a_run_that_fails(opened: Any, graph: Any, name: str, kind: type) -> None:
    made = prepared(opened, graph)
    Metal.faults["status"] = metal_sdk.constant(name)
    with pytest.raises(DeviceError, match="a run failed") as raised:
        made.run([walle.Tensor.of(X)])
    assert type(raised.value) is kind
    Metal.faults.clear()
    made.run([walle.Tensor.of(X)])  # and the next one is a run like any other


def test_no_room_for_a_buffer(opened: Any, graph: Any) -> None:
    Metal.faults["memory"] = 64
    with pytest.raises(DeviceMemoryError, match="no room"):
        prepared(opened, graph)


def test_small_thread_groups_are_refused(opened: Any) -> None:
    Metal.faults["threads"] = 32
    with pytest.raises(BackendError, match="at most 32 threads"):
        MetalDevice(opened.handle)


def test_what_the_compiler_refuses_is_told(opened: Any, graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from walle_backend_metal import device

    monkeypatch.setattr(device, "metal_program", lambda group: "this is no program")
    with pytest.raises(BackendError, match=r"(?s)refuses a kernel.*WALLE_METAL_DEVICE"):
        prepared(opened, graph)


def test_a_forked_process_is_told_to_open_its_own(
    opened: Any, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepared(opened, graph)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(DeviceError, match="fork"):
        made.run([walle.Tensor.of(X)])


@pytest.mark.parametrize("model", ["kws_dscnn", "silero_vad_16k_op15", "squeezenet11_imagenet"])
def test_a_real_model(model: str, tmp_path: Path) -> None:
    folder = os.environ.get("WALLE_MODELS", str(HERE.parents[2].parent / "shared/models"))
    path = Path(folder) / "real" / f"{model}.onnx"
    if not path.exists():
        if REQUIRED:
            pytest.fail(f"{path} is not there, but WALLE_REQUIRE_DEVICES is set")
        pytest.skip(f"{path} is not there; WALLE_MODELS names the folder of models")
    code = (
        "import sys, numpy as np, walle_core as walle\n"
        "held = np.load(sys.argv[1].replace('.onnx', '.npz'))\n"
        "session = walle.Session(sys.argv[1], backend='metal')\n"
        "made = session.run({k[3:]: held[k] for k in held if k.startswith('in_')})\n"
        "for name, y in made.items():\n"
        "    want = held['out_' + name]\n"
        "    print(name, float(np.abs(np.asarray(y) - want).max() / np.abs(want).max()))\n"
        "    assert np.abs(np.asarray(y) - want).max() <= 1e-3 * np.abs(want).max()\n"
    )
    code = code.replace("sys.argv[1]", repr(str(path)))
    done = in_process(code, WALLE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_elsewhere_nothing_is_offered_and_nothing_said() -> None:
    code = (
        "import logging; logging.basicConfig()\n"
        "import walle_core as walle\n"
        "from walle_core.plugins import load_plugins\n"
        "print('metal' in load_plugins().backends, load_plugins().failed)\n"
        "try: walle.Session('absent.onnx', backend='metal')\n"
        "except walle.WalleError as error: print(type(error).__name__)\n"
    )
    done = in_process(code, fake=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("False {}\n")
    assert "Metal" not in done.stderr


def test_a_named_device_that_is_not_there_is_an_error() -> None:
    code = "import walle_backend_metal as m; m.open_device()"
    for fake in (True, False):
        done = in_process(code, fake, WALLE_METAL_DEVICE="no such device")
        assert "BackendError: no device matches 'no such device'" in done.stderr


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("device.newBufferWithLength_(8)", AttributeError),
        ("device.newBufferWithLength_options_(8)", TypeError),
        ("device.newBufferWithLength_options_(-8, 0)", TypeError),
        ("Metal.MTLResourceStorageModeShard", AttributeError),
        (
            "device.newBufferWithLength_options_(8, Metal.MTLResourceStorageModePrivate).do_contents()",
            AssertionError,
        ),
    ],
)
def test_the_stand_in_refuses(call: str, error: type) -> None:
    with pytest.raises(error):
        eval(call, {"device": Metal.MTLCopyAllDevices()[0], "Metal": Metal})
