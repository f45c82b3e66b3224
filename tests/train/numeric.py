"""Graphs run by the references, and gradients compared with central differences in float64."""

from __future__ import annotations

import numpy as np

from walle_core import Tensor
from walle_core.evaluate import evaluate
from walle_core.graph.builder import Builder
from walle_core.graph.differentiate import differentiate

TOLERANCE = 1e-4


def values_of(graph, inputs, names):
    """The named values of a graph."""
    graph = graph.evolve(outputs=tuple(names)).pruned()
    known = {**graph.constants, **{n: Tensor.of(a) for n, a in inputs.items()}}
    for node in graph.nodes:
        made = evaluate(node, [known.get(n) for n in node.inputs])
        known.update(zip(node.outputs, made, strict=False))
    return [np.array(known[n]) for n in names]


def scalar(g: Builder, y: str, rng) -> str:
    """A sum of y's elements, each with a weight of its own, so that no symmetry hides an error."""
    weights = g.const(rng.uniform(0.5, 1.5, g.shape(y)), g.dtype(y))
    return g.ReduceSum(g.Mul(y, weights), keepdims=0)


def check(graph, result, inputs, rng, step=1e-6, tolerance=TOLERANCE):
    """Derivatives along random directions, one input at a time, against central differences."""
    made = differentiate(graph, result, list(inputs))
    found = values_of(made.graph, inputs, list(made.gradients.values()))
    for (name, value), gradient in zip(inputs.items(), found, strict=True):
        assert gradient.shape == value.shape
        along = rng.choice([-1.0, 1.0], value.shape) * rng.uniform(0.5, 1.5, value.shape)
        ends = [
            float(values_of(graph, {**inputs, name: np.asarray(value + sign * step * along)}, [result])[0])
            for sign in (1, -1)
        ]
        numeric, exact = (ends[0] - ends[1]) / (2 * step), float(np.sum(gradient * along))
        scale = max(abs(numeric), float(np.sqrt(np.sum(gradient**2))), 1e-3)
        assert abs(numeric - exact) <= tolerance * scale, f"by {name}: {exact} instead of {numeric}"
