"""`make bench-gpu` on a machine without a GPU: it says so, and it can be tried on any device."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

ROOT = Path(__file__).resolve().parents[1]
SMALL = "walle_core.testing.conformance.test_threads"  # a short part of the kit
PAGE = "# Benchmarks\n\ntext before\n"


@pytest.fixture
def models(tmp_path):
    """A folder with one small model, its inputs and outputs."""
    folder = tmp_path / "models" / "real"
    folder.mkdir(parents=True)
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (3, 4)) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "small", value[:1], value[1:])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        folder / "small.onnx",
    )
    np.savez(folder / "small.npz", in_x=x, out_y=np.maximum(x, 0))
    return folder.parent


def run(tmp_path, *options):
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "gpu.py"),
        "--folder",
        "conv",
        "--logs",
        "logs",
        *options,
    ]
    plugins = ",".join(p.name.partition("_")[2] for p in (ROOT / "plugins").iterdir())
    env = {**os.environ, "WALLE_PLUGINS_BLOCK": plugins}  # the core's own backends have no GPU
    return subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def test_without_a_gpu_it_says_what_is_needed(tmp_path, models):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    done = run(tmp_path, "--models", str(models), "--markdown", str(page))
    assert done.returncode == 3
    for part in (
        "no backend has a GPU",
        "reference: NumPy (kind not given)",
        "needed: a GPU",
        "--any-device",
    ):
        assert part in done.stderr
    assert page.read_text() == PAGE
    assert run(tmp_path, "--check").returncode == 3
    found = run(tmp_path, "--check", "--any-device", "--backend", "portable")
    assert found.returncode == 0
    assert found.stdout.startswith("portable: ")


def trial(tmp_path, models, *options):
    which = [
        "--any-device",
        "--backend",
        "portable",
        "--engines",
        "onnxruntime-cuda",
        "--rounds",
        "1",
        "--slice",
        "0.01",
    ]
    where = ["--models", str(models), "--paper", "none", "--markdown", "page.md"]
    return run(tmp_path, *which, *where, *options)


def test_on_any_device_it_writes_its_section_and_nothing_else(tmp_path, models):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    first = trial(tmp_path, models, "--kit", SMALL)
    assert first.returncode == 0, first.stdout + first.stderr
    text = page.read_text()
    assert text.startswith(PAGE)
    assert "## A trial of the GPU benchmark on devices that are none" in text
    assert "| small | 0." in text
    assert " passed" in text
    assert "failed" not in text
    page.write_text(f"{text}\ntext after\n")
    second = trial(tmp_path, models, "--conformance", "none")
    assert second.returncode == 0, second.stdout + second.stderr
    again = page.read_text()
    assert again.startswith(PAGE)
    assert again.endswith("text after\n")
    assert again.count("| small | 0.") == 1
    assert "| not run |" in again


def test_a_wrong_output_is_marked_and_fails(tmp_path, models):
    np.savez(
        models / "real" / "small.npz", in_x=np.ones((3, 4), np.float32), out_y=np.full((3, 4), 2, np.float32)
    )
    done = trial(tmp_path, models, "--conformance", "none")
    assert done.returncode == 1
    assert "(err 0.5)" in done.stdout


def test_no_test_of_the_kit_is_no_success(tmp_path, models):
    done = trial(tmp_path, models, "--kit", SMALL, "--conformance", "nothing_is_called_so", "--only", "none")
    assert done.returncode == 1


def test_other_benchmarks_keep_the_section(tmp_path):
    sys.path.append(str(ROOT / "benchmarks"))
    try:
        from report import section, write_section
    finally:
        sys.path.pop()
    page = tmp_path / "page.md"
    write_section(page, "gpu", ["## GPUs", "one"])
    kept = section(page, "gpu")
    page.write_text(f"# New page\n{kept}")
    assert section(page, "gpu") == kept
    write_section(page, "gpu", ["## GPUs", "two"])
    assert page.read_text().count("## GPUs") == 1
    assert "one" not in page.read_text()
    assert section(tmp_path / "absent.md", "gpu") == ""
