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
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        ROOT / "examples/README.md",
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("plugins/*/README.md"),
    ]
)


PICTURES = set(
    re.findall(r'^    "(\w+\.svg)": \w+,$', (ROOT / "docs/site/pictures.py").read_text(), re.MULTILINE)
)
# Whose code is run, by tests of this file, of the same name in plugins, or one block after the other; and why that of
# some pages is not: it names what an application or a server brings.
RUN_HERE = ("explanation/*.md", "arrays.md")
RUN_ELSEWHERE = {
    "hooks.md", "several-devices.md", "write-a-backend.md", "write-a-stream-operator.md", "cv.md", "audio-text.md",
    "task-packages.md", "task-vm.md", "training.md",
}  # fmt: skip
NOT_RUN = {
    "push-then-pull.md": "attaches to an application's HTTP client; plugins/deploy/tests/hooks does",
    "dashboard.md": "needs Chromium and a server; plugins/deploy/tests/pages takes these pictures",
}


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
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", page.read_text()):
        if target.startswith("pictures/"):  # made while the site is built
            assert target.removeprefix("pictures/") in PICTURES, f"{page}: {target}"
            continue
        to = page.parent / target if target else page
        assert to.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", to.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, (
                f"{page}: {target}#{anchor}"
            )


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


@pytest.mark.parametrize(
    "page", sorted(p for glob in RUN_HERE for p in (ROOT / "docs").glob(glob)), ids=lambda p: p.name
)
def test_code_of_a_page_runs(page: Path) -> None:
    if any(
        f"import {name}" in page.read_text() or f"from {name}" in page.read_text()
        for name in ("walle_pipeline", "walle_deploy")
    ):
        for name in ("walle_pipeline", "walle_deploy"):
            pytest.importorskip(name)
    scope: dict[str, object] = {"__name__": page.stem}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), scope)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with what pages take for granted: a picture, a sound, words, a model."""
    import wave

    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / "cat.jpg")
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22050)
        file.writeframes((1000 * np.sin(np.arange(22050) / 7)).astype("<i2").tobytes())
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nsentence\n.")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Recorded:
    """A session that keeps what it was given."""

    def run(self, inputs: dict) -> dict:
        self.inputs = inputs
        return inputs


def test_pictures_page_code_runs(place: Path) -> None:
    g = walle.Builder()
    from walle_core.frontends.walle_file import save

    save(g.graph([g.Relu(g.input("input", "float32", (1, 3, 224, 224)))]), place / "model.walle")
    (code,) = blocks(ROOT / "docs/cv.md", "python")
    scope = {"walle": walle, "session": Recorded()}
    exec(compile(code.replace("model.onnx", "model.walle"), "cv.md", "exec"), scope)
    (made,) = scope["outputs"].values()
    assert tuple(np.asarray(made).shape) == (1, 3, 224, 224)
    assert scope["edges"].shape[:2] == (240, 320)


def test_sound_and_text_page_code_runs(place: Path) -> None:
    sound, words = blocks(ROOT / "docs/audio-text.md", "python")
    scope: dict = {"session": Recorded()}
    exec(compile(sound, "audio-text.md", "exec"), scope)
    assert scope["features"].shape[0] == 13 or scope["features"].shape[-1] == 13
    pytest.importorskip("tokenizers")
    exec(compile(words, "audio-text.md", "exec"), scope)
    assert all(np.asarray(value).shape == (2, 128) for value in scope["session"].inputs.values())


def test_task_pages_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from walle_core.frontends.walle_file import save
    from walle_core.vm.package import Package, hmac_key

    g = walle.Builder()
    save(g.graph([g.Relu(g.input("x", "float32", (1, 4)))]), tmp_path / "face.walle")
    monkeypatch.chdir(tmp_path)
    first, second = blocks(ROOT / "docs/task-vm.md", "python")
    scope: dict = {"image": np.ones((1, 4), np.float32)}
    exec(compile(first, "task-vm.md", "exec"), scope)
    assert scope["run"].result() == [3, 6]
    with scope["vm"].TaskHost(workers=1) as host:
        scope["host"] = host
        second = second.replace("face.onnx", "face.walle").replace(
            "    host.submit(", "    found = host.submit("
        )
        exec(compile(second + "    found.result()\n", "task-vm.md", "exec"), scope)
    (page,) = blocks(ROOT / "docs/task-packages.md", "python")
    assert callable(hmac_key)
    assert callable(Package.open)
    compile(page, "task-packages.md", "exec")


def test_all_code_is_run_or_has_a_reason() -> None:
    here = {p for glob in RUN_HERE for p in (ROOT / "docs").glob(glob)}
    left = {p.name for p in (ROOT / "docs").rglob("*.md") if blocks(p, "python") and p not in here}
    assert left == RUN_ELSEWHERE | set(NOT_RUN)


def test_every_page_and_picture_has_its_place_on_the_site() -> None:
    """MkDocs says the same, strictly; this needs no MkDocs."""
    named = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {
        str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "adr"
    }
    assert pages <= named, f"not in the navigation of mkdocs.yml: {pages - named}"
    shown = {
        target
        for page in (ROOT / "docs/explanation").glob("*.md")
        for target in re.findall(r"\]\(pictures/([^)]+)\)", page.read_text())
    }
    assert shown == PICTURES
