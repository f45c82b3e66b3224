"""Makes the world of these tests importable, and gives parts of it."""

import sys
from pathlib import Path

import pytest

for folder in ("cloud", "hooks"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))


@pytest.fixture
def store(tmp_path):
    from walle_deploy.cloud.store import CloudStore

    made = CloudStore.open(f"sqlite:///{tmp_path / 'cloud.db'}")
    yield made
    made.close()


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """The file of a model that says which of ten patterns a picture of 64 points is, for any number of pictures."""
    from cloud_world import save_large

    path = tmp_path_factory.mktemp("model") / "large.onnx"
    save_large(path)
    return path
