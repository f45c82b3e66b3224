"""Batch normalisation at inference is arithmetic with constants: it goes into the weights before it, or into Mul and Add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.errors import WalleError
from walle_core.graph.fold import Evaluate
from walle_core.graph.ir import Graph, Node, captured
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

_HOSTS = ("Conv", "ConvTranspose", "Gemm")


def fold_batch_norm(graph: Graph, evaluate: Evaluate) -> Graph:
    """The graph with each BatchNormalization folded into the Conv, ConvTranspose or Gemm that alone feeds it.

    y = (x - mean) / sqrt(var + epsilon) * scale + bias is x * factor + shift with constants per channel; a linear
    operator before it takes both up. One without such an operator becomes Mul and Add if the rank is known. Where
    `evaluate` cannot compute, or statistics are not constant, the node stays.

    Args:
        graph: specs of the values (weights, statistics) are read from its constants.
        evaluate: computes Mul, Add, Sub, Div, Sqrt and Reshape of constants.
    """
    if not any(n.op == "BatchNormalization" for n in graph.nodes):
        return graph
    return _Pass(graph, evaluate).run()


class _CannotFoldError(Exception):
    """`evaluate` declined; the node stays as it is."""


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
        try:
            return self._folded(node)
        except _CannotFoldError:
            return (node,)

    def _folded(self, node: Node) -> Sequence[Node]:
        x, scale, bias, mean, var = node.inputs
        value = [self.constants[n] for n in (scale, bias, mean, var)]
        epsilon = Tensor.of(float(node.attrs.get("epsilon", 1e-5)), value[3].dtype)
        deviation = self._compute("Sqrt", self._compute("Add", value[3], epsilon))
        factor = self._compute("Div", value[0], deviation)
        host = self._host(x)
        if host is not None:
            position, before = host
            fused = self._into(before, node, factor, value[1], value[2])
            if fused is not None:
                self.nodes[position] = None
                return (fused,)
        return self._as_arithmetic(node, factor, value[1], value[2])

    def _host(self, x: str) -> tuple[int, Node] | None:
        """The linear operator that makes `x` for this node alone, with constant weights."""
        position = self.made.get(x)
        if position is None or x in self.pinned or len(self.consumers.get(x, ())) != 1:
            return None
        before = self.nodes[position]
        if before is None or before.op not in _HOSTS or len(before.inputs) < 2 or before.inputs[1] not in self.constants:
            return None
        has_bias = len(before.inputs) > 2 and before.inputs[2] != ""
        return (position, before) if not has_bias or before.inputs[2] in self.constants else None

    def _into(self, before: Node, node: Node, factor: Any, bias: Any, mean: Any) -> Node | None:
        """The host with `factor` in its weights and the shift in its bias."""
        weight = self.constants[before.inputs[1]]
        channels = factor.size
        if weight.dtype != factor.dtype:
            return None
        if before.op == "Gemm":
            transposed = bool(before.attrs.get("transB", 0))
            if len(weight.shape) != 2 or weight.shape[0 if transposed else 1] != channels:
                return None
            scaled = self._compute("Mul", weight, factor.reshape([channels, 1] if transposed else [1, channels]))
        elif before.op == "Conv":
            if len(weight.shape) < 3 or weight.shape[0] != channels:
                return None
            scaled = self._compute("Mul", weight, factor.reshape([channels] + [1] * (len(weight.shape) - 1)))
        else:
            group = int(before.attrs.get("group", 1))
            inner, per_group = weight.shape[0], weight.shape[1]
            if group < 1 or inner % group or per_group * group != channels:
                return None
            grouped = weight.reshape([group, inner // group, *weight.shape[1:]])
            row = factor.reshape([group, 1, per_group] + [1] * (len(weight.shape) - 2))
            scaled = self._compute("Mul", grouped, row).reshape(list(weight.shape))
        shift = self._compute("Sub", self._old_bias(before, mean), mean) if len(before.inputs) > 2 else None
        if shift is None:
            shift = self._compute("Mul", mean, Tensor.of(-1.0, mean.dtype))
        shift = self._compute("Add", self._compute("Mul", shift, factor), bias)
        attributes = {k: v for k, v in before.attrs.items() if k != "beta"}
        inputs = (before.inputs[0], self._keep(f"{node.name}/weight", scaled), self._keep(f"{node.name}/bias", shift))
        return before.evolve(inputs=inputs, outputs=node.outputs, attrs=attributes)

    def _old_bias(self, before: Node, mean: Any) -> Any:
        if not before.inputs[2]:
            return Tensor([1], mean.dtype)
        value = self.constants[before.inputs[2]]
        beta = float(before.attrs.get("beta", 1.0)) if before.op == "Gemm" else 1.0
        return value if beta == 1.0 else self._compute("Mul", value, Tensor.of(beta, value.dtype))

    def _as_arithmetic(self, node: Node, factor: Any, bias: Any, mean: Any) -> Sequence[Node]:
        spec = self.specs.get(node.inputs[0])
        if spec is None or spec.shape is None or len(spec.shape) < 2 or str(spec.dtype) != factor.dtype:
            return (node,)
        shape = [factor.size] + [1] * (len(spec.shape) - 2)
        shift = self._compute("Sub", bias, self._compute("Mul", mean, factor))
        scale_name = self._keep(f"{node.name}/scale", factor.reshape(shape))
        shift_name = self._keep(f"{node.name}/shift", shift.reshape(shape))
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

    def _compute(self, op: str, *operands: Any) -> Any:
        names = tuple(f"operand{i}" for i in range(len(operands)))
        try:
            made = self.evaluate(Node(op, names, ("result",), {}, f"batch_norm/{op}"), operands)
        except WalleError as error:  # operands that do not fit; the run of the node as it is reports that
            raise _CannotFoldError from error
        if made is None:
            raise _CannotFoldError
        return made[0]
