"""Batch normalisation at inference is arithmetic with constants: it goes into the weights before it, or into Mul and Add."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import WalleError
from walle_core.graph.fold import Evaluate
from walle_core.graph.ir import Graph, Node, captured
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

_HOSTS = ("Conv", "ConvTranspose", "Gemm")
_FLOATS = ("float32", "float64", "float16", "bfloat16")


def fold_batch_norm(graph: Graph, evaluate: Evaluate) -> Graph:
    """The graph with each BatchNormalization folded into the Conv, ConvTranspose or Gemm that alone feeds it.

    y = (x - mean) / sqrt(var + epsilon) * scale + bias is x * factor + shift with constants per channel; a linear
    operator before it takes both up. One without such an operator becomes Mul and Add if the rank is known. Where
    `evaluate` cannot compute, or statistics are not constant, the node stays.

    Args:
        graph: specs of the values (weights, statistics) are read from its constants.
        evaluate: computes Mul of constants; statistics are combined in double precision before.
    """
    if not any(n.op == "BatchNormalization" for n in graph.nodes):
        return graph
    return _Pass(graph, evaluate).run()


class _Pass:
    def __init__(self, graph: Graph, evaluate: Evaluate) -> None:
        self.graph, self.evaluate = graph, evaluate
        self.constants: dict[str, Any] = dict(graph.constants)
        self.specs: dict[str, TensorSpec] = dict(graph.specs)
        self.consumers = graph.consumers()
        self.pinned = set(graph.outputs).union(*(captured(n) for n in graph.nodes))
        self.nodes: list[Node | None] = []
        self.made: dict[str, int] = {}

    def run(self) -> Graph:
        for node in self.graph.nodes:
            for replacement in self._replace(node):
                for out in replacement.outputs:
                    if out:
                        self.made[out] = len(self.nodes)
                self.nodes.append(replacement)
        nodes = tuple(n for n in self.nodes if n is not None)
        return self.graph.evolve(nodes=nodes, constants=self.constants, specs=self.specs).pruned()

    def _replace(self, node: Node) -> Sequence[Node]:
        if node.op != "BatchNormalization" or node.attrs.get("training_mode", 0) or any(node.outputs[1:]):
            return (node,)
        if len(node.inputs) != 5 or any(n not in self.constants for n in node.inputs[1:]):
            return (node,)
        statistics = [self.constants[n] for n in node.inputs[1:]]
        if any(len(v.shape) != 1 or v.shape != statistics[0].shape for v in statistics):
            return (node,)
        scale, bias, mean, var = (v.tolist() for v in statistics)
        epsilon = float(node.attrs.get("epsilon", 1e-5))
        if any(not v + epsilon > 0 for v in var):
            return (node,)
        factor = [s / math.sqrt(v + epsilon) for s, v in zip(scale, var, strict=True)]
        host = self._host(node.inputs[0])
        if host is not None:
            position, before = host
            fused = self._into(before, node, factor, mean, bias)
            if fused is not None:
                self.nodes[position] = None
                return (fused,)
        shift = [b - m * f for b, m, f in zip(bias, mean, factor, strict=True)]
        return self._as_arithmetic(node, factor, shift, str(statistics[0].dtype))

    def _host(self, x: str) -> tuple[int, Node] | None:
        """The linear operator that makes `x` for this node alone, with constant weights."""
        position = self.made.get(x)
        if position is None or x in self.pinned or len(self.consumers.get(x, ())) != 1:
            return None
        before = self.nodes[position]
        if (
            before is None
            or before.op not in _HOSTS
            or len(before.inputs) < 2
            or before.inputs[1] not in self.constants
        ):
            return None
        has_bias = len(before.inputs) > 2 and before.inputs[2] != ""
        return (position, before) if not has_bias or before.inputs[2] in self.constants else None

    def _into(
        self, before: Node, node: Node, factor: list[float], mean: list[float], bias: list[float]
    ) -> Node | None:
        """The host with `factor` in its weights and the shift in its bias; None where they do not fit."""
        weight = self.constants[before.inputs[1]]
        old = self._old_bias(before, len(factor))
        shape = _factor_shape(before, tuple(weight.shape), len(factor))
        if old is None or shape is None or weight.dtype not in _FLOATS:
            return None
        grouped, row = shape
        scaled = self._product(
            weight.reshape(list(grouped)), Tensor.of(factor, weight.dtype).reshape(list(row))
        )
        if scaled is None:
            return None
        shift = [(o - m) * f + b for o, m, f, b in zip(old, mean, factor, bias, strict=True)]
        attributes = {k: v for k, v in before.attrs.items() if k != "beta"}
        weight_name = self._keep(f"{node.name}/weight", scaled.reshape(list(weight.shape)))
        bias_name = self._keep(f"{node.name}/bias", Tensor.of(shift, weight.dtype))
        return before.evolve(
            inputs=(before.inputs[0], weight_name, bias_name), outputs=node.outputs, attrs=attributes
        )

    def _old_bias(self, before: Node, channels: int) -> list[float] | None:
        """The host's bias per channel; None if it is not per channel."""
        if len(before.inputs) < 3 or not before.inputs[2]:
            return [0.0] * channels
        value = self.constants[before.inputs[2]]
        beta = float(before.attrs.get("beta", 1.0)) if before.op == "Gemm" else 1.0
        if value.size not in (1, channels) or (value.size == channels and value.shape[-1:] != (channels,)):
            return None
        found = [beta * v for v in value.reshape([value.size]).tolist()]
        return found if len(found) == channels else found * channels

    def _as_arithmetic(
        self, node: Node, factor: list[float], shift: list[float], dtype: str
    ) -> Sequence[Node]:
        spec = self.specs.get(node.inputs[0])
        if (
            spec is None
            or spec.shape is None
            or len(spec.shape) < 2
            or str(spec.dtype) != dtype
            or dtype not in _FLOATS
        ):
            return (node,)
        shape = [len(factor)] + [1] * (len(spec.shape) - 2)
        scale_name = self._keep(f"{node.name}/scale", Tensor.of(factor, dtype).reshape(shape))
        shift_name = self._keep(f"{node.name}/shift", Tensor.of(shift, dtype).reshape(shape))
        middle = f"{node.name}/scaled"
        self.specs[middle] = spec
        return (
            Node("Mul", (node.inputs[0], scale_name), (middle,), {}, f"{node.name}/Mul"),
            Node("Add", (middle, shift_name), node.outputs, {}, f"{node.name}/Add"),
        )

    def _keep(self, name: str, value: Any) -> str:
        self.constants[name] = value
        self.specs[name] = TensorSpec(as_dtype(value.dtype), tuple(value.shape))
        return name

    def _product(self, a: Any, b: Any) -> Any:
        try:
            made = self.evaluate(Node("Mul", ("a", "b"), ("product",), {}, "batch_norm/Mul"), (a, b))
        except WalleError:  # operands that do not fit; the run of the node as it is reports that
            return None
        return None if made is None else made[0]


def _factor_shape(
    before: Node, weight: tuple[int, ...], channels: int
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(shape of the weights, shape of the factors) such that their product scales output channels; None if none does."""
    ones = (1,) * (len(weight) - 2)
    if len(weight) < 2:
        return None
    if before.op == "Gemm":
        transposed = bool(before.attrs.get("transB", 0))
        fits = len(weight) == 2 and weight[0 if transposed else 1] == channels
        return (weight, (channels, 1) if transposed else (1, channels)) if fits else None
    if before.op == "Conv":
        return (weight, (channels, 1, *ones)) if weight[0] == channels else None
    group = int(before.attrs.get("group", 1))
    if group < 1 or weight[0] % group or weight[1] * group != channels:
        return None
    return (group, weight[0] // group, *weight[1:]), (group, 1, weight[1], *ones)
