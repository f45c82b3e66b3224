"""Costs are finite and grow with the work; calibration gives rates that can be divided by."""

from __future__ import annotations

import math
from typing import Any

import pytest

from walle_core.cost import GUESS, LinearCost, rates_of
from walle_core.ops.numpy_lazy import np
from walle_core.testing.cases import Case, atomic_cases
from walle_core.types import DeviceRates

CASES = list(atomic_cases())


@pytest.fixture(scope="module")
def rates(backend: Any) -> DeviceRates:
    devices = backend.devices()
    return rates_of(backend, devices[0], 1) if devices else GUESS


def test_rates_can_be_used(rates: DeviceRates) -> None:
    assert rates.ops_per_s
    assert all(0 < v < math.inf for v in rates.ops_per_s.values())
    limits = [limit for limit, _ in rates.bytes_per_s]
    assert limits == sorted(limits)
    assert limits[-1] == math.inf
    assert all(0 < v < math.inf for _, v in rates.bytes_per_s)
    assert 0 <= rates.dispatch_s < 1
    assert 0 <= rates.call_s < 1
    assert rates.transfer_bytes_per_s > 0


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_candidates_have_a_price(backend: Any, rates: DeviceRates, case: Case) -> None:
    for candidate in backend.candidates(case.node, case.graph.specs, case.graph.constants):
        assert 0 <= candidate.ops < math.inf
        assert 0 <= candidate.bytes < math.inf
        assert candidate.algorithm
        assert candidate.rate
        assert 0 <= LinearCost().seconds(candidate, rates) < math.inf


@pytest.mark.parametrize("op", ["Exp", "Add", "MatMul"])
def test_more_work_costs_more(backend: Any, rates: DeviceRates, op: str) -> None:
    from walle_core.graph.builder import Builder

    seconds = []
    for n in (64, 256, 1024):
        g = Builder()
        x = g.input("x", "float32", (n, n))
        g.op(op, *([x] if op == "Exp" else [x, g.const(np.zeros((n, n), np.float32))]), outputs=["y"])
        found = backend.candidates(g.nodes[0], g.specs, g.constants)
        if not found:
            pytest.skip(f"{backend.name} has no {op}")
        seconds.append(min(LinearCost().seconds(c, rates) for c in found))
    assert seconds == sorted(seconds)
    assert seconds[0] < seconds[2]
