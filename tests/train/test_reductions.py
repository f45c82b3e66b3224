"""Reductions over axes apart become reductions over runs of axes, with the same results."""

from __future__ import annotations

import numpy as np
import pytest
from numeric import values_of

from walle_core.graph.builder import Builder
from walle_core.graph.reductions import split_reductions


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(
    ("axes", "runs"), [([0, 2, 3], 2), ([0, 2], 2), ([-1, 0, 3], 2), ([1, 2], 1), ([0, 2, 4], 3), ([3, 4], 1)]
)
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceProd", "ReduceMin"])
def test_runs(op, axes, runs, keepdims):
    g = Builder()
    x = g.input("x", "float64", (2, 3, 2, 3, 2))
    y = getattr(g, op)(x, g.const(axes, "int64"), keepdims=keepdims)
    graph = g.graph([y])
    made = split_reductions(graph)
    assert [n.op for n in made.nodes] == [op] * runs
    inputs = {"x": np.random.default_rng(0).normal(size=(2, 3, 2, 3, 2))}
    np.testing.assert_allclose(*(values_of(each, inputs, [y])[0] for each in (graph, made)), rtol=1e-12)


def test_an_axis_of_one_joins_its_neighbours():
    g = Builder()
    y = g.ReduceSum(g.input("x", "float64", (2, 1, 3, 4)), g.const([0, 2], "int64"))
    graph = g.graph([y])
    assert len(split_reductions(graph).nodes) == 1
