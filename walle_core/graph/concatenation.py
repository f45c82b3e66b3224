"""A product of a concatenation is a sum of products of its pieces: what the pieces share is multiplied once.

Attention over a history (Zhou et al. 2018, Deep Interest Network for Click-Through Rate Prediction, section 4.3) multiplies
[query, key, query - key, query * key] by one matrix, the query being the same in all rows. As [a, b, a - b] W =
a (W1 + W3) + b (W2 - W3), only two of the four pieces are left to multiply, and the query is one row.
"""

from __future__ import annotations

from math import prod
from typing import Any

import attrs

from walle_core.graph.fold import Evaluate
from walle_core.graph.ir import Graph, Node
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

MIN_SAVED = 16  # columns; fewer are not worth an addition


def shrink_concatenations(graph: Graph, evaluate: Evaluate) -> Graph:
    """The graph with shorter products where the left operand is a concatenation of related values.

    A MatMul with constant float32 weights [k, n] whose left operand is a Concat of its last axis, read by nothing else.
    Pieces that are sums or differences of other pieces go into the weights; pieces that are Expands of fewer rows are
    multiplied before they are expanded, and added.

    Args:
        graph: with inferred specs.
        evaluate: computes with constants.
    """
    if not any(n.op == "MatMul" for n in graph.nodes) or not any(n.op == "Concat" for n in graph.nodes):
        return graph
    return _Pass(graph, evaluate).run()


@attrs.define
class _Sum:
    """Pieces that are left, with what they are multiplied by; `rows` are multiplied before they are expanded."""

    pieces: dict[str, Any] = attrs.field(factory=dict)
    rows: dict[str, Any] = attrs.field(factory=dict)


class _DeclinedError(Exception):
    """`evaluate` declined."""


class _Pass:
    def __init__(self, graph: Graph, evaluate: Evaluate) -> None:
        self.graph, self.evaluate = graph, evaluate
        self.made, self.uses = graph.producers(), graph.consumers()
        self.constants, self.specs = dict(graph.constants), dict(graph.specs)
        self.gone: set[str] = set()

    def run(self) -> Graph:
        nodes: list[Node] = []
        for node in self.graph.nodes:
            if node.name not in self.gone:
                nodes += self._replaced(node) or [node]
        return self.graph.evolve(nodes=tuple(nodes), constants=self.constants, specs=self.specs).pruned()

    def _replaced(self, node: Node) -> list[Node]:
        """The nodes that stand for a product; empty: it stays."""
        found = self._concatenation(node)
        if found is None:
            return []
        try:
            total = self._collect(found, self.constants[node.inputs[1]])
        except _DeclinedError:
            return []
        k = sum(self._width(n) for n in total.pieces)
        if not total.pieces or self.specs[node.inputs[1]].sizes[0] - k < MIN_SAVED:
            return []
        if not total.rows:
            return self._product(total.pieces, node.outputs[0], node.name)
        added, bias = self._bias(node)
        main, row = f"{node.name}/pieces", f"{node.name}/row"
        made = self._product(total.pieces, main, main) + self._product(total.rows, row, row)
        if bias:  # to the few rows
            made.append(Node("Add", (row, bias), (f"{row}/biased",), {}, f"{row}/bias"))
            row = f"{row}/biased"
        return [*made, Node("Add", (main, row), added.outputs, {}, f"{node.name}/sum")]

    def _concatenation(self, node: Node) -> Node | None:
        """The Concat of a product's rows, if the pass applies to it."""
        concat = self.made.get(node.inputs[0]) if node.op == "MatMul" else None
        if concat is None or concat.op != "Concat" or len(self.uses[concat.outputs[0]]) != 1:
            return None
        spec, weight = self.specs.get(concat.outputs[0]), self.constants.get(node.inputs[1])
        if concat.outputs[0] in self.graph.outputs or spec is None or not spec.static or weight is None:
            return None
        rank = len(spec.sizes)
        if (
            rank < 2
            or len(weight.shape) != 2
            or str(weight.dtype) != "float32"
            or spec.dtype.name != "float32"
        ):
            return None
        known = all(n in self.specs and self.specs[n].static for n in concat.inputs)
        return (
            concat if known and int(concat.attrs["axis"]) in (-1, rank - 1) and 0 not in spec.sizes else None
        )

    def _width(self, name: str) -> int:
        return self.specs[name].sizes[-1]

    def _collect(self, concat: Node, weight: Any) -> _Sum:
        """What is left to multiply."""
        total, start = _Sum(), 0
        for piece in concat.inputs:
            part = self._slice(weight, start, start + self._width(piece))
            start += self._width(piece)
            for name, sign in self._terms(piece, concat):
                source = self._unexpanded(name)
                kept, key = (total.pieces, name) if source is None else (total.rows, source)
                old = kept.get(key)
                if old is None:
                    kept[key] = part if sign > 0 else self._compute("Neg", part)
                else:
                    kept[key] = self._compute("Add" if sign > 0 else "Sub", old, part)
        return total

    def _terms(self, piece: str, concat: Node) -> list[tuple[str, int]]:
        """The piece as a signed sum of values that are multiplied anyway, or of itself."""
        node, shape = self.made.get(piece), self.specs[piece].sizes
        if node is not None and node.op in ("Add", "Sub"):
            a, b = node.inputs
            here = all(n in concat.inputs or self._unexpanded(n) for n in (a, b))
            if here and all(self.specs[n].sizes == shape for n in (a, b)):
                return [(a, 1), (b, 1 if node.op == "Add" else -1)]
        return [(piece, 1)]

    def _unexpanded(self, name: str) -> str | None:
        """The value with fewer rows that an Expand made `name` of."""
        node = self.made.get(name)
        if node is None or node.op != "Expand" or node.inputs[0] not in self.specs:
            return None
        few, many = self.specs[node.inputs[0]], self.specs[name]
        if not few.static or len(few.sizes) != len(many.sizes) or few.sizes[-1] != many.sizes[-1]:
            return None
        return node.inputs[0] if prod(few.sizes) < prod(many.sizes) else None

    def _bias(self, node: Node) -> tuple[Node, str]:
        """(the node whose result the sum gives, a constant bias that is added on the way or "")."""
        readers = self.uses.get(node.outputs[0], [])
        if len(readers) != 1 or node.outputs[0] in self.graph.outputs or readers[0].op != "Add":
            return node, ""
        other = next((n for n in readers[0].inputs if n != node.outputs[0]), "")
        bias = self.constants.get(other)
        if bias is None or tuple(bias.shape) != self.specs[node.outputs[0]].sizes[-1:]:
            return node, ""
        self.gone.add(readers[0].name)
        return readers[0], other

    def _product(self, parts: dict[str, Any], out: str, name: str) -> list[Node]:
        """The product of the joined values and weights."""
        weight = f"{name}/weights"
        weights = list(parts.values())
        self.constants[weight] = (
            weights[0] if len(weights) == 1 else self._compute("Concat", *weights, axis=0)
        )
        self.specs[weight] = TensorSpec(as_dtype("float32"), tuple(self.constants[weight].shape))
        if len(parts) == 1:
            return [Node("MatMul", (*parts, weight), (out,), {}, name)]
        joined = f"{name}/joined"
        first = self.specs[next(iter(parts))]
        shape = (*first.sizes[:-1], sum(self._width(n) for n in parts))
        self.specs[joined] = TensorSpec(first.dtype, shape)
        concat = Node("Concat", tuple(parts), (joined,), {"axis": -1}, joined)
        return [concat, Node("MatMul", (joined, weight), (out,), {}, name)]

    def _slice(self, weight: Any, start: int, end: int) -> Any:
        index = Node("Slice", ("a", "b", "c", "d"), ("part",), {}, "concatenation/Slice")
        bounds = (type(weight).of([v], "int64") for v in (start, end, 0))
        return self._made(index, (weight, *bounds))

    def _compute(self, op: str, *operands: Any, **attributes: Any) -> Any:
        names = tuple(f"x{i}" for i in range(len(operands)))
        return self._made(Node(op, names, ("y",), attributes, f"concatenation/{op}"), operands)

    def _made(self, node: Node, operands: tuple[Any, ...]) -> Any:
        made = self.evaluate(node, operands)
        if made is None:
            raise _DeclinedError
        return made[0]
