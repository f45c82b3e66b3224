"""Products of dequantised integers are summed as integers: Conv, MatMul and Gemm between DequantizeLinear nodes.

dq(x) * dq(w) = (x - zx)(w - zw) * (sx * sw): the sums of centred integers are exact in float32 up to 2^24, and one scaling
follows. The result is what integer kernels make, so that a following QuantizeLinear rounds as they do; sums of products
of already scaled values differ in the last bit, which flips results that lie on a rounding boundary.
"""

from __future__ import annotations

from typing import Any

from walle_core._native import Tensor
from walle_core.graph.ir import Graph, Node
from walle_core.ops import find
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

HEADS = {"Conv": 0, "MatMul": 1, "Gemm": 1}  # operator -> axis of the weight's output channels


class _Pass:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made = graph.producers()
        self.constants: dict[str, Any] = dict(graph.constants)
        self.specs: dict[str, TensorSpec] = dict(graph.specs)

    def dequantised(self, name: str) -> Node | None:
        """The DequantizeLinear of an integer value with constant parameters."""
        node = self.made.get(name)
        if node is None or node.op != "DequantizeLinear" or node.attrs.get("block_size", 0):
            return None
        if any(n and n not in self.graph.constants for n in node.inputs[1:]):
            return None
        return node

    def scale_shape(self, node: Node, weight: Node) -> list[int] | None:
        """Shape in which the weight's scale applies to the result; None if it does not factor out."""
        scale = self.graph.constants[weight.inputs[1]]
        if scale.size == 1:
            return []
        kernel = self.graph.constants.get(weight.inputs[0])
        if kernel is None or len(scale.shape) != 1:
            return None
        rank = len(kernel.shape)
        channel = HEADS[node.op] if node.op != "Gemm" or not node.attrs.get("transB", 0) else 0
        if int(weight.attrs.get("axis", 1)) % rank != channel or (node.op != "Conv" and rank != 2):
            return None
        return [1, scale.size] + [1] * (rank - 2) if node.op == "Conv" else [scale.size]

    def rewrite(self, node: Node) -> list[Node] | None:
        data, weight = self.dequantised(node.inputs[0]), self.dequantised(node.inputs[1])
        if data is None or weight is None or self.graph.constants[data.inputs[1]].size != 1:
            return None
        shape = self.scale_shape(node, weight)
        if shape is None or self.graph.constants[data.inputs[1]].dtype != "float32":
            return None
        if node.op == "Gemm" and any(float(node.attrs.get(k, 1.0)) != 1.0 for k in ("alpha", "beta")):
            return None
        nodes: list[Node] = []
        x = self.centred(nodes, node, data, "x", 1)
        w = self.centred(nodes, node, weight, "w", max(1, len(shape)))
        if x is None or w is None:
            return None
        scale = self.op(nodes, node, "Mul", data.inputs[1], weight.inputs[1])
        if shape:
            scale = self.op(nodes, node, "Reshape", scale, self.const(node, "shape", shape, "int64"))
        bias = node.inputs[2] if len(node.inputs) > 2 else ""
        inner = ""
        if bias:
            units = self.op(nodes, node, "Reshape", scale, self.const(node, "flat", [-1], "int64"))
            inner = self.op(nodes, node, "Div", bias, units)
            stored = self.dequantised(bias)
            if stored is not None and not any(stored.inputs[2:]):
                inner = self.op(nodes, node, "Cast", stored.inputs[0], to=1)
        attributes = {**node.attrs, "exact": 1}
        total = f"{node.name}/sum"
        inputs = (x, w, inner) if inner else (x, w)
        nodes.append(
            node.evolve(inputs=inputs, outputs=(total,), attrs=attributes, name=f"{node.name}/integer")
        )
        nodes.append(Node("Mul", (total, scale), node.outputs, {}, node.name))
        return nodes

    def centred(self, nodes: list[Node], head: Node, node: Node, role: str, scales: int) -> str | None:
        """Integers less their zero point, as float32; None for a zero point per channel."""
        value = self.op(nodes, head, "Cast", node.inputs[0], to=1)
        zero = node.inputs[2] if len(node.inputs) > 2 else ""
        if not zero:
            return value
        point = self.graph.constants[zero]
        if not any(_flat(point)):
            return value
        if point.size != 1 and scales:
            return None
        centre = self.op(nodes, head, "Cast", zero, to=1)
        return self.op(nodes, head, "Sub", value, centre)

    def op(self, nodes: list[Node], head: Node, op: str, *inputs: str, **attributes: Any) -> str:
        out = f"{head.name}/{op}.{len(nodes)}"
        nodes.append(Node(op, inputs, (out,), attributes, out))
        return out

    def const(self, head: Node, role: str, values: list[int], dtype: str) -> str:
        name = f"{head.name}/{role}"
        self.constants[name] = Tensor.of(values, dtype)
        self.specs[name] = TensorSpec(as_dtype(dtype), (len(values),))
        return name


def _flat(tensor: Any) -> list[Any]:
    values = tensor.reshape(-1).tolist()
    return values if isinstance(values, list) else [values]


def sum_integers(graph: Graph) -> Graph:
    """Rewrites every product of two dequantised operands; run it before constants are folded."""
    if not any(n.op == "DequantizeLinear" for n in graph.nodes) or find("Cast") is None:
        return graph
    work = _Pass(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        made = work.rewrite(node) if node.op in HEADS else None
        nodes.extend(made if made is not None else [node])
    return graph.evolve(nodes=tuple(nodes), constants=work.constants, specs=work.specs).pruned()
