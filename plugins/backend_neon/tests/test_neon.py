"""The NEON tables on emulated processors: which are chosen, the conformance kit, networks; and the wheel elsewhere."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import emulated_arm as emulated
import pytest
import walle_backend_neon

FULL = os.environ.get("WALLE_FULL", "") not in {"", "0"}
ARM = platform.machine().lower() in {"aarch64", "arm64"}
LEVELS = {
    "cortex-a72": ["neon"],
    "cortex-a76": ["neondot", "neonfp16", "neon"],
    "max": ["neoni8mm", "neonbf16", "neondot", "neonfp16", "neon"],
}  # fmt: skip
# what the kit runs on every processor by default: one kernel family each, and those that a level replaces
SAMPLE = "(MatMul-3 or Conv-2 or Softmax-1 or Exp-3 or Tanh-3 or QLinearConv-0 or ConvInteger-0 or ReduceSum-3) and float32"
NETWORKS = ("kws_dscnn", "silero_vad", "rfb320_face")

RUN = """
import sys
import numpy as np
import walle_core as walle
for path in sys.argv[1:]:
    data = np.load(path[:-5] + ".npz")
    feeds = {k[3:]: data[k] for k in data.files if k.startswith("in_")}
    made = walle.Session(path, backend="neon", threads=1).run(feeds)
    worst = max(
        float(np.abs(np.asarray(made[k[4:]]) - data[k]).max() / max(1e-9, np.abs(data[k]).max()))
        for k in data.files if k.startswith("out_")
    )
    print(path.rpartition("/")[2], worst)
"""


@pytest.mark.skipif(ARM, reason="this machine runs the tables itself")
def test_on_other_machines_it_offers_nothing() -> None:
    from walle_core.plugins import load_plugins

    assert walle_backend_neon.targets() == []
    assert walle_backend_neon.tables() == []
    assert "neon" not in load_plugins().backends


@pytest.mark.parametrize("cpu", emulated.CPUS)
def test_the_best_table_is_chosen(cpu: str) -> None:
    done = emulated.python(cpu, "-c", "import walle_backend_neon as n; print(n.usable(), n.targets())")
    assert done.stdout.strip() == f"{LEVELS[cpu]} {LEVELS['max']}", done.stderr


@pytest.fixture(scope="module")
def kits() -> dict[str, Future[subprocess.CompletedProcess[str]]]:
    """The conformance kit on each processor, two at a time; most of the short form is reading the kit."""
    kit = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "--walle-backend", "neon"]
    names = ["walle_core.testing.conformance"] if FULL else [
        f"walle_core.testing.conformance.test_{part}" for part in ("atomic_ops", "composites")
    ]  # fmt: skip
    arguments = [*kit, *names, *([] if FULL else ["-k", SAMPLE])]
    emulated.environment()
    with ThreadPoolExecutor(2) as pool:
        return {cpu: pool.submit(emulated.python, cpu, *arguments) for cpu in emulated.CPUS}


@pytest.mark.parametrize("cpu", emulated.CPUS)
def test_conformance(cpu: str, kits: dict[str, Future[subprocess.CompletedProcess[str]]]) -> None:
    done = kits[cpu].result()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > (1000 if FULL else 3)


@pytest.mark.parametrize("cpu", emulated.CPUS if FULL else ["max"])
def test_networks_give_what_onnxruntime_gave(cpu: str) -> None:
    folders = [Path(f) for f in os.environ.get("WALLE_MODELS", "").split(os.pathsep) if f]
    found = [
        str(p)
        for folder in folders
        for p in sorted(folder.rglob("*.onnx"))
        if p.stem in NETWORKS[: 3 if FULL else 2]
    ]
    if not found:
        pytest.skip("skipped: set WALLE_MODELS to the folders with the models")
    done = emulated.python(cpu, "-c", RUN, *found)
    assert done.returncode == 0, done.stderr[-2000:]
    errors = dict(line.split() for line in done.stdout.splitlines())
    assert len(errors) == len(found)
    assert all(float(e) <= 1e-3 for e in errors.values()), errors


def test_inner_loops_are_products() -> None:
    """Of the full tiles of every product with an instruction of its own, 85 % of the inner loop are products."""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, str(root / "benchmarks/inner_loops.py"), "--objects", str(emulated.objects())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| GEMM")]
    shares = {
        row[1].strip(): float(row[6].strip(" %")) for row in rows if not row[3].strip().startswith("smull")
    }
    assert set(shares) == {"neon", "neonfp16", "neondot", "neonbf16"}
    assert min(shares.values()) >= 85, shares
