"""Makes the world of the attacks importable, and gives a fleet and a device of it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def fleet(tmp_path):
    from trust_world import Fleet

    return Fleet(tmp_path)


@pytest.fixture
def device(fleet):
    from trust_world import Device

    made = Device(fleet)
    yield made
    made.state.close()
