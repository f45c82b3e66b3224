"""Reverse-mode differentiation: a graph with the gradients of one of its values as further values.

Rules stand with the definitions of the atomic operators; transforms have the one of Raster. Composites are replaced by
their decomposition where a gradient passes through them, unless their definition has a rule of its own; outside the
path they stay whole. So whatever is written in atomic operators can be trained, and forward and backward
are one graph, which the search plans as any other.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

import attrs

from walle_core.errors import GradientError, ShapeError
from walle_core.graph.builder import Builder
from walle_core.graph.decompose import Keep, decompose
from walle_core.graph.ir import Graph, Node
from walle_core.graph.raster_gradient import raster_gradient
from walle_core.graph.shapes import context, infer, naming, with_constants
from walle_core.ops import find
from walle_core.ops.define import Adjoint, OpDef, Region


@attrs.frozen(eq=False)
class Differentiated:
    """A graph that also computes gradients.

    Attributes:
        graph: with `gradients` among its values (not among its outputs), composites on the way decomposed.
        gradients: name of a value -> name of the gradient by it.
    """

    graph: Graph
    gradients: Mapping[str, str]


def differentiate(graph: Graph, result: str, by: Sequence[str]) -> Differentiated:
    """Appends the gradients of the scalar value `result` by the values named in `by`.

    Raises:
        GradientError: an operator on the way has no gradient, or `result` does not depend on a value.
        ShapeError: a shape on the way is not known before the run.
    """
    graph = _opened(infer(with_constants(graph)), by)
    if result not in graph.specs or graph.specs[result].shape is None or graph.specs[result].size != 1:
        raise GradientError(f"{result!r} is {graph.specs.get(result)}; gradients are those of one number")
    return _Reverse(graph, by).run(result, by)


def _dependent(graph: Graph, by: Sequence[str]) -> set[str]:
    """The values in `by` and the floating-point ones that depend on them."""
    found = set(by)
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs):
            found.update(
                o for o in node.outputs if o and (o not in graph.specs or graph.specs[o].dtype.kind == "f")
            )
    return found


def _opened(graph: Graph, by: Sequence[str]) -> Graph:
    """The graph with the composites that depend on `by` decomposed, but for those with a rule of their own."""
    while True:
        path = _dependent(graph, by)
        names = set()
        for node in graph.nodes:
            op = find(node.op)
            if op is None or not op.divisible(len(node.inputs)) or path.isdisjoint(node.inputs):
                continue
            if op.gradient is None or op.kind != "composite":
                names.add(node.name)
        opened = decompose(graph, _except(names))
        if len(opened.nodes) == len(graph.nodes) and all(map(operator.is_, opened.nodes, graph.nodes)):
            return graph
        graph = opened


def _except(names: set[str]) -> Keep:
    return lambda node, _specs, _constants: node.name not in names


class _Reverse:
    def __init__(self, graph: Graph, by: Sequence[str]) -> None:
        self.graph, self.path = graph, _dependent(graph, by)
        self.g = Builder("grad/", graph.specs, graph.constants)
        self.grads: dict[str, str] = {}

    def run(self, result: str, by: Sequence[str]) -> Differentiated:
        g, graph = self.g, self.graph
        self.grads[result] = g.const(1, like=result) if g.shape(result) == () else g.Expand(
            g.const(1, like=result), g.const(list(g.shape(result)), "int64"))  # fmt: skip
        for node in reversed(graph.nodes):
            if any(o in self.grads for o in node.outputs) and any(n in self.path for n in node.inputs):
                self._node(node)
        for name in by:
            if name not in self.grads:
                raise GradientError(self._unreached(name, result))
        nodes = (*graph.nodes, *g.nodes)
        made = graph.evolve(nodes=nodes, constants=g.constants, specs=g.specs)
        return Differentiated(made, {name: self.grads[name] for name in by})

    def _node(self, node: Node) -> None:
        op = find(node.op)
        wanted = tuple(n in self.path for n in node.inputs)
        if op is None or (op.gradient is None and node.op != "Raster" and op.regions is None):
            raise GradientError(
                f"{self._where()}: node {node} has no gradient, but lies between the result and "
                f"{[n for n in node.inputs if n in self.path]}; leave out what comes before it, or replace the operator"
            )
        with naming(node):
            found = self._rule(node, op, wanted)
        for name, grad, asked in zip(node.inputs, found, wanted, strict=False):
            if grad is None or not asked:
                continue
            if self.g.shape(grad) != self.g.shape(name):
                raise ShapeError(
                    f"node {node}: its gradient by {name!r} has shape {self.g.shape(grad)}, not {self.g.shape(name)}"
                )
            known = self.grads.get(name)
            self.grads[name] = grad if known is None else self.g.Add(known, grad)

    def _rule(self, node: Node, op: OpDef, wanted: tuple[bool, ...]) -> Sequence[str | None]:
        grads = tuple(self.grads.get(o) if o else None for o in node.outputs)
        if op.gradient is None or node.op == "Raster":
            return self._moved(node, op, grads, wanted)
        names = tuple(n or None for n in node.inputs)
        outputs = tuple(o or None for o in node.outputs)
        if grads[0] is None:
            raise GradientError(f"{self._where()}: node {node} has a gradient by its first output only")
        try:
            made = op.gradient(self.g, Adjoint(names, outputs, grads, wanted, op.bind(node.attrs)))
        except ValueError as error:
            raise GradientError(f"{self._where()}: node {node}: {error}") from error
        return list(made)

    def _moved(
        self, node: Node, op: OpDef, grads: Sequence[str | None], wanted: Sequence[bool]
    ) -> list[str | None]:
        g = self.g
        if node.op == "Raster":
            parts: Sequence[Sequence[Region]] = [node.attrs["regions"]]
        else:
            ctx = context(node, op, g.specs, g.constants)
            found = op.regions(ctx) if op.regions is not None and ctx is not None else None
            if found is None:
                raise GradientError(
                    f"{self._where()}: node {node} moves elements to places that depend on data; it has no gradient"
                )
            parts = list(found) if isinstance(found, tuple) else [found]
        made: list[str | None] = []
        for index, name in enumerate(node.inputs):
            terms = [
                raster_gradient(g, [r for r in part if r.origin == index], g.shape(name), grad)
                for part, grad in zip(parts, grads, strict=False)
                if grad is not None and wanted[index]
            ]
            total = terms[0] if terms else None
            for term in terms[1:]:
                total = g.Add(total, term)
            made.append(total)
        return made

    def _unreached(self, name: str, result: str) -> str:
        """Why no gradient arrived: the operator behind which the dependence is not differentiable."""
        reached = {name}
        last: Node | None = None
        for node in self.graph.nodes:
            if reached.intersection(node.inputs):
                inside = not self.path.isdisjoint(node.inputs)
                cut = any(o in self.grads for o in node.outputs) and not any(
                    n in self.grads for n in node.inputs
                )
                if inside and (cut or (last is None and self.path.isdisjoint(node.outputs))):
                    last = node
                reached.update(node.outputs)
        if last is None or result not in reached:
            return f"{self._where()}: {result!r} does not depend on {name!r}; leave it out of what is trained"
        return (
            f"{self._where()}: {result!r} depends on {name!r} only through node {last}, which has no gradient"
        )

    def _where(self) -> str:
        return self.graph.source or self.graph.name
