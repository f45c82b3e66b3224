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


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server; skips, or fails with WALLE_REQUIRE_DEVICES=1, where there is none."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "server"))
    from core_databases import postgres

    with postgres() as server:
        yield server


@pytest.fixture(scope="module")
def shop(world):
    """What operations of the API need."""
    from api_shop import Shop

    return Shop(world)


@pytest.fixture
def no_limits(monkeypatch):
    """Tests ask more often than anybody may."""
    from walle_deploy.server.limits import Buckets

    monkeypatch.setattr(Buckets, "wait", lambda self, key: 0.0)
