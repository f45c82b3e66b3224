"""Keeps quantised networks in 8-bit integers: QuantizeLinear(op(DequantizeLinear(x) ...)) becomes one integer operator.

Convolutions and products with constant weights, additions, averages and maxima, data movement, and whatever is a function of
one value (a table of 256 entries) run on integers; ReLU and Clip become the clamp of the result. All else keeps its
QuantizeLinear and DequantizeLinear nodes.
"""

from __future__ import annotations

from typing import Any

from walle_core._native import Tensor
from walle_core.errors import WalleError
from walle_core.graph.affine import Affine, affine_of, numbers
from walle_core.graph.fold import Evaluate, fold
from walle_core.graph.integer_product import product
from walle_core.graph.ir import Graph, Node, captured
from walle_core.graph.shapes import infer
from walle_core.ops import find
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "Expand", "Tile", "DepthToSpace",
         "SpaceToDepth"}  # fmt: skip
FUNCTIONS = ("unary", "activation")  # families whose operators with one input are functions of one value


class IntegerPass:
    """State of one rewriting.

    Attributes:
        graph: the graph as it was.
        constants, specs: with what was added.
    """

    def __init__(self, graph: Graph, evaluate: Evaluate) -> None:
        self.graph, self.evaluate = graph, evaluate
        self.made, self.uses = graph.producers(), graph.consumers()
        self.pinned = set(graph.outputs).union(*(captured(n) for n in graph.nodes))
        self.constants: dict[str, Any] = dict(graph.constants)
        self.specs: dict[str, TensorSpec] = dict(graph.specs)
        self.integer: dict[str, Node] = {}  # value -> the integer node that makes it

    def run(self) -> Graph:
        """The rewritten graph."""
        nodes: list[Node] = []
        for node in self.graph.nodes:
            made = self.rewrite(node) if node.op == "QuantizeLinear" else None
            for new in made or ():
                self.integer.update(dict.fromkeys(new.outputs, new))
            nodes.extend(made if made is not None else [node])
        return self.graph.evolve(nodes=tuple(nodes), constants=self.constants, specs=self.specs).pruned()

    def const(self, name: str, value: Tensor) -> str:
        """Adds a constant."""
        self.constants[name] = value
        self.specs[name] = TensorSpec(as_dtype(value.dtype), tuple(value.shape))
        return name

    def dequantised(self, value: str) -> Affine | None:
        """Parameters of a value that DequantizeLinear makes from 8-bit integers."""
        node = self.made.get(value)
        if node is None or node.op != "DequantizeLinear":
            return None
        known = self.specs.get(node.inputs[0])
        return affine_of(node, self.constants, node.inputs[0], known.dtype.name if known is not None else "")

    def alone(self, value: str) -> bool:
        """True if one node reads the value and nobody else sees it."""
        return value not in self.pinned and len(self.uses.get(value, ())) == 1

    def rewrite(self, node: Node) -> list[Node] | None:
        """Integer nodes that make a QuantizeLinear's output; None where its float form stays."""
        result = affine_of(node, self.constants, node.outputs[0], "")
        if result is None:
            return None
        functions: list[Node] = []
        value = node.inputs[0]
        while (inner := self.made.get(value)) is not None and self.is_function(inner) and self.alone(value):
            functions.insert(0, inner)
            value = inner.inputs[0]
        source = self.dequantised(value)
        if source is not None:
            return self.table(node, source, result, functions)
        head = self.made.get(value)
        if head is None or not self.alone(value) or any(head.outputs[1:]):
            return None
        if head.op in MOVES or head.op == "MaxPool":
            return self.transparent(node, head, result, functions)
        clamp = self.clamp(functions, result)
        if clamp is None:
            return None
        attributes = {
            "y_scale": result.scale, "y_zero": result.zero, "low": clamp[0], "high": clamp[1], "to": result.number,
        }  # fmt: skip
        if head.op in ("Conv", "MatMul", "Gemm"):
            return product(self, head, node, attributes)
        if head.op == "Add":
            return self.addition(head, node, attributes)
        if head.op == "GlobalAveragePool":
            return self.average(head, node, attributes)
        if head.op in ("Concat", "Pad") and not functions:
            return self.joined(head, node, result)
        return None

    def is_function(self, node: Node) -> bool:
        """True for an operator on one float value at a time."""
        if node.op == "Clip":
            return all(n in self.constants for n in node.inputs[1:] if n)
        op = find(node.op)
        return op is not None and op.family in FUNCTIONS and len(node.inputs) == 1 and len(node.outputs) == 1

    def clamp(self, functions: list[Node], result: Affine) -> tuple[int, int] | None:
        """The integers to which functions limit a result; None if they do more than that."""
        low, high = result.limits
        for node in reversed(functions):  # outermost first
            if node.op == "Relu":
                bounds = 0.0, float("inf")
            elif node.op == "Clip":
                names = (*node.inputs[1:], "", "")[:2]
                given = [float(numbers(self.constants[n])[0]) if n else None for n in names]
                bounds = (
                    float("-inf") if given[0] is None else given[0],
                    float("inf") if given[1] is None else given[1],
                )
            else:
                return None
            if bounds[0] != bounds[0] or bounds[1] != bounds[1]:
                return None
            below, above = (min(max(result.quantised(b), low), high) for b in bounds)
            low, high = min(below, above), above
        return low, high

    def table(self, node: Node, source: Affine, result: Affine, functions: list[Node]) -> list[Node] | None:
        """The functions of one 8-bit value as a table; the identity needs none."""
        if source.same(result) and not functions:
            return [Node("Identity", (source.name,), node.outputs, {}, node.name)]
        order = [*range(256)] if source.dtype == "uint8" else [*range(128), *range(-128, 0)]
        values = [Tensor.of(order, source.dtype)]
        dequantize = Node("DequantizeLinear", ("x", "scale", "zero"), ("y",), {}, f"{node.name}/table")
        parameters = [Tensor.of(source.scale, "float32"), Tensor.of(source.zero, source.dtype)]
        try:
            for step, extra in [(dequantize, parameters), *((f, self.others(f)) for f in (*functions, node))]:
                made = self.evaluate(step, [*values, *extra])
                if made is None:
                    return None
                values = list(made[:1])
        except WalleError:
            return None
        if values[0].size != 256 or str(values[0].dtype) != result.dtype:
            return None
        name = self.const(f"{node.name}/table", values[0])
        return [Node("Lookup", (source.name, name), node.outputs, {}, node.name)]

    def others(self, node: Node) -> list[Any]:
        """Constant values of all inputs but the first."""
        return [self.constants[n] if n else None for n in node.inputs[1:]]

    def transparent(self, node: Node, head: Node, result: Affine, functions: list[Node]) -> list[Node] | None:
        """Movement and maxima keep integers; functions of the result follow them."""
        source = self.dequantised(head.inputs[0])
        if source is None or any(n and n not in self.constants for n in head.inputs[1:]):
            return None
        moved = f"{node.name}/{head.op}"
        first = head.evolve(inputs=(source.name, *head.inputs[1:]), outputs=(moved,), name=moved)
        after = self.table(node, Affine(moved, source.dtype, source.scale, source.zero), result, functions)
        if after is None:
            return None
        if after[0].op == "Identity":
            return [first.evolve(outputs=node.outputs, name=node.name)]
        return [first, *after]

    def addition(self, head: Node, node: Node, attributes: dict[str, Any]) -> list[Node] | None:
        """QuantizedAdd, for operands of one shape and type."""
        a, b = (self.dequantised(n) for n in head.inputs)
        shapes = [self.specs.get(n) for n in head.inputs]
        if a is None or b is None or a.dtype != b.dtype or any(s is None or not s.static for s in shapes):
            return None
        if shapes[0].shape != shapes[1].shape:  # type: ignore[union-attr]
            return None
        operands = {"a_scale": a.scale, "a_zero": a.zero, "b_scale": b.scale, "b_zero": b.zero}
        return [Node("QuantizedAdd", (a.name, b.name), node.outputs, {**operands, **attributes}, node.name)]

    def average(self, head: Node, node: Node, attributes: dict[str, Any]) -> list[Node] | None:
        """QuantizedGlobalAveragePool."""
        x = self.dequantised(head.inputs[0])
        if x is None:
            return None
        operands = {"x_scale": x.scale, "x_zero": x.zero}
        return [
            Node("QuantizedGlobalAveragePool", (x.name,), node.outputs, {**operands, **attributes}, node.name)
        ]

    def joined(self, head: Node, node: Node, result: Affine) -> list[Node] | None:
        """Concat and constant Pad, of operands brought to the result's scale."""
        data = head.inputs if head.op == "Concat" else head.inputs[:1]
        names: list[str] = []
        nodes: list[Node] = []
        for i, value in enumerate(data):
            source = self.dequantised(value)
            quantize = node.evolve(outputs=(f"{node.name}/operand.{i}",), name=f"{node.name}/operand.{i}")
            step = self.table(quantize, source, result, []) if source is not None else None
            if step is None:
                return None
            same = step[0].op == "Identity"
            names.append(step[0].inputs[0] if same else step[0].outputs[0])
            nodes.extend([] if same else step)
        if head.op == "Pad":
            if head.attrs.get("mode", "constant") not in ("constant", b"constant"):
                return None
            if any(n and n not in self.constants for n in head.inputs[1:]):
                return None
            fill = head.inputs[2] if len(head.inputs) > 2 else ""
            padding = float(numbers(self.constants[fill])[0]) if fill else 0.0
            filled = self.const(f"{node.name}/fill", Tensor.of(result.quantised(padding), result.dtype))
            names += [head.inputs[1], filled, *head.inputs[3:]]
        return [*nodes, head.evolve(inputs=tuple(names), outputs=node.outputs, name=node.name)]


def keep_integers(graph: Graph, evaluate: Evaluate) -> Graph:
    """The graph with chains of quantised operators in 8-bit integers.

    Args:
        graph: as loaded, with the specs of its inputs.
        evaluate: computes constants and the entries of tables.
    """
    if not any(n.op == "QuantizeLinear" for n in graph.nodes):
        return graph
    graph = fold(infer(graph), evaluate, keep=lambda n: n.op == "DequantizeLinear")
    return IntegerPass(graph, evaluate).run()
