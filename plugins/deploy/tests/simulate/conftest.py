"""Makes the tasks of the tests importable, and logs that many tests read."""

import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("walle_pipeline")
for part in ("simulate", "server"):
    sys.path.insert(0, str(Path(__file__).parent.parent / part))


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    """120 visits."""
    from simulate_world import recorded

    return recorded(tmp_path_factory.mktemp("logs") / "monday.events")


@pytest.fixture
def impatient(monkeypatch):
    """The first run of a process is waited for not much longer than others."""
    from walle_deploy.simulate import running

    monkeypatch.setattr(running, "Container", partial(running.Container, first_s=0.1))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Four logs of 40 visits each."""
    from simulate_world import recorded

    made = tmp_path_factory.mktemp("recorded")
    for number in range(4):
        recorded(made / f"{number}.events", 40, number)
    return made
