"""Backends over emulated tables, registered like installed ones while the tests of this folder run."""

from contextlib import contextmanager

import emulated
import pytest

from walle_core import cost
from walle_core._native import scalar_table
from walle_core.backends.table import TableBackend
from walle_core.plugins import load_plugins
from walle_core.types import DeviceRates

# What a processor with these instructions might reach; measured under emulation the rates would be those of SIMDe.
RATES = DeviceRates(
    {"peak": 2e11, "gemm": 1e11, "direct": 1e11, "winograd": 8e10, "depthwise": 3e10, "elementwise": 1e10, "gemm_int8": 2e11,
     "direct_int8": 2e11, "depthwise_int8": 4e10, "gemm_bf16": 2e11,
     "direct_bf16": 2e11},
    ((1e5, 2e11), (float("inf"), 3e10)), 1e-7, 1e-6,
)  # fmt: skip


@contextmanager
def registered(name, capsules):
    """A table backend that Sessions find by name, with the rates above."""
    made = TableBackend(name=name, version="0", tables=lambda: capsules)
    (device,) = made.devices()
    for threads in (1, 2):
        cost._measured[cost.rates_key(made, device, threads)] = RATES
    registry = load_plugins().backends
    registry.add(made)
    try:
        yield made
    finally:
        del registry._items[name], registry._adders[name]


@pytest.fixture(scope="module", params=["avx512bf16", "avxvnni"])
def backend(request):
    """A backend over the emulated tables of one instruction set."""
    with registered(f"emulated-{request.param}", emulated.tables(request.param)) as made:
        yield made


@pytest.fixture(scope="module")
def portable():
    """A backend over the portable table alone."""
    with registered("portable-alone", [scalar_table()]) as made:
        yield made
