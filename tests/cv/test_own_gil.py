"""The functions for pictures and sound in interpreters with a GIL of their own, four threads at once."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "native"))
import other_pythons  # noqa: E402


@pytest.mark.parametrize("version", other_pythons.TESTED)
def test_pictures_and_sound_in_many_interpreters(version):
    python = other_pythons.python(version)
    command = [python, "-X", "faulthandler", HERE / "task_of_pictures.py", "4", "3"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=other_pythons.environment(python),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[0] == "1", "interpreters disagree"
