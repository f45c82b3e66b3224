"""Makes the helpers of this folder importable: the importlib mode adds no folder of its own."""

import sys
from pathlib import Path

import pytest

from walle_core import cache, cost
from walle_core.plugins import load_plugins
from walle_core.types import DeviceRates

RATES = DeviceRates({"gemm": 1e9, "elementwise": 1e8}, ((2.0**20, 1e10), (float("inf"), 1e9)), 1e-6, 0.0)


@pytest.fixture
def uncalibrated(monkeypatch, tmp_path):
    """A process that has measured and warned of nothing, a cache of its own, and backends that measure in no time."""
    monkeypatch.setattr(cost, "_measured", {})
    monkeypatch.setattr(cache, "_warned", [])
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path / "cache"))
    for backend in load_plugins().backends.values():
        monkeypatch.setattr(backend, "calibrate", lambda *_: RATES, raising=False)
    return RATES


sys.path.insert(0, str(Path(__file__).parent))
