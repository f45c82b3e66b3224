"""The kernels on other OpenCL devices: a checker of memory and races, small work groups, Intel's runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import walle_backend_opencl

HERE = Path(__file__).parent
REQUIRED = os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}
FULL = os.environ.get("WALLE_FULL", "") not in {"", "0"}
INTEL = HERE.parents[2] / "build/intel"  # 0.8 GB with WALLE_FULL=1
needs_device = pytest.mark.skipif(
    walle_backend_opencl.open_device() is None, reason="this machine has no OpenCL device"
)


def run(command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=1200, check=False
    )


NO_NODE_TESTS = "--ignore-glob=/*/test_node_tests.py"  # ten seconds for making cases of which none is chosen


def kit(*chosen: str) -> list[str]:
    options = ["-q", "-p", "no:cacheprovider", "--pyargs", "walle_core.testing.conformance", NO_NODE_TESTS]
    return [sys.executable, "-m", "pytest", *options, "--walle-backend", "opencl", *chosen]


def checker() -> str:
    found = shutil.which("oclgrind")
    if found is None and REQUIRED:
        pytest.fail("oclgrind is not found, but WALLE_REQUIRE_DEVICES is set")
    if found is None:
        pytest.skip("skipped: oclgrind is not found (Debian: oclgrind)")
    return found


def checked(tmp_path: Path, script: list[str]) -> tuple[subprocess.CompletedProcess[str], str]:
    log = tmp_path / "log"
    done = run(
        [checker(), "--data-races", "--log", str(log), sys.executable, *script],
        WALLE_CACHE=str(tmp_path / "cache"), WALLE_OPENCL_DEVICE="oclgrind",
    )  # fmt: skip
    return done, log.read_text() if log.exists() else ""


def test_a_checker_finds_nothing_in_the_kernels(tmp_path: Path) -> None:
    done, log = checked(tmp_path, [str(HERE / "tiny_graphs.py")])
    assert done.returncode == 0, done.stderr[-3000:]
    assert "integers" in done.stdout  # the last one
    assert not log


BEYOND = """
import numpy as np, pyopencl as cl
device = next(d for p in cl.get_platforms() for d in p.get_devices() if 'Oclgrind' in d.name)
context = cl.Context([device])
made = cl.Program(context, '__kernel void k(__global int* a) { a[get_global_id(0)] = 1; }').build(cache_dir=False)
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, 16)
queue = cl.CommandQueue(context)
made.k(queue, (8,), (4,), buffer)
queue.finish()
"""


def test_the_checker_would_have_found_something(tmp_path: Path) -> None:
    _, log = checked(tmp_path, ["-c", BEYOND])
    assert "Invalid write of size 4" in log


@needs_device
def test_small_work_groups(tmp_path: Path) -> None:
    done = run(
        kit("-k", "matches_reference and (MatMul or Conv or Softmax or Reduce or Pool)"),
        WALLE_CACHE=str(tmp_path), POCL_MAX_WORK_GROUP_SIZE="256",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(not FULL, reason="Intel's runtime is 0.8 GB: WALLE_FULL=1 fetches it")
def test_intels_runtime(tmp_path: Path) -> None:
    if not INTEL.exists():
        assert run([sys.executable, "-m", "venv", str(INTEL)]).returncode == 0
        wanted = ["install", "-q", "intel-opencl-rt", "intel-cmplr-lib-rt"]
        assert run([str(INTEL / "bin/pip"), *wanted]).returncode == 0
    library = next((INTEL / "lib").glob("libintelocl.so.*"))
    (tmp_path / "intel.icd").write_text(f"{library}\n")
    env = {
        "OCL_ICD_VENDORS": str(tmp_path),
        "LD_LIBRARY_PATH": str(INTEL / "lib"),
        "WALLE_CACHE": str(tmp_path),
    }
    done = run([*kit(), "-rN"], **env, WALLE_OPENCL_DEVICE="Intel", WALLE_FULL="0")
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
