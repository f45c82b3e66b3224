"""Platforms on both kinds of databases; makes the modules beside the tests importable."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server; skips, or fails with WALLE_REQUIRE_DEVICES=1, where there is none."""
    from core_databases import postgres

    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/walle.db"
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def world(url):
    """A platform on it, with everything to use it."""
    from core_world import World

    with World(url) as made:
        yield made


@pytest.fixture
def sqlite_world(tmp_path):
    """As `world`, for what does not depend on the database."""
    from core_world import World

    with World(f"sqlite:///{tmp_path}/walle.db") as made:
        yield made
