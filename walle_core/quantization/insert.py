"""Puts QuantizeLinear and DequantizeLinear around what runs in 8-bit integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from walle_core._native import Tensor
from walle_core.graph.ir import Graph, Node
from walle_core.ops.numpy_lazy import np
from walle_core.quantization.ranges import Range
from walle_core.types import TensorSpec, dtype

WEIGHTED = {"Conv", "Gemm", "MatMul"}
PLAIN = {"Add", "GlobalAveragePool", "Concat"}  # operands in 8 bits, a range of their own for the result
PASSING = {
    "MaxPool",
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
}  # the result has the operand's range


def weight_axis(node: Node, graph: Graph) -> int | None:
    """Axis of the output channels of a node's constant weights; None if the node has none or they cannot be scaled."""
    weights = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.op not in WEIGHTED or weights is None or weights.dtype != "float32":
        return None
    if len(node.inputs) > 2 and node.inputs[2] and node.inputs[2] not in graph.constants:
        return None
    if node.op == "Conv":
        return 0
    if len(weights.shape) != 2 or any(float(node.attrs.get(k, 1.0)) != 1.0 for k in ("alpha", "beta")):
        return None
    if node.op == "Gemm":
        return None if node.attrs.get("transA", 0) else 0 if node.attrs.get("transB", 0) else 1
    return 1


def quantised_nodes(graph: Graph, exclude: Collection[str]) -> dict[str, Node]:
    """Nodes that will run in 8-bit integers, by name."""
    found = {}
    for node in graph.nodes:
        operands = [graph.specs.get(n) for n in node.inputs]
        if node.name in exclude or any(s is None or s.dtype.name != "float32" for s in operands[:1]):
            continue
        if (
            node.op in WEIGHTED
            and weight_axis(node, graph) is not None
            and node.inputs[0] not in graph.constants
        ):
            found[node.name] = node
        elif node.op in PLAIN and not any(n in graph.constants for n in node.inputs):
            shapes = {s.shape for s in operands if s is not None}
            if node.op != "Add" or len(shapes) == 1:
                found[node.name] = node
    made = graph.producers()
    for name in activations(found):  # what only moves elements before such a node can do it in 8 bits
        source = made.get(name)
        while source is not None and source.op in PASSING and source.name not in {*exclude, *found}:
            found[source.name] = source
            source = made.get(source.inputs[0])
    return {n.name: n for n in graph.nodes if n.name in found}


def activations(nodes: Mapping[str, Node]) -> list[str]:
    """Values that will be quantised."""
    names: dict[str, None] = {}
    for node in nodes.values():
        names.update(dict.fromkeys(node.inputs if node.op in PLAIN else node.inputs[:1]))
    return list(names)


class Insertion:
    """One graph with QDQ pairs.

    Args:
        graph: float32, shapes inferred.
        nodes: as `quantised_nodes` gives them.
        ranges: of `activations(nodes)`.
        limits: (low, high) per activation.
        correct: adds to the biases what rounding the weights takes from the mean of the sums.
        weight_bits: of the stored weights, 8 or 7.
    """

    def __init__(
        self, graph: Graph, nodes: Mapping[str, Node], ranges: Mapping[str, Range],
        limits: Mapping[str, tuple[float, float]], correct: bool, weight_bits: int = 8,
    ) -> None:  # fmt: skip
        self.levels = 2 ** (weight_bits - 1) - 1
        self.graph, self.nodes, self.ranges, self.limits, self.correct = (
            graph,
            nodes,
            ranges,
            dict(limits),
            correct,
        )
        self.constants: dict[str, Any] = dict(graph.constants)
        self.specs: dict[str, TensorSpec] = dict(graph.specs)
        self.made: list[Node] = []
        self.pairs: dict[str, str] = {}  # value -> the value after Q and DQ
        self.scales: dict[str, float] = {}

    def run(self) -> Graph:
        """The graph with QDQ pairs."""
        for node in self.graph.nodes:
            if node.name in self.nodes:
                node = self._weighted(node) if node.op in WEIGHTED else self._plain(node)
            self.made.append(node)
        return self.graph.evolve(nodes=tuple(self.made), constants=self.constants, specs=self.specs).pruned()

    def _constant(self, name: str, value: Any, kind: str) -> str:
        self.constants[name] = Tensor.wrap(np.ascontiguousarray(value, kind)).copy()
        self.specs[name] = TensorSpec(dtype(kind), self.constants[name].shape)
        return name

    def _pair(self, value: str) -> str:
        if value not in self.pairs:
            low, high = self.limits[value]
            low, high = min(low, 0.0), max(high, 0.0)
            scale = max(float(np.float32((high - low) / 255)), 1e-12)
            self.scales[value] = scale
            names = [
                self._constant(f"{value}/scale", scale, "float32"),
                self._constant(f"{value}/zero", int(np.clip(np.rint(-low / scale), 0, 255)), "uint8"),
            ]
            after = f"{value}/dequantized"
            self.specs[f"{value}/quantized"] = TensorSpec(dtype("uint8"), self.specs[value].shape)
            self.specs[after] = self.specs[value]
            self.made += [
                Node("QuantizeLinear", (value, *names), (f"{value}/quantized",), {}, f"{value}/quantize"),
                Node("DequantizeLinear", (f"{value}/quantized", *names), (after,), {}, f"{value}/dequantize"),
            ]
            self.pairs[value] = after
        return self.pairs[value]

    def _plain(self, node: Node) -> Node:
        if node.op in PASSING:
            self.limits[node.outputs[0]] = self.limits[node.inputs[0]]
            return node.evolve(inputs=(self._pair(node.inputs[0]), *node.inputs[1:]))
        return node.evolve(inputs=tuple(self._pair(n) for n in node.inputs))

    def _weighted(self, node: Node) -> Node:
        axis, x = weight_axis(node, self.graph), node.inputs[0]
        assert axis is not None
        w = np.array(self.graph.constants[node.inputs[1]])
        others = tuple(i for i in range(w.ndim) if i != axis)
        scale = np.maximum(np.abs(w).max(axis=others), 1e-12).astype(np.float32) / np.float32(self.levels)
        column = scale.reshape([-1 if i == axis else 1 for i in range(w.ndim)])
        stored = np.clip(np.rint(w / column), -self.levels, self.levels)
        operand = self._pair(x)
        bias = self._bias(node, w - stored * column, axis, len(scale))
        inputs = [
            operand,
            self._dequantised(f"{node.name}/weight", stored, scale, "int8", axis, self.specs[node.inputs[1]]),
        ]
        if bias is not None:
            factor = (np.float32(self.scales[x]) * scale).astype(np.float32)
            integers = np.clip(np.rint(bias / factor.astype(np.float64)), -(2**31), 2**31 - 1)
            spec = TensorSpec(dtype("float32"), (len(scale),))
            inputs.append(self._dequantised(f"{node.name}/bias", integers, factor, "int32", 0, spec))
        return node.evolve(inputs=tuple(inputs))

    def _dequantised(self, name: str, stored: Any, scale: Any, kind: str, axis: int, spec: TensorSpec) -> str:
        names = [
            self._constant(f"{name}/stored", stored, kind), self._constant(f"{name}/scale", scale, "float32"),
            self._constant(f"{name}/zero", np.zeros(len(scale)), kind),
        ]  # fmt: skip
        self.specs[name] = spec
        self.made.append(
            Node("DequantizeLinear", tuple(names), (name,), {"axis": axis}, f"{name}/dequantize")
        )
        return name

    def _bias(self, node: Node, lost: Any, axis: int, channels: int) -> Any:
        """Bias in real numbers with the correction of Nagel et al. (Data-Free Quantization, 2019, section 4.2): the sum
        of what rounding took from each weight times the mean of its input.
        """
        name = node.inputs[2] if len(node.inputs) > 2 else ""
        bias = np.array(self.graph.constants[name], np.float64).reshape(-1) if name else np.zeros(channels)
        mean = self.ranges[node.inputs[0]].mean
        if node.op == "MatMul" or bias.size not in (1, channels):
            return bias if name else None
        bias = np.broadcast_to(bias, (channels,)).copy()
        if self.correct and mean is not None:
            moved = np.moveaxis(lost, axis, 0)
            per_input = moved.reshape(channels, moved.shape[1], -1).sum(axis=2, dtype=np.float64)
            groups = int(node.attrs.get("group", 1)) if node.op == "Conv" else 1
            if len(mean) == groups * per_input.shape[1]:
                share = mean.reshape(groups, -1).repeat(channels // groups, axis=0)
                bias += (per_input * share).sum(axis=1)
        return bias
