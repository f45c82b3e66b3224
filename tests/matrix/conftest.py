"""Lets the tests of this folder import each other's helpers: the importlib mode adds no folder of its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
