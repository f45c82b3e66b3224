"""Code in the documentation runs, and names things that exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import walle_core as walle
from walle_core.plugins import load_plugins

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def small_model(path: Path) -> None:
    from onnx import TensorProto, helper, save

    rng = np.random.RandomState(0)
    weight = helper.make_tensor("w", TensorProto.FLOAT, (4, 3, 3, 3), rng.randn(108).astype(np.float32))
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("GlobalAveragePool", ["z"], ["p"]),
        helper.make_node("Softmax", ["p"], ["scores"], axis=1),
    ]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, 32, 32))
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 4, 1, 1))
    graph = helper.make_graph(nodes, "small", [image], [scores], [weight])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_readme_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_model(tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    (code,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in code.splitlines() if line and not line.startswith("import")]) <= 10
    exec(compile(code, "README.md", "exec"), scope)
    assert np.isclose(np.sum(scope["scores"]), 1, atol=1e-5)
    assert "predicted" in capsys.readouterr().out


def test_write_a_backend_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {"__name__": "walle_backend_npu"}
    for code in blocks(ROOT / "docs/write-a-backend.md", "python"):
        exec(compile(code, "write-a-backend.md", "exec"), scope)
    out = capsys.readouterr().out
    assert "Relu ['numpy']" in out
    assert "Transpose []" in out


# ONNX's node tests would nearly all fall back and are run for the installed backends anyway; so is, unless WALLE_FULL is
# set, what the page's backend does not run itself.
OWN = "Relu- or Exp- or Add- or Mul- or MatMul- or Raster or Transpose- or Slice- or Concat- or Conv- or Softmax-"
WHICH = "" if os.environ.get("WALLE_FULL") else f"{OWN} or buffers or threads or rates"


def test_backend_of_the_page_passes_conformance(tmp_path: Path) -> None:
    page = blocks(ROOT / "docs/write-a-backend.md", "python")
    shown = ("g = Builder()", "WithGap", "WithPlans")  # what the page adds to the finished module
    module = "\n".join(code for code in page if not any(word in code for word in shown))
    lines = len(module.splitlines())
    assert lines <= 150, f"the page promises one file of at most 150 lines, this one has {lines}"
    (tmp_path / "walle_backend_page.py").write_text(module)
    info = tmp_path / "walle_backend_page-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: walle-backend-page\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[walle]\npage = walle_backend_page\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    suite = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "walle_core.testing.conformance"]
    choice = ["--ignore-glob=/*/test_node_tests.py", "-k", WHICH, "--walle-backend", "npu"]
    others = ",".join(
        n for n in load_plugins().report if n != "core"
    )  # what it lacks, the core's own backends run
    env = {**os.environ, "PYTHONPATH": path, "WALLE_CACHE": str(tmp_path), "WALLE_PLUGINS_BLOCK": others}
    command = [sys.executable, *suite, *choice]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "passed" in done.stdout


def test_hooks_page_code_runs() -> None:
    for code in blocks(ROOT / "docs/hooks.md", "python"):
        exec(compile(code, "hooks.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_paths_exist(page: Path) -> None:
    text = page.read_text()
    commands = set(load_plugins().commands) | {"npu-info"}
    for name in re.findall(r"(?:^|`)walle ([a-z][a-z-]+)", text, re.MULTILINE):
        assert name in commands, f"{page}: walle {name}"
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (
            f"{page}: make {target}"
        )
    for path in re.findall(r"`((?:walle_core|plugins|docs|tests|benchmarks|examples)/[\w./-]+)`", text):
        found = (ROOT / path).exists() or (ROOT / "walle_core/include/walle" / path).exists()
        assert found, f"{page}: {path}"


def test_training_page_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_model(tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for code in blocks(ROOT / "docs/training.md", "python"):
        exec(compile(code, "training.md", "exec"), scope)
    before, after = walle.load("model.onnx"), walle.load("trained.onnx")
    assert {n: v.tobytes() for n, v in before.constants.items()} != {
        n: v.tobytes() for n, v in after.constants.items()
    }
    assert walle.load("trained.walle").constants["w"].tobytes() == after.constants["w"].tobytes()


def test_public_names() -> None:
    for name in walle.__all__:
        assert getattr(walle, name) is not None


def test_several_devices_page_code_runs(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    for code in blocks(ROOT / "docs/several-devices.md", "python"):
        exec(compile(code, "several-devices.md", "exec"), scope)
    assert "us" in capsys.readouterr().out
