"""Makes the helpers of these tests importable, and gives them a server's pages and a browser."""

import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")  # its event loop must not run while other tests need their own
def browser():
    """An installed Chromium; where devices are required, its absence is a failure."""
    from pages_world import launched

    with launched() as made:
        yield made


@pytest.fixture
def world():
    from pages_world import World

    memory = Path("/dev/shm")  # tests of pages do not wait for disks
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder, World(Path(folder)) as made:
        yield made


@pytest.fixture
def site(world):
    """A world with the task "digits", and the URL of its pages."""
    from pages_world import serving

    world.digits({"any": [{"device": {"os": "android"}}, {"user": {"country": "de"}}]})
    with serving(world.app) as url:
        yield world, url
