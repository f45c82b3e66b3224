"""The demonstration, as make demo runs it: its exit code tells the truth, and nothing of it stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DEMO = Path(__file__).parents[1] / "examples" / "demo" / "demo.py"


def test_the_demonstration_ends_well_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # it writes into a clone of this repository, where private keys must not lie
    mark = f"WALLE_DEMO_TEST={tmp_path}"
    done = subprocess.run(
        [sys.executable, str(DEMO), "--out", str(tmp_path / "out")],
        env={**os.environ, "WALLE_DEMO_TEST": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    for told in ("v1 is released", "v2 was rolled back", "v3 is released", "the large model"):
        assert told in done.stdout, done.stdout[-4000:]
    for made in ("digits.onnx", "digits.png", "ranking.png", "releases.png"):
        assert (tmp_path / "out" / made).stat().st_size > 1000
    left = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes():
                left.append((place / "cmdline").read_bytes())
        except OSError:
            continue
    assert not left
