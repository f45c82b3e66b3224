"""A composite's reference and its decomposition are two definitions of one function: they must agree."""

import pytest

from walle_core.backends.interpreter import evaluate
from walle_core.ops import catalogue
from walle_core.testing.cases import cases

BOTH = sorted(
    n
    for n, op in catalogue().items()
    if op.kind == "composite" and op.reference is not None and op.deterministic
)


@pytest.mark.parametrize("name", BOTH)
def test_reference_equals_decomposition(lowered, near, name):
    op = catalogue()[name]
    assert op.samples, f"{name} has no samples"
    for case in cases(op):
        wanted = evaluate(case.graph, case.feeds)
        for got, want in zip(lowered(case.graph, case.feeds), wanted, strict=True):
            near(got, want, 4 * max(op.ulp, 4))


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_definitions_are_complete(name):
    op = catalogue()[name]
    assert op.doc.endswith("."), f"{name} needs a sentence that says what it does"
    assert op.kind == "control" or op.reference is not None or op.decompose is not None
