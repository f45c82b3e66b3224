"""Computes a node whose inputs are known: with the NumPy references where NumPy is, else with the portable kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from walle_core._native import scalar_table
from walle_core.errors import UnsupportedError
from walle_core.graph.ir import Graph, Node
from walle_core.graph.lower import lower
from walle_core.graph.shapes import infer_node
from walle_core.types import Candidate, TensorSpec
from walle_core.types import dtype as as_dtype


@functools.cache
def has_numpy() -> bool:
    """True if NumPy can be imported in this interpreter."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True


@functools.cache
def _portable() -> Any:
    from walle_core.backends.table import TableBackend

    return TableBackend("portable", "0", lambda: [scalar_table()])


def evaluate(node: Node, inputs: Sequence[Any]) -> list[Any] | None:
    """Outputs of one node as Tensors (or host data); None if nothing here can compute it."""
    if has_numpy():
        from walle_core.backends.reference import run_node

        return run_node(node, inputs)
    try:
        return evaluate_native(node, inputs)
    except UnsupportedError:
        return None


def evaluate_native(node: Node, inputs: Sequence[Any]) -> list[Any]:
    """Outputs of one node through the portable kernels, without NumPy. Raises UnsupportedError."""
    names = [n for n in node.inputs if n]
    values = dict(zip(node.inputs, inputs, strict=False))
    specs = {n: TensorSpec(as_dtype(values[n].dtype), tuple(values[n].shape)) for n in names}
    found = infer_node(node, specs, {n: values[n] for n in names})
    outputs = [o for o in node.outputs if o]
    if found is None:
        raise UnsupportedError(f"{node}: its result's shape is not known before it runs")
    specs |= {o: s for o, s in zip(node.outputs, found, strict=False) if o}
    data = [n for i, n in enumerate(dict.fromkeys(names)) if i == 0]
    constants = {n: values[n] for n in names if n not in data}
    graph = Graph(tuple(data), tuple(outputs), (node,), constants, specs, node.name)
    backend = _portable()

    def pick(inner: Node, known: Any, fixed: Any) -> Candidate | None:
        offers = backend.candidates(inner, known, fixed)
        return offers[0] if offers else None

    lowered = lower(graph, pick, backend.traits, lambda *_: None)
    executable = backend.prepare(lowered.graph, lowered.choices, 1, "high")
    return list(executable.run([values[n] for n in data]))
