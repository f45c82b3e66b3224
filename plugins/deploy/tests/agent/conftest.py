"""Makes the worlds of the tests importable, and gives a server and agents of it."""

import sys
from pathlib import Path

import pytest

for folder in ("agent", "install", "trust"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))


@pytest.fixture
def world(tmp_path):
    from agent_world import World

    with World(tmp_path / "world") as made:
        yield made


@pytest.fixture
def agent_of(world, tmp_path):
    """Makes agents that end with the test."""
    made = []

    def make(**options):
        agent = world.agent(tmp_path / "device", **options)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.close()
