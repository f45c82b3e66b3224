"""Tests keep no plans in the cache folder of whoever runs them; those of the cache itself have a folder of their own."""

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("WALLE_CACHE_LIMIT", "0")
sys.path.insert(0, str(Path(__file__).parent))  # helpers of all folders: the importlib mode adds none


def pytest_collection_finish(session):
    """Tens of thousands of collected tests are looked at by no collection of garbage: each one would take a second."""
    gc.collect()
    gc.freeze()
