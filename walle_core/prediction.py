"""Predicted seconds of a whole graph on one backend, with its control flow: what `rank` sorts by."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from walle_core.errors import WalleError
from walle_core.graph.ir import Graph, Node, subgraphs
from walle_core.plan import closed, compile_order, simplify, split
from walle_core.search import Engine
from walle_core.types import Candidate, TensorSpec

MAX_DEPTH = 16  # nested control flow and parts after one another


@attrs.frozen
class Choice:
    """How one node would run: its name and operator, the backend and algorithm, predicted seconds, and why."""

    node: str
    op: str
    backend: str
    algorithm: str
    predicted_s: float
    why: str = ""


@attrs.define
class Prediction:
    """Sum over the parts of a graph.

    Attributes:
        seconds: of one run. An If counts as its slower branch, a loop whose number of turns is not known as one turn.
        choices: per node of the lowered parts.
        open: nodes that are left out because their shapes depend on data.
    """

    seconds: float = 0.0
    choices: list[Choice] = attrs.field(factory=list)
    open: int = 0


def predict(graph: Graph, engines: Sequence[Engine], depth: int = 0) -> Prediction:
    """Prediction for a simplified graph; the first engine runs all that it can, the others the rest.

    Raises UnsupportedError if no engine runs some node.
    """
    found = Prediction()
    static, barrier, rest = split(graph)
    for engine, lowered in compile_order(static, engines, forced=True):
        found.seconds += engine.predict(lowered)
        for node in lowered.graph.nodes:
            taken: Candidate = lowered.choices[node.name]
            choice = (engine.backend.name, taken.algorithm, engine.seconds(taken), taken.why)
            found.choices.append(Choice(node.name, node.op, *choice))
    if barrier is None or rest is None:
        return found
    if depth >= MAX_DEPTH:
        found.open += 1 + len(rest.nodes)
        return found
    specs = {**static.specs, **{n: graph.specs[n] for n in rest.inputs if n in graph.specs}}
    specs |= _inside(barrier, graph, engines, depth, found)
    _add(found, predict(simplify(rest.evolve(specs={**rest.specs, **specs})), engines, depth + 1))
    return found


def _add(total: Prediction, part: Prediction, times: float = 1.0) -> None:
    total.seconds += times * part.seconds
    total.choices += part.choices
    total.open += part.open


def _inside(
    node: Node, graph: Graph, engines: Sequence[Engine], depth: int, total: Prediction
) -> dict[str, TensorSpec]:
    """Adds what a node between static parts takes; returns the specs of its outputs, as far as they are known."""
    bodies = []
    for body in subgraphs(node):
        inner = closed(body)
        known = {n: s for n, s in _argument_specs(node, body, graph).items() if n in inner.inputs}
        try:
            simple = simplify(inner.evolve(specs={**inner.specs, **known}))
            bodies.append((predict(simple, engines, depth + 1), simple))
        except WalleError:  # shapes that are known only when it runs
            total.open += len(body.nodes)
    if not bodies:
        total.open += 1
        return {}
    slowest = max((p for p, _ in bodies), key=lambda p: p.seconds)
    _add(total, slowest, _turns(node, graph))
    first, skip = bodies[0][1], 1 if node.op == "Loop" else 0
    made = {}
    for i, out in enumerate(node.outputs):
        specs = {b.specs.get(b.outputs[i + skip]) for _, b in bodies if i + skip < len(first.outputs)}
        spec = specs.pop() if len(specs) == 1 else None
        if out and spec is not None and spec.static and i < len(node.inputs) - 2 * skip + (node.op == "If"):
            made[out] = spec
    return made


def _argument_specs(node: Node, body: Graph, graph: Graph) -> dict[str, TensorSpec]:
    """Specs of the values that a body reads: the enclosing scope's, and those carried by a loop."""
    known = {k: v for k, v in graph.specs.items() if v.static}
    if node.op == "Loop":
        for name, given in zip(body.inputs[2:], node.inputs[2:], strict=False):
            if given in known:
                known[name] = known[given]
    return known


def _turns(node: Node, graph: Graph) -> float:
    """Turns of a loop with a constant count; 1 for all else."""
    count = graph.constants.get(node.inputs[0]) if node.op == "Loop" and node.inputs[0] else None
    return float(max(0, int(count.reshape(-1).tolist()[0]))) if count is not None and count.size == 1 else 1.0
