"""An agent that is killed again and again: nothing half installed, no report lost, none twice, each visit run once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("walle_pipeline")
KILLS = os.environ.get("WALLE_KILLS", "8")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="kill -9, and seeing what is left, as on Linux")
def test_killed_at_random_moments(tmp_path):
    here = Path(__file__).parent
    paths = [str(here), str(here.parent / "trust"), str(here.parent / "install")]
    done = subprocess.run(
        [sys.executable, here / "agent_kills.py", tmp_path, KILLS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{KILLS} kills" in done.stdout
