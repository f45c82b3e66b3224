"""Every compiled module of the core and the plugins at work in interpreters that come and go on four threads.

WALLE_SOAK_S says for how long; 60 s with WALLE_FULL.
"""

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
import small_model  # noqa: E402

SECONDS = os.environ.get("WALLE_SOAK_S") or ("60" if os.environ.get("WALLE_FULL") else "3")


@pytest.mark.parametrize("version", other_pythons.TESTED)
def test_interpreters_with_every_compiled_module(version, tmp_path):
    python = other_pythons.python(version)
    paths = small_model.write(tmp_path)
    command = [python, "-X", "faulthandler", HERE / "soak.py", "--seconds", SECONDS]
    command += ["--model", paths["model"], "--input", paths["input"], "--shape", *map(str, small_model.SHAPE)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600 + float(SECONDS),
        env=other_pythons.environment(python),
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    report = json.loads(done.stdout)
    print(report)
    counts = report["counts"]
    assert report["left"] == 0
    assert counts["interpreters"] >= 4
    assert all(counts.get(name) for name in report["families"])
    if python != sys.executable:
        assert set(report["modules"]) == set(other_pythons.compiled_modules())
    assert {"walle_core._native.tensor", "walle_core.vm._interpreter"} < set(report["modules"])
