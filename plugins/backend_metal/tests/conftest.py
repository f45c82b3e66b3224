"""Puts the stand-in for Metal and its tools on the path of the tests."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE / "fake"):
    sys.path.insert(0, str(folder))
PATHS = os.pathsep.join([str(HERE), str(HERE / "fake")])
