"""Compiled modules and whole sessions in several interpreters with a GIL of their own, on every Python that has them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import other_pythons
import pytest
import small_model

import walle_core as walle

HERE = Path(__file__).parent
ROUNDS = 20 if os.environ.get("WALLE_FULL") else 5


@pytest.fixture(scope="module", params=other_pythons.TESTED)
def python(request):
    """A Python that has this source tree installed."""
    return other_pythons.python(request.param)


def test_compiled_modules_are_found():
    assert {"walle_core._native.program", "walle_core._native.tensor"} < set(other_pythons.compiled_modules())


def test_sessions_in_many_interpreters_at_once(python, tmp_path):
    paths = small_model.write(tmp_path)
    command = [python, "-X", "faulthandler", HERE / "interpreter_stress.py"]
    for name, path in paths.items():
        command += [f"--{name}", path]
    command += [
        "--shape",
        *map(str, small_model.SHAPE),
        "--compiled",
        " ".join(other_pythons.compiled_modules()),
    ]
    command += ["--threads", "4", "--rounds", str(ROUNDS), "--jobs", "8"]
    environment = other_pythons.environment(python)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    report = json.loads(done.stdout)
    print(report)
    assert (report["interpreters"], report["jobs"], report["left"]) == (4 * ROUNDS, 32 * ROUNDS, 0)
    assert report["host"] > 0
    native = {name for name, backend in walle.load_plugins().backends.items() if hasattr(backend, "kernels")}
    here = {name for name, devices in walle.backends().items() if devices and name in native}
    assert here <= set(report["backends"])
    if python != sys.executable:
        assert report["compiled"] == other_pythons.compiled_modules()
