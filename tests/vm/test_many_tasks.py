"""Many different tasks through one host: right results, nothing lost, memory that does not grow.

WALLE_VM_TASKS and WALLE_VM_RUNS say how many; 1,000 and 100,000 with WALLE_FULL.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "native"))
import other_pythons  # noqa: E402

FULL = bool(os.environ.get("WALLE_FULL"))
TASKS = int(os.environ.get("WALLE_VM_TASKS") or (1000 if FULL else 70))
RUNS = int(os.environ.get("WALLE_VM_RUNS") or (100_000 if FULL else 2000))
CASES = [("thread", other_pythons.OWN), ("process", other_pythons.OWN)]
CASES += [("interpreter", version) for version in other_pythons.TESTED]


@pytest.mark.parametrize(("mode", "version"), CASES)
def test_many_tasks_through_one_host(mode, version):
    python = other_pythons.python(version)
    command = [python, "-X", "faulthandler", HERE / "many_tasks.py", mode, str(TASKS), str(RUNS)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 + RUNS,
        env=other_pythons.environment(python),
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr[-3000:]}"
    report = json.loads(done.stdout)
    print(report)
    assert report["runs"] == RUNS
    assert set(report["outcomes"]) == {"ok", "error"}
    assert report["left"] == 0
    assert report["end_mb"] <= 1.1 * report["warm_mb"]
