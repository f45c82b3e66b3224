"""Levels of processors are compiled from one source and share no symbol."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEVELS = sorted((ROOT / "walle_core/cv").glob("level_*.cpp"))


def test_module_exports_only_its_entry() -> None:
    spec = importlib.util.find_spec("walle_core.cv._pixels")
    nm = shutil.which("nm")
    if not (spec and spec.origin and nm):
        pytest.skip("nm (binutils) is needed")
    listed = subprocess.run(
        [nm, "--defined-only", "--extern-only", "-C", spec.origin], check=True, capture_output=True, text=True
    )
    assert not [line for line in listed.stdout.splitlines() if "walle::cv" in line]
    dynamic = subprocess.run(
        [nm, "-D", "--defined-only", spec.origin], check=True, capture_output=True, text=True
    )
    assert {line.split()[-1] for line in dynamic.stdout.splitlines() if line.split()[-2] not in "wVu"} == {
        "PyInit__pixels"
    }


@pytest.mark.parametrize("path", LEVELS, ids=lambda p: p.stem)
def test_levels_include_system_headers_before_their_target(path: Path) -> None:
    lines = path.read_text().splitlines()
    last_system = max(i for i, line in enumerate(lines) if re.match(r"#include <", line))
    first_pragma = min((i for i, line in enumerate(lines) if "#pragma GCC" in line), default=len(lines))
    assert last_system < first_pragma


def test_functions_are_internal() -> None:
    for header in (ROOT / "walle_core/include/walle/cv").glob("*.hpp"):
        text = header.read_text()
        if "WALLE_CV_" in text and header.name in {
            "rows.hpp",
            "filter.hpp",
            "resize.hpp",
            "warp.hpp",
            "color.hpp",
        }:
            assert "namespace walle { namespace cv { namespace {" in text, header.name
