"""Makes the world of these tests importable, and gives parts of it."""

import signal
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
for folder in (TESTS / "cloud", TESTS / "hooks", TESTS.parent.parent / "pipeline" / "tests" / "tunnel"):
    sys.path.insert(0, str(folder))


@pytest.fixture
def store(tmp_path):
    from walle_deploy.cloud.store import CloudStore

    made = CloudStore.open(f"sqlite:///{tmp_path / 'cloud.db'}")
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres_server():
    from servers import library, postgres

    library("psycopg")
    with postgres() as server:
        server.folder = server.conninfo.split()[0].removeprefix("host=")
        server.url = f"postgresql://walle@/postgres?host={server.folder}"
        yield server
        server.stop(signal.SIGQUIT)  # nothing of it is wanted any more


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """The file of a model that says which of ten patterns a picture of 64 points is, for any number of pictures."""
    from cloud_world import save_large

    path = tmp_path_factory.mktemp("model") / "large.onnx"
    save_large(path)
    return path
