"""Every kernel table that this machine can run, as the fixture `kernels`: the portable one and those of plugins."""

from importlib.metadata import entry_points

import pytest

from walle_core._native import load_table, scalar_table
from walle_core.backends.table import cut
from walle_core.backends.table.emitter import Kernels


def _tables():
    capsules = [scalar_table()]
    for entry in entry_points(group="walle"):
        capsules += getattr(entry.load(), "tables", list)()
    return {load_table(capsule)[0].isa: capsule for capsule in capsules}


TABLES = _tables()


@pytest.fixture(params=list(TABLES), scope="session")
def kernels(request):
    """Rows of one table."""
    return Kernels([TABLES[request.param]])


@pytest.fixture
def piece_bytes(monkeypatch):
    """Sets how much of a panel one pass takes."""

    def change(nbytes):
        monkeypatch.setattr(cut, "PANEL_BYTES", nbytes)
        monkeypatch.setattr(cut, "MIN_PIECE", 16)
        cut.solve.cache_clear()

    yield change
    cut.solve.cache_clear()
