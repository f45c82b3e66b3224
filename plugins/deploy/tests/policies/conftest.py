"""What the tests of policies share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def profile():
    from walle_deploy.profile import Profile

    return Profile(
        "device-1",
        {
            "os": "android",
            "os_version": "12.1",
            "memory_mb": 4096,
            "backends": ["neon", "gpu"],
            "speed.neon": 41.5,
            "rooted": False,
        },
        {"country": "de", "age": 30, "groups": ["beta"]},
        {"ocr": "3"},
    )
