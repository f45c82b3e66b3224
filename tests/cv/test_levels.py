"""Levels of processors are compiled from one source and share no symbol."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from walle_core import Tensor
from walle_core.cv import _pixels

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


def _row(*numbers: float) -> np.ndarray:
    return np.array([numbers], "float64")


DERIVATIVE = _row(-1, 0, 1), _row(1, 2, 1)
ROWS = [  # function, result's shape per height and width, dtype, further inputs, numbers
    ("median", (1, 1), "uint8", (), (3,)),
    ("median", (1, 1), "uint8", (), (5,)),
    ("pyr_down", (2, 2), "uint8", (), (4,)),
    ("pyr_up", (0.5, 0.5), "uint8", (), ()),
    ("separable", (1, 1), "int16", DERIVATIVE, (1, 1, 4, 0)),
    ("resize", (2, 2), "uint8", (), (1, 2, 2)),
    ("resize", (2, 2), "uint8", (), (2, 2, 2)),
    ("resize", (2, 2), "uint8", (), (3, 2, 2)),
    ("to_ycc", (1, 1), "uint8", (), (0, 1)),
    ("to_hsv", (1, 1), "uint8", (), (0, 180)),
    ("morph", (1, 1), "uint8", (np.ones((3, 3), "uint8"),), (1, 1, 1, 4, 0, 0, 0, 0, 0)),
]


@pytest.mark.parametrize(
    ("name", "by", "dtype", "more", "args"), ROWS, ids=lambda v: v if isinstance(v, str) else ""
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_levels_agree(name: str, by: tuple, dtype: str, more: tuple, args: tuple, channels: int) -> None:
    """One source, several compilations: integers are the same whatever the processor."""
    if name.startswith("to_"):
        channels = 3
    image = np.random.default_rng(7).integers(0, 256, (14, 702, channels), dtype=np.uint8)
    shape = (int(14 / by[0]), int(702 / by[1]), channels)
    made = [
        _pixels.run(name, [image, *more], Tensor(shape, dtype), args, level).tobytes()
        for level in (1, 3, 4)
        if level <= _pixels.level()
    ]
    assert len(set(made)) == 1
