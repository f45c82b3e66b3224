"""The tutorial, as a reader does it: from an empty folder to a fleet. With WALLE_FULL, in a clean environment made of wheels."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import tutorial

ROOT = Path(__file__).resolve().parents[1]
FULL = bool(os.environ.get("WALLE_FULL"))
NEEDS = ("sklearn", "walle_pipeline", "walle_deploy", "uvicorn")
PATIENCE_S = 600 if FULL else 120  # for one command; the wheels are compiled


def left(mark: str) -> list[bytes]:
    """Processes that have `mark` in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes():
                found.append((place / "cmdline").read_bytes())
        except OSError:
            continue
    return found


def test_the_tutorial_works_from_an_empty_folder(tmp_path: Path) -> None:
    if not FULL and (lacking := [name for name in NEEDS if find_spec(name) is None]):
        pytest.skip(f"skipped: needs {', '.join(lacking)}")
    here = str(Path(sys.executable).parent)
    mark = f"WALLE_TUTORIAL_TEST={tmp_path}"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WALLE_", "PYTHON", "PYTEST"))
    }
    environment |= {
        "HOME": str(tmp_path), "WALLE": str(ROOT), "WALLE_CACHE": str(tmp_path / "cache"),
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "WALLE_TUTORIAL_TEST": str(tmp_path),
    }  # fmt: skip
    folder = tmp_path / "empty"
    folder.mkdir()
    shell = tutorial.Shell(folder, environment)
    typed = 0
    try:
        for step in tutorial.steps((ROOT / "docs/tutorial.md").read_text(), () if FULL else ("Install",)):
            if isinstance(step, tutorial.File):
                (folder / step.name).write_text(step.text)
                continue
            printed, status = shell.type(step.command, PATIENCE_S)
            assert status == 0, f"{step.command}\n{printed}"
            assert step.fits(printed), f"{step.command}\nprinted\n{printed}\nthe page shows\n{step.shown}"
            typed += 1
    finally:
        shell.close()
    assert typed > 30
    assert not left(mark)


def test_steps_are_what_the_page_says() -> None:
    page = '# A\n\n```toml title="a.toml"\nx = 1\n```\n\n## B\n\n```console\n$ one\nsaid ... so\n$ two \\\n    more\n```\n'
    assert list(tutorial.steps(page)) == [
        tutorial.File("a.toml", "x = 1\n"),
        tutorial.Typed("one", "said ... so\n"),
        tutorial.Typed("two \\\n    more", ""),
    ]
    assert [step.name for step in tutorial.steps(page, ("B",))] == ["a.toml"]


@pytest.mark.parametrize(("shown", "printed", "fits"), [
    ("", "", True), ("", "something", False), ("said ... so\n", "said it so", True), ("said ... so\n", "said it", False),
    ("...\nend\n", "any\nthing\nend\n", True), ("one\n", "one\ntwo\n", False),
])  # fmt: skip
def test_what_is_printed_must_be_what_is_shown(shown: str, printed: str, fits: bool) -> None:
    assert tutorial.Typed("command", shown).fits(printed) is fits
