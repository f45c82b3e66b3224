"""Arrays in several interpreters with a GIL of their own, on every Python that has them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parent / "native"
sys.path.insert(0, str(NATIVE))
import other_pythons  # noqa: E402


@pytest.mark.parametrize("version", other_pythons.TESTED)
def test_interpreters_share_memory_and_nothing_else(version):
    python = other_pythons.python(version)
    environment = other_pythons.environment(python) | {"PYTHONPATH": str(NATIVE)}
    command = [python, "-X", "faulthandler", HERE / "own_gil_arrays.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert json.loads(done.stdout)["runs"] == 240
