"""Composites and transforms run on every backend: by its own kernels, and decomposed into atomic operators and raster."""

from __future__ import annotations

from typing import Any

import pytest

from walle_core.errors import UnsupportedError
from walle_core.graph.decompose import decompose
from walle_core.graph.raster import lower
from walle_core.session import Session
from walle_core.testing.cases import Case, derived_cases
from walle_core.testing.checks import assert_ulp, largest

CASES = list(derived_cases())
DECOMPOSABLE = [c for c in CASES if c.static and (c.op.decompose is not None or c.op.regions is not None)]


def _check(case: Case, made: dict[str, Any], slack: float) -> None:
    scale = min(1.0, largest(case.feeds.values()))
    for name, want in zip(case.graph.outputs, case.expected(), strict=True):
        exact = case.op.kind == "transform"
        ulp = 0 if exact else case.op.ulp + slack
        assert_ulp(made[name], want, ulp, scale=scale, what=case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_derived_matches_reference(backend: Any, case: Case) -> None:
    try:
        session = Session(case.graph, backend=backend.name, threads=1)
    except UnsupportedError as error:
        pytest.skip(f"no installed backend runs it: {error}")
    _check(case, session.run(case.feeds), slack=4)


@pytest.mark.parametrize("case", DECOMPOSABLE, ids=lambda c: c.name)
def test_decomposed_matches_reference(backend: Any, case: Case) -> None:
    """The graph of atomic operators and rasters that the definition stands for: no kernel of its own may be needed."""
    atomic, _ = lower(decompose(case.graph, keep=lambda *_: False))
    try:
        session = Session(atomic, backend=backend.name, threads=1)
    except UnsupportedError as error:
        pytest.skip(f"no installed backend runs it: {error}")
    _check(case, session.run(case.feeds), slack=16)


def test_constant_folding_keeps_the_result(backend: Any) -> None:
    """A node whose operands are all constant is computed at load."""
    case = next(c for c in CASES if c.op.name == "Softmax" and c.graph.constants == {})
    constants = dict(zip(case.graph.inputs, case.tensors().values(), strict=True))
    session = Session(case.graph.evolve(inputs=(), constants=constants), backend=backend.name, threads=1)
    _check(case, session.run({}), slack=4)
