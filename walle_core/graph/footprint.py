"""Refuses graphs whose values cannot be held in this machine's memory, before any of it is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import BackendError
from walle_core.graph.ir import Graph, Node
from walle_core.graph.shapes import infer_node
from walle_core.memory import available_bytes
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

SMALL = 1 << 26  # bytes that are not worth a look at what is free
COPIES = 3  # of its result that a node's NumPy definition holds while it runs


def check_memory(graph: Graph) -> None:
    """Raises BackendError naming the node during which the values alive take more memory than there is.

    Constants are not counted: they are there already. Values of open shape count nothing; whoever learns their shape
    checks again.
    """
    last = {n: i for i, node in enumerate(graph.nodes) for n in node.inputs if n}
    last.update(dict.fromkeys(graph.outputs, len(graph.nodes)))
    alive = {n: b for n in graph.inputs if n not in graph.constants and (b := _nbytes(graph.specs.get(n)))}
    total = sum(alive.values())
    _check(total, alive, "its inputs")
    ends: dict[int, list[str]] = {}
    for name in alive:
        ends.setdefault(last.get(name, 0), []).append(name)
    for index, node in enumerate(graph.nodes):
        made = {o: _nbytes(graph.specs.get(o)) for o in node.outputs if o}
        alive.update(made)
        total += sum(made.values())
        _check(total, alive, f"node {node}")
        for name in made:
            ends.setdefault(max(index, last.get(name, index)), []).append(name)
        for name in ends.pop(index, ()):
            total -= alive.pop(name)


def check_run(node: Node, values: Mapping[str, Any]) -> None:
    """The same for the outputs of one node whose inputs are at hand, as far as they follow from them.

    Raises ShapeError too, where the values do not fit the operator.
    """
    specs = {n: TensorSpec(as_dtype(v.dtype), v.shape) for n, v in values.items() if isinstance(v, Tensor)}
    found = infer_node(node, specs, values) or ()
    made = {o: _nbytes(spec) for o, spec in zip(node.outputs, found, strict=False) if o}
    _check(COPIES * sum(made.values()), made, f"node {node}")


def _nbytes(spec: TensorSpec | None) -> int:
    return spec.nbytes if spec is not None and spec.static else 0


def _check(total: int, alive: Mapping[str, int], who: str) -> None:
    if total <= SMALL or total <= (free := available_bytes()):
        return
    largest = max(alive, key=lambda n: alive[n])
    raise BackendError(
        f"{who}: the values held at once take {total} bytes, of which {largest!r} takes {alive[largest]}, but {free} are"
        " free; use smaller inputs or a smaller model"
    )
