"""Folds inference-time BatchNormalization into the weights of the operator before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.graph.fold import Evaluate
from walle_core.graph.ir import Graph, Node
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype


class _Arithmetic:
    """Elementwise arithmetic on constants through `evaluate`."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def __call__(self, op: str, *operands: Any, **attrs: Any) -> Any:
        names = tuple(f"i{i}" for i in range(len(operands)))
        made = self._evaluate(Node(op, names, ("o",), attrs, op), list(operands))
        return made[0] if made else None


def _scale_and_shift(node: Node, constants: Any, calc: _Arithmetic) -> tuple[Any, Any] | None:
    """scale = gamma / sqrt(var + eps), shift = beta - mean * scale."""
    gamma, beta, mean, var = (constants[n] for n in node.inputs[1:5])
    epsilon = Tensor.of([float(node.attrs.get("epsilon", 1e-5))], var.dtype)
    root = calc("Sqrt", calc("Add", var, epsilon))
    scale = calc("Div", gamma, root) if root is not None else None
    if scale is None:
        return None
    return scale, calc("Sub", beta, calc("Mul", mean, scale))


def _channel_axis(head: Node) -> int:
    return 1 if head.op == "ConvTranspose" else 0


def fold_batch_norm(graph: Graph, evaluate: Evaluate) -> Graph:
    """BatchNormalization right after Conv or ConvTranspose (group 1) with constant weights disappears into them.

    Others stay and are decomposed into a multiplication and an addition with constants.
    """
    calc = _Arithmetic(evaluate)
    constants, specs = dict(graph.constants), dict(graph.specs)
    made, uses = graph.producers(), graph.consumers()
    replaced: dict[str, Node] = {}
    gone: set[str] = set()
    for node in graph.nodes:
        if node.op != "BatchNormalization" or any(node.outputs[1:]) or node.attrs.get("training_mode", 0):
            continue
        head = made.get(node.inputs[0])
        if head is None or head.op not in ("Conv", "ConvTranspose") or head.name in gone:
            continue
        if len(uses[node.inputs[0]]) != 1 or node.inputs[0] in graph.outputs:
            continue
        if head.op == "ConvTranspose" and head.attrs.get("group", 1) != 1:
            continue
        if any(n not in constants for n in (*head.inputs[1:], *node.inputs[1:5]) if n):
            continue
        found = _scale_and_shift(node, constants, calc)
        if found is None:
            continue
        replaced[node.name] = _folded(head, node, found, constants, specs, calc)
        gone.add(head.name)
    nodes = tuple(replaced.get(n.name, n) for n in graph.nodes if n.name not in gone)
    return graph.evolve(nodes=nodes, constants=constants, specs=specs).pruned()


def _folded(
    head: Node, norm: Node, found: Sequence[Any], constants: dict[str, Any], specs: dict[str, TensorSpec], calc: _Arithmetic
) -> Node:
    scale, shift = found
    weight = constants[head.inputs[1]]
    shape = [1] * len(weight.shape)
    shape[_channel_axis(head)] = -1
    weight = calc("Mul", weight, scale.reshape(*shape))
    bias = shift
    if len(head.inputs) > 2 and head.inputs[2]:
        bias = calc("Add", calc("Mul", constants[head.inputs[2]], scale), shift)
    names = (f"{norm.name}/weight", f"{norm.name}/bias")
    for name, value in zip(names, (weight, bias), strict=True):
        constants[name] = value
        specs[name] = TensorSpec(as_dtype(value.dtype), value.shape)
    return head.evolve(inputs=(head.inputs[0], *names), outputs=norm.outputs)
