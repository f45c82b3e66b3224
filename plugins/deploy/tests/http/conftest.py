"""Makes the helpers of these tests importable, and gives a server in this process."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    from http_world import World

    made = World(tmp_path_factory.mktemp("world") / "server")
    yield made
    made.close()
