"""A worker that is killed at a random point loses no report that it acknowledged, and offers nothing that was ended."""

import os
import subprocess
import sys
from pathlib import Path

KILLS = int(os.environ.get("WALLE_KILLS", "0") or 0) or 3


def test_kills_at_random_points(url):
    command = [sys.executable, "core_kills.py", url, str(KILLS), os.environ.get("WALLE_SEED", "7")]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"{KILLS} kills" in done.stdout
    print(done.stdout)
