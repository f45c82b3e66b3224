"""Every atomic operator that a backend offers computes what the definition says."""

from __future__ import annotations

from typing import Any

import pytest

from walle_core.errors import WalleError
from walle_core.ops.numpy_lazy import np
from walle_core.testing.cases import Case, atomic_cases
from walle_core.testing.checks import ELEMENTWISE, Guarded, assert_ulp, largest

CASES = list(atomic_cases())
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    np.inf,
    -np.inf,
    np.nan,
    1e-40,
    -1e-40,
    3e38,
    -3e38,
    1.1754944e-38,
    88.0,
    -104.0,
]
LOW = 2.0**16  # a unit of bfloat16 in units of float32


def offered(backend: Any, case: Case) -> Any:
    """The backend's first way to run the case; skips where it has none."""
    candidates = backend.candidates(case.node, case.graph.specs, case.graph.constants)
    if not candidates:
        pytest.skip(f"{backend.name} has no {case.node.op} for these operands; another backend runs it")
    return candidates[0]


def _compare(case: Case, made: Any, expected: Any, what: str, coarser: float = 1.0) -> None:
    scale = (
        largest(case.feeds.values()) if case.op.family == "reduce" else 0.0
    )  # sums are small by cancellation
    for got, want in zip(made, expected, strict=True):
        ulp = case.op.ulp * coarser
        assert_ulp(got, want, ulp, elementwise=case.op.family in ELEMENTWISE, scale=scale, what=what)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_atomic_matches_reference(backend: Any, case: Case) -> None:
    choice = offered(backend, case)
    guards = {name: Guarded(value, misalign=value.dtype.itemsize) for name, value in case.feeds.items()}
    executable = backend.prepare(case.graph, {case.node.name: choice}, 1, "high")
    made = executable.run([guards[name].tensor() for name in case.graph.inputs])
    _compare(case, made, case.expected(), case.name)
    for guard in guards.values():
        guard.check(case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_candidate_agrees(backend: Any, case: Case) -> None:
    offered(backend, case)
    expected = case.expected()
    for candidate in backend.candidates(case.node, case.graph.specs, case.graph.constants)[1:]:
        executable = backend.prepare(case.graph, {case.node.name: candidate}, 2, "high")
        made = executable.run([case.tensors()[name] for name in case.graph.inputs])
        coarser = LOW if candidate.precision == "low" else 1.0
        _compare(case, made, expected, f"{case.name} by {candidate.algorithm}", coarser)


def _special(case: Case) -> Case | None:
    """The case with special values in its float operands; None if it has none or its operator is not elementwise."""
    floats = [n for n, v in case.feeds.items() if v.dtype == np.float32 and v.size > 1]
    if case.op.family not in ("unary", "binary") or not floats or case.feeds[floats[0]].size < 16:
        return None
    feeds = dict(case.feeds)
    for shift, name in enumerate(floats):
        row = np.resize(np.roll(np.asarray(SPECIAL, np.float32), 4 * shift), feeds[name].size)
        feeds[name] = row.reshape(feeds[name].shape)
    return Case(case.name, case.op, case.graph, feeds)


SPECIAL_CASES = [s for c in CASES if (s := _special(c)) is not None]


@pytest.mark.parametrize("case", SPECIAL_CASES, ids=lambda c: c.name)
def test_special_values(backend: Any, case: Case) -> None:
    """NaN, infinities, zeros and the ends of the range; the definition in float32 is the oracle."""
    from walle_core.backends.interpreter import evaluate

    choice = offered(backend, case)
    executable = backend.prepare(case.graph, {case.node.name: choice}, 1, "high")
    (got,) = executable.run([case.tensors()[name] for name in case.graph.inputs])
    (want,) = evaluate(case.graph, case.feeds)
    got = np.asarray(got)
    if want.dtype.kind == "f":  # results below the normal range may be flushed to zero
        tiny = np.finfo(want.dtype).tiny
        got, want = (np.where(np.abs(v) < tiny, np.zeros_like(v), v) for v in (got, want))
    domain = _in_domain(case)
    nan = np.asarray(np.nan, want.dtype) if want.dtype.kind == "f" else want
    assert_ulp(
        np.where(domain, got, nan),
        np.where(domain, want, nan),
        case.op.ulp + 2,
        elementwise=True,
        what=case.name,
    )


def _in_domain(case: Case) -> Any:
    """Where large finite arguments leave the domain of a periodic or otherwise ill-conditioned operator."""
    if case.op.name not in ("Sin", "Cos", "Tan", "Mod", "Pow"):
        return True
    fine: Any = True
    for value in case.feeds.values():
        fine = fine & ~(np.isfinite(value) & (np.abs(value) > 1e4))
    return fine


def test_unknown_operator_is_declined_not_raised(backend: Any) -> None:
    from walle_core.graph.ir import Node
    from walle_core.types import TensorSpec, float32

    spec = TensorSpec(float32, (2, 3))
    assert not backend.candidates(Node("NoSuchOperator", ("x",), ("y",), {}, "n"), {"x": spec, "y": spec}, {})


def test_wrong_number_of_inputs_is_an_error(backend: Any) -> None:
    case = next(c for c in CASES if c.op.name == "Add")
    executable = backend.prepare(case.graph, {case.node.name: offered(backend, case)}, 1, "high")
    with pytest.raises(WalleError):
        executable.run([])
