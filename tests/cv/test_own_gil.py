"""The functions for pictures and sound in interpreters with a GIL of their own, four threads at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "native"))
import other_pythons  # noqa: E402

OWN = "{}.{}".format(*sys.version_info[:2])
TESTED = dict.fromkeys([*([OWN] if sys.version_info >= (3, 12) else []), *other_pythons.VERSIONS])


@pytest.mark.parametrize("version", TESTED)
def test_pictures_and_sound_in_many_interpreters(version):
    try:
        python = sys.executable if version == OWN else other_pythons.prepare(version)
    except other_pythons.Unavailable as reason:
        pytest.skip(str(reason))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" or python == sys.executable}
    command = [python, "-X", "faulthandler", HERE / "task_of_pictures.py", "4", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[0] == "1", "interpreters disagree"
