"""Makes the helpers of these tests importable, and gives them a server's pages and a browser."""

import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def browser():
    """An installed Chromium; where devices are required, its absence is a failure."""
    from pages_world import launched

    with launched() as made:
        yield made


@pytest.fixture
def world():
    from pages_world import World

    memory = Path("/dev/shm")  # tests of pages do not wait for disks
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        with World(Path(folder)) as made:
            yield made
