"""Finds the operator that made the first value that is no finite number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from walle_core._native import Tensor
from walle_core.binding import check_finite
from walle_core.errors import InputError
from walle_core.evaluate import evaluate
from walle_core.graph.ir import Graph
from walle_core.ops import find


def first_broken(graph: Graph, inputs: Mapping[str, Any]) -> str:
    """A clause that says which input, or else which operator, brought NaN or infinity in.

    Every node is computed by itself, in order. Operators that only move elements (and may fill with infinity) are not
    blamed, nor are those that got such a value.
    """
    for name, value in inputs.items():
        if not _finite(value):
            return f"{name!r} holds NaN or infinity already"
    known: dict[str, Any] = {**graph.constants, **inputs}
    last_use = {n: i for i, node in enumerate(graph.nodes) for n in node.inputs}
    for i, node in enumerate(graph.nodes):
        operands = [known.get(n) for n in node.inputs]
        made = evaluate(node, operands)
        if made is None:
            return "the operator could not be found, as not all can be computed one by one"
        op = find(node.op)
        moves = op is None or op.kind == "transform" or node.op == "Raster"
        if not moves and all(map(_finite, operands)) and not all(map(_finite, made)):
            return f"the first operator that made NaN or infinity is {node}"
        known.update(zip(node.outputs, made, strict=False))
        for name in node.inputs:
            if last_use[name] == i and name not in graph.constants:
                known.pop(name, None)
    return "no operator makes NaN or infinity by itself: the backend's kernels differ from the references"


def _finite(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.dtype not in ("float32", "float64", "float16", "bfloat16"):
        return True
    try:
        check_finite(value, "")
    except InputError:
        return False
    return True
