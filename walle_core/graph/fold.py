"""Constant folding, interleaved with shape inference, so that shape arithmetic vanishes once input shapes are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.graph.ir import Graph, Node, captured, subgraphs
from walle_core.graph.shapes import infer_node
from walle_core.ops import find
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

MAX_FOLDED = 64 << 20  # bytes: a larger result is kept as a node, unless it is smaller than what it is made from

Evaluate = Callable[[Node, Sequence[Any]], "list[Any] | None"]


def fold(graph: Graph, evaluate: Evaluate) -> Graph:
    """Computes nodes with constant inputs, removes identities, and infers the specs of the rest.

    Args:
        graph: any graph; open shapes are left open.
        evaluate: outputs of a node from its constant inputs, None where it cannot.
    """
    specs, constants = dict(graph.specs), dict(graph.constants)
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    fixed = set(graph.outputs)
    for node in graph.nodes:
        fixed |= captured(node)
    for node in graph.nodes:
        if any(n in alias for n in node.inputs):
            node = node.evolve(inputs=tuple(alias.get(n, n) for n in node.inputs))
        if (source := _identity(node)) is not None and node.outputs[0] not in fixed:
            alias[node.outputs[0]] = source
            continue
        made = _shape_of(node, specs) or _computed(node, specs, constants, evaluate)
        if made is not None:
            for name, value in zip(node.outputs, made, strict=False):
                if name:
                    constants[name] = value
                    if isinstance(value, Tensor):
                        specs[name] = TensorSpec(as_dtype(value.dtype), value.shape)
            continue
        for name, spec in zip(node.outputs, infer_node(node, specs, constants) or (), strict=False):
            if name:
                specs[name] = spec
        nodes.append(node)
    return graph.evolve(nodes=tuple(nodes), specs=specs, constants=constants).pruned()


def _identity(node: Node) -> str | None:
    if node.op == "Identity" or (node.op == "Dropout" and not any(node.outputs[1:]) and not any(node.inputs[2:])):
        return node.inputs[0]
    return None


def _shape_of(node: Node, specs: dict[str, TensorSpec]) -> list[Any] | None:
    if node.op not in ("Shape", "Size") or not node.inputs or node.inputs[0] not in specs:
        return None
    spec = specs[node.inputs[0]]
    if not spec.static:
        return None
    if node.op == "Size":
        return [Tensor.of(spec.size, "int64")]
    return [Tensor.of(list(spec.sizes[slice(node.attrs.get("start", 0), node.attrs.get("end"))]), "int64")]


def _computed(node: Node, specs: dict[str, TensorSpec], constants: dict[str, Any], evaluate: Evaluate) -> list[Any] | None:
    op = find(node.op)
    if op is None or op.kind == "control" or not op.deterministic or any(True for _ in subgraphs(node)):
        return None
    if any(n and n not in constants for n in node.inputs):
        return None
    if any(s.dtype.kind == "s" for n in node.inputs if n and (s := specs.get(n)) is not None):
        return None
    inputs = [constants[n] if n else None for n in node.inputs]
    found = infer_node(node, specs, constants)
    given = sum(getattr(v, "nbytes", 0) for v in inputs if v is not None)
    size = sum(s.nbytes for s in found or () if s.static)
    if found is not None and size > MAX_FOLDED and size > given:
        return None
    return evaluate(node, inputs)
