"""Recognises operators that exporters spell out: Gelu, LayerNormalization, Swish, HardSwish."""

from __future__ import annotations

import math
from typing import Any

import attrs

from walle_core.graph.ir import Graph, Node


@attrs.define
class _Matcher:
    graph: Graph
    made: dict[str, Node] = attrs.field(init=False)
    uses: dict[str, list[Node]] = attrs.field(init=False)
    gone: set[str] = attrs.field(factory=set)
    replaced: dict[str, Node] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.made, self.uses = self.graph.producers(), self.graph.consumers()

    def number(self, name: str) -> float | None:
        """The value of a constant with one element."""
        constant = self.graph.constants.get(name)
        if constant is None or getattr(constant, "size", 0) != 1 or not hasattr(constant, "address"):
            return None
        value = constant.reshape(()).tolist()
        return float(value) if isinstance(value, (int, float)) else None

    def near(self, name: str, value: float) -> bool:
        """True if the constant is about `value`."""
        found = self.number(name)
        return found is not None and math.isclose(found, value, rel_tol=1e-3)

    def producer(self, name: str, *ops: str) -> Node | None:
        """The node that makes a value, if it is one of these operators."""
        node = self.made.get(name)
        return node if node is not None and node.op in ops else None

    def reader(self, name: str, *ops: str) -> Node | None:
        """The only node that reads a value, if it is one of these operators and the value is no graph output."""
        nodes = self.uses.get(name, [])
        alone = len(nodes) == 1 and name not in self.graph.outputs
        return nodes[0] if alone and nodes[0].op in ops else None

    def other(self, node: Node, name: str) -> str | None:
        """The operand of a binary node beside `name`."""
        if len(node.inputs) != 2 or name not in node.inputs:
            return None
        return node.inputs[1] if node.inputs[0] == name else node.inputs[0]

    def constant_operand(self, node: Node, value: float) -> str | None:
        """The other operand of a node of which one operand is about `value`."""
        for this, that in ((0, 1), (1, 0)):
            if len(node.inputs) == 2 and self.near(node.inputs[this], value):
                return node.inputs[that]
        return None

    def replace(self, last: Node, inner: list[Node], op: str, inputs: list[str], **attributes: Any) -> None:
        """Puts one operator where the last node stood."""
        self.replaced[last.name] = Node(op, tuple(inputs), last.outputs, attributes, last.name)
        self.gone.update(n.name for n in inner)

    def gelu(self, erf: Node) -> None:
        """0.5 * x * (1 + erf(x / sqrt(2))), in any order of the factors."""
        scaled = self.producer(erf.inputs[0], "Div", "Mul")
        plus = self.reader(erf.outputs[0], "Add")
        if scaled is None or plus is None or self.constant_operand(plus, 1.0) != erf.outputs[0]:
            return
        if scaled.op == "Div":
            x = scaled.inputs[0] if self.near(scaled.inputs[1], math.sqrt(2)) else None
        else:
            x = self.constant_operand(scaled, math.sqrt(0.5))
        times = self.reader(plus.outputs[0], "Mul")
        if x is None or times is None or self.reader(scaled.outputs[0], "Erf") is None:
            return
        factor = self.other(times, plus.outputs[0])
        inner = [scaled, erf, plus]
        if factor == x:
            half = self.reader(times.outputs[0], "Mul")
            if half is not None and self.constant_operand(half, 0.5) == times.outputs[0]:
                self.replace(half, [*inner, times], "Gelu", [x])
            return
        half = self.producer(factor or "", "Mul")
        if half is not None and self.constant_operand(half, 0.5) == x and self.reader(half.outputs[0], "Mul"):
            self.replace(times, [*inner, half], "Gelu", [x])
        elif self.near(factor or "", 0.5):
            last = self.reader(times.outputs[0], "Mul")
            if last is not None and self.other(last, times.outputs[0]) == x:
                self.replace(last, [*inner, times], "Gelu", [x])

    def layer_norm(self, sqrt: Node) -> None:
        """(x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + bias over the last axis."""
        eps = self.producer(sqrt.inputs[0], "Add")
        variance = next(
            (v for n in (eps.inputs if eps else ()) if (v := self.producer(n, "ReduceMean"))), None
        )
        square = self.producer(variance.inputs[0], "Pow", "Mul") if variance else None
        if eps is None or variance is None or square is None:
            return
        epsilon = self.number(self.other(eps, variance.outputs[0]) or "")
        squared = (square.op == "Mul" and square.inputs[0] == square.inputs[1]) or self.near(
            square.inputs[1], 2.0
        )
        centred = self.producer(square.inputs[0], "Sub")
        mean = self.producer(centred.inputs[1], "ReduceMean") if centred else None
        divide = self.reader(sqrt.outputs[0], "Div")
        if epsilon is None or not squared or centred is None or mean is None or divide is None:
            return
        x = centred.inputs[0]
        if (
            mean.inputs[0] != x
            or divide.inputs[0] != centred.outputs[0]
            or not self.last_axis(mean, variance)
        ):
            return
        if {u.name for u in self.uses[centred.outputs[0]]} != {square.name, divide.name}:
            return
        width = (
            self.graph.specs[x].sizes[-1:] if x in self.graph.specs and self.graph.specs[x].static else None
        )
        scale = self.reader(divide.outputs[0], "Mul")
        factor = self.other(scale, divide.outputs[0]) if scale else None
        if scale is None or not self.vector(factor, width):
            return
        shift = self.reader(scale.outputs[0], "Add")
        bias = self.other(shift, scale.outputs[0]) if shift else None
        inner = [mean, centred, square, variance, eps, sqrt, divide]
        if shift is not None and self.vector(bias, width):
            operands = [x, str(factor), str(bias)]
            self.replace(shift, [*inner, scale], "LayerNormalization", operands, axis=-1, epsilon=epsilon)
        else:
            self.replace(scale, inner, "LayerNormalization", [x, str(factor)], axis=-1, epsilon=epsilon)

    def vector(self, name: str | None, width: Any) -> bool:
        """True for a constant of shape [width]."""
        constant = self.graph.constants.get(name or "")
        return constant is not None and width is not None and tuple(constant.shape) == tuple(width)

    def last_axis(self, *reductions: Node) -> bool:
        """True if all reduce exactly the last axis and keep it."""
        for node in reductions:
            axes = self.graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
            spec = self.graph.specs.get(node.inputs[0])
            if axes is None or spec is None or spec.shape is None or not node.attrs.get("keepdims", 1):
                return False
            if [int(a) % len(spec.shape) for a in axes.reshape(-1).tolist()] != [len(spec.shape) - 1]:
                return False
        return True

    def gate(self, node: Node) -> None:
        """X * Sigmoid(x) is Swish; x * HardSigmoid(x; 1/6, 1/2) is HardSwish."""
        times = self.reader(node.outputs[0], "Mul")
        if times is None or self.other(times, node.outputs[0]) != node.inputs[0]:
            return
        if node.op == "Sigmoid":
            self.replace(times, [node], "Swish", [node.inputs[0]], alpha=1.0)
        elif (
            math.isclose(node.attrs.get("alpha", 0.2), 1 / 6, rel_tol=1e-4)
            and node.attrs.get("beta", 0.5) == 0.5
        ):
            self.replace(times, [node], "HardSwish", [node.inputs[0]])


def recognise(graph: Graph) -> Graph:
    """The graph with spelled-out operators replaced by one node each."""
    matcher = _Matcher(graph)
    rules = {
        "Erf": matcher.gelu,
        "Sqrt": matcher.layer_norm,
        "Sigmoid": matcher.gate,
        "HardSigmoid": matcher.gate,
    }
    for node in graph.nodes:
        if node.op in rules and node.name not in matcher.gone:
            rules[node.op](node)
    if not matcher.replaced:
        return graph
    nodes = tuple(matcher.replaced.get(n.name, n) for n in graph.nodes if n.name not in matcher.gone)
    return graph.evolve(nodes=nodes).pruned()
