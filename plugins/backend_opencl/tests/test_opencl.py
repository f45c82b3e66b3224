"""What the conformance kit cannot know: limits, the cache of built kernels, forks, absent and unsuitable drivers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import walle_backend_opencl
from walle_backend_opencl import programs

import walle_core as walle
from walle_core.backends.device.backend import DeviceBackend
from walle_core.backends.device.source import kernels
from walle_core.errors import BackendError, WalleError
from walle_core.graph.builder import Builder

cl = pytest.importorskip("pyopencl")
OPENED = walle_backend_opencl.open_device()
if OPENED is None and os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}:
    pytest.fail("no OpenCL device, but WALLE_REQUIRE_DEVICES is set", pytrace=False)
needs_device = pytest.mark.skipif(OPENED is None, reason="this machine has no OpenCL device")


def small_graph(size: int = 40) -> Any:
    g = Builder()
    x = g.input("x", "float32", (3, size))
    w = np.random.default_rng(1).standard_normal((size, 24)).astype(np.float32)
    return g.graph([g.Softmax(g.Tanh(g.MatMul(x, g.const(w))), axis=-1)])


def expected(x: np.ndarray, size: int = 40) -> np.ndarray:
    w = np.random.default_rng(1).standard_normal((size, 24)).astype(np.float32)
    e = np.exp(np.tanh(x @ w))
    return e / e.sum(-1, keepdims=True)


def run_small() -> None:
    x = np.random.default_rng(2).standard_normal((3, 40)).astype(np.float32)
    made = walle.Session(small_graph(), backend="opencl").run([x])
    np.testing.assert_allclose(next(iter(made.values())), expected(x), rtol=1e-5, atol=1e-6)


def in_process(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    full = {**os.environ, "PYTHONPATH": paths, **env}
    return subprocess.run(
        [sys.executable, "-c", code], env=full, capture_output=True, text=True, timeout=120, check=False
    )


@needs_device
def test_every_kernel_is_accepted_by_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All kernels with their first variants in one program, as the smallest device would get them."""
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path))
    narrow = [
        source.build({k: choices[0] for k, choices in source.variants.items()}, {}, (1, 1, 1))
        for source in kernels().values()
    ]
    made = OPENED._programs.kernels(narrow)
    assert {b.name for b in made} == set(kernels())


@needs_device
def test_a_damaged_file_of_built_kernels_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path))
    run_small()
    for spoil in (lambda data: data[: len(data) // 2] + b"rubbish", lambda data: b""):
        kept = list((tmp_path / "opencl").glob("*.bin"))
        for path in kept:
            path.write_bytes(spoil(path.read_bytes()))
        assert all(programs._read(path) is None for path in kept)
        run_small()
        assert any(programs._read(path) is not None for path in kept)


@needs_device
def test_the_second_process_builds_nothing(tmp_path: Path) -> None:
    code = (
        "import test_opencl, pyopencl as cl\n"
        "real, sources = cl.Program, []\n"
        "def program(context, *rest):\n"
        "    sources.extend(r for r in rest if isinstance(r, str))\n"
        "    return real(context, *rest)\n"
        "cl.Program = program\n"
        "test_opencl.run_small()\n"
        "print(len(sources))\n"
    )
    first, second = (
        in_process(code, WALLE_CACHE=str(tmp_path), POCL_CACHE_DIR=str(tmp_path / "pocl")) for _ in "12"
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert int(first.stdout) > 0
    assert int(second.stdout) == 0


@needs_device
def test_two_processes_share_the_cache(tmp_path: Path) -> None:
    env = {**os.environ, "WALLE_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    both = [
        subprocess.Popen([sys.executable, "-c", "import test_opencl; test_opencl.run_small()"], env=env)
        for _ in "12"
    ]
    assert [p.wait(timeout=120) for p in both] == [0, 0]


@needs_device
def test_a_cache_that_cannot_be_written_only_warns(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = in_process("import test_opencl; test_opencl.run_small()", WALLE_CACHE=str(blocked))
    assert done.returncode == 0, done.stderr
    assert "WALLE_CACHE" in done.stderr


@needs_device
def test_a_forked_process_is_told_to_open_its_own(tmp_path: Path) -> None:
    code = (
        "import os, test_opencl, numpy as np, walle_core as walle\n"
        "s = walle.Session(test_opencl.small_graph(), backend='opencl')\n"
        "x = np.zeros((3, 40), np.float32); s.run([x])\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try: s.run([x])\n"
        "    except walle.WalleError as error: os._exit(7 if 'fork' in str(error) else 8)\n"
        "    os._exit(9)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    done = in_process(code, WALLE_CACHE=str(tmp_path))
    assert done.stdout.strip() == "7", done.stderr


@pytest.mark.parametrize(
    "icd",
    ["", "/nowhere/libabsent.so", "libm.so.6"],
    ids=["no driver", "missing driver", "no driver at all in it"],
)
def test_without_a_working_driver_there_is_no_device(tmp_path: Path, icd: str) -> None:
    folder = tmp_path / "vendors"
    folder.mkdir()
    if icd:
        (folder / "some.icd").write_text(icd + "\n")
    code = (
        "import logging; logging.basicConfig()\n"
        "from walle_core.plugins import load_plugins\n"
        "b = load_plugins().backends.get('opencl'); print(b.devices(), b.candidates)\n"
    )
    done = in_process(code, OCL_ICD_VENDORS=str(folder), WALLE_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[]")
    assert "OpenCL is not used" in done.stderr


def test_a_named_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLE_OPENCL_DEVICE", "no such device")
    with pytest.raises(BackendError, match=r"no such device|no OpenCL driver"):
        walle_backend_opencl.open_device()


@needs_device
def test_a_device_with_small_work_groups_is_refused(tmp_path: Path) -> None:
    code = "import walle_backend_opencl as o; print(o.open_device())"
    done = in_process(
        code, POCL_MAX_WORK_GROUP_SIZE="16", WALLE_OPENCL_DEVICE="portable", WALLE_CACHE=str(tmp_path)
    )
    assert done.returncode != 0
    assert "work groups of at most 16 items" in done.stderr


@needs_device
def test_small_work_groups_give_the_same_results(tmp_path: Path) -> None:
    done = in_process(
        "import test_opencl; test_opencl.run_small()",
        POCL_MAX_WORK_GROUP_SIZE="64",
        WALLE_CACHE=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr


@needs_device
def test_a_graph_beyond_the_device_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import attrs

    backend = DeviceBackend("small", "0", lambda: OPENED)
    monkeypatch.setattr(OPENED, "limits", attrs.evolve(OPENED.limits, buffer_bytes=1024))
    graph = small_graph(4000)
    assert all(
        not backend.candidates(n, graph.specs, graph.constants) for n in graph.nodes if n.op == "MatMul"
    )


@needs_device
def test_loading_and_running_a_thousand_times_keeps_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path))
    x = np.zeros((3, 40), np.float32)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    session = walle.Session(small_graph(), backend="opencl", threads=1)
    session.run([x])
    image = session.plan.parts[0].executable.image
    sizes = []
    for i in range(1000):
        OPENED.load(image).run([walle.Tensor.of(x)])
        if i in (199, 999):
            sizes.append(resident())
    assert sizes[1] - sizes[0] < 4 << 20, sizes


@needs_device
def test_errors_of_the_driver_are_walle_errors() -> None:
    with pytest.raises(WalleError, match="OpenCL device"), OPENED.errors("a test"):
        cl.Buffer(OPENED.context, cl.mem_flags.READ_WRITE, 0)
