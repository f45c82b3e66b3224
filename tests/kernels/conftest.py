"""Every kernel table that this machine can run or emulate, as the fixture `kernels`: the portable one and those of plugins."""

from importlib.metadata import entry_points

import emulated
import pytest

from walle_core._native import scalar_table
from walle_core.backends.table import cut
from walle_core.backends.table.emitter import Kernels

EMULATED = ["avx512", "avx512bf16", "avxvnni"]  # the second has the tables of avx512vnni behind it


def _tables():
    found = {"scalar": [scalar_table()]}
    for entry in entry_points(group="walle"):
        plugin = entry.load()
        found |= {isa: plugin.tables(isa) for isa in getattr(plugin, "usable", list)()}
    return found


TABLES = _tables()


@pytest.fixture(params=[*TABLES, *(f"{isa} emulated" for isa in EMULATED)], scope="session")
def kernels(request):
    """Rows of one instruction set."""
    isa, _, how = request.param.partition(" ")
    return Kernels(emulated.tables(isa) if how else TABLES[isa])


@pytest.fixture
def piece_bytes(monkeypatch):
    """Sets how much of a panel one pass takes."""

    def change(nbytes):
        monkeypatch.setattr(cut, "PANEL_BYTES", nbytes)
        monkeypatch.setattr(cut, "MIN_PIECE", 16)
        cut.solve.cache_clear()

    yield change
    cut.solve.cache_clear()
