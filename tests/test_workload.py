"""Decomposition saves the hand work that the paper claims, counted from the registries."""

from __future__ import annotations

from walle_core.ops import catalogue
from walle_core.ops.define import Sample, make
from walle_core.plugins import load_plugins
from walle_core.workload import coverage, workload


def test_decomposition_saves_as_much_as_in_the_paper() -> None:
    backends = {n: b for n, b in load_plugins().backends.items() if b.devices()}
    found = workload(backends)
    without, needed = found.uniform()
    assert 1 - needed / without >= 0.46, f"{without} -> {needed}"
    assert found.atomic + found.host + found.transforms + found.composites + found.control == len(catalogue())
    if len(found.targets) > 1:  # with few targets the definitions themselves, written once, weigh more
        assert found.saved >= 0.45, f"{found.without} -> {found.needed} over {found.targets}"


def test_a_new_composite_runs_everywhere_at_once() -> None:
    def shrink(g, x, *, amount=0.5):
        """Moves x towards zero by `amount`, not beyond it."""
        return g.Mul(g.Sign(x), g.Relu(g.Sub(g.Abs(x), g.const(amount, like=x))))

    op = make("Shrinkage", "composite", "activation", decompose=shrink, samples=(Sample(((3, 7),)),))
    for name, backend in load_plugins().backends.items():
        if backend.devices():
            catalogue()[op.name] = op
            try:
                assert coverage(backend, op).how, name
            finally:
                del catalogue()[op.name]
