"""Arrays in several interpreters with a GIL of their own, on every Python that has them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parent / "native"
sys.path.insert(0, str(NATIVE))
import other_pythons  # noqa: E402

OWN = "{}.{}".format(*sys.version_info[:2])
TESTED = dict.fromkeys([*([OWN] if sys.version_info >= (3, 12) else []), *other_pythons.VERSIONS])


@pytest.mark.parametrize("version", TESTED)
def test_interpreters_share_memory_and_nothing_else(version):
    try:
        python = sys.executable if version == OWN else other_pythons.prepare(version)
    except other_pythons.Unavailable as reason:
        pytest.skip(str(reason))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"WALLE_OPENCL_DEVICE": "none", "WALLE_VULKAN_DEVICE": "none"}
    environment["PYTHONPATH"] = str(NATIVE)
    environment["PYTHONPYCACHEPREFIX"] = str(other_pythons.ROOT / "build/pycache")
    command = [python, "-X", "faulthandler", HERE / "own_gil_arrays.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert json.loads(done.stdout)["runs"] == 240
