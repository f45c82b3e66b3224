"""`walle new-plugin` writes a plugin that installs and passes conformance at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from walle_core.cli.new_plugin import write
from walle_core.errors import InputError

FILES = [
    ".github/workflows/test.yml", ".gitignore", "LICENSE", "README.md", "pyproject.toml",
    "src/walle_backend_npu/__init__.py", "tests/test_npu.py",
]  # fmt: skip


def run(*command: str, path: Path, cwd: Path) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_generated_plugin_passes_conformance(tmp_path: Path) -> None:
    folder = tmp_path / "walle-backend-npu"
    written = write("backend", "npu", folder)
    assert [str(p.relative_to(folder)) for p in written] == FILES
    assert not [p for p in written if "@" in p.read_text().replace("@v", "").replace("@hookimpl", "")]
    site = tmp_path / "site"
    install = [
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(site),
    ]
    run(*install, str(folder), path=site, cwd=tmp_path)
    assert "npu" in run("-m", "walle_core", "plugins", path=site, cwd=tmp_path)
    suite = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "walle_core.testing.conformance"]
    # ONNX's node tests would all fall back and are run for the installed backends anyway.
    out = run(
        *suite, "--walle-backend", "npu", "--ignore-glob=/*/test_node_tests.py", path=site, cwd=tmp_path
    )
    assert "passed" in out
    assert "failed" not in out
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", path=site, cwd=folder)


@pytest.mark.parametrize("name", ["Npu", "9pu", "n-pu", "", "class", "../x"])
def test_unusable_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no plugin name"):
        write("backend", name, tmp_path / "new")


def test_full_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        write("backend", "npu", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
