"""Semi-auto search (paper, section on the tensor engine; design 4.3): which backend and algorithm run each node.

C_ba = sum over nodes of min over algorithms of cost(Q / P, bytes / B, S), argmin over backends; a graph may also be split
between backends, by dynamic programming over the topological order with the cost of crossing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.cost import GUESS, LinearCost, bandwidth
from walle_core.errors import DeviceError, UnsupportedError, blamed
from walle_core.graph.ir import Graph, Node
from walle_core.graph.lower import Lowered, lower
from walle_core.ops import find
from walle_core.prepared import Transfer
from walle_core.protocols import Backend, CostModel
from walle_core.types import Candidate, Device, DeviceRates, TensorSpec

MAX_KEYED = 16  # constants up to this many elements are part of a node's identity for the search
# A graph is split between backends for a predicted time below this share of the best whole one's: smaller differences
# are within the error of the predictions, and a split loses fusion and layout.
SPLIT_GAIN = 0.9
HANDOVER_S = 2e-5  # a further part of a plan: one more call from Python, tensors made for what it hands over


@attrs.define(eq=False)
class Engine:
    """A backend on a device with its rates: picks candidates and remembers what it picked.

    Attributes:
        backend, device: who runs.
        rates: measured, or the guess.
        model: predicts seconds.
        exact: approximate candidates are not taken.
        precision: ``high`` takes no candidate of low precision; ``low`` takes those that are predicted to be faster.
        evaluate: computes nodes with constant inputs.
        tuned: `tuned_key` of a node -> algorithm -> measured seconds; what was measured is chosen among (`walle tune`).
    """

    backend: Backend
    device: Device
    evaluate: Callable[..., Any]
    rates: DeviceRates = GUESS
    model: CostModel = attrs.field(factory=LinearCost)
    exact: bool = False
    precision: str = "high"
    tuned: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    _picked: dict[Any, Candidate | None] = attrs.field(factory=dict)
    _costs: dict[Any, float] = attrs.field(factory=dict)

    def pick(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> Candidate | None:
        """The cheapest candidate for a node; None if the backend cannot run it."""
        if any(n and (n not in specs or not specs[n].static) for n in (*node.inputs, *node.outputs)):
            return None
        key = signature(node, specs, constants)
        if key not in self._picked:
            ranked = self.offers(node, specs, constants)
            known = self.tuned.get(tuned_key(node, specs, constants) or "", {}) if self.tuned else {}
            timed = [c for c in ranked if variant(c) in known]
            fastest = min(timed, key=lambda c: known[variant(c)], default=None)
            self._picked[key] = fastest or next(iter(ranked), None)
        return self._picked[key]

    def offers(
        self, node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]
    ) -> list[Candidate]:
        """The candidates for a node that this engine may take, by predicted time."""
        try:
            offers = self.backend.candidates(node, specs, constants)
        except DeviceError as error:
            raise blamed(error, self.backend.name, self.device.name) from error
        allowed = [c for c in offers if not (self.exact and c.approximate)]
        if self.precision != "low":
            allowed = [c for c in allowed if c.precision != "low"]
        return sorted(allowed, key=self.seconds)

    def renew(self, tuned: Mapping[str, Mapping[str, float]]) -> None:
        """Chooses by these measurements from now on."""
        self.tuned = tuned
        self._picked.clear()
        self._costs.clear()

    def seconds(self, candidate: Candidate) -> float:
        """Predicted seconds of a candidate."""
        return self.model.seconds(candidate, self.rates)

    def lower(self, graph: Graph) -> Lowered:
        """The graph as this backend runs it. Raises UnsupportedError."""
        return lower(graph, self.pick, self.backend.traits, self.evaluate)

    def predict(self, lowered: Lowered) -> float:
        """Predicted seconds of one run."""
        steps = self.rates.call_s + sum(self.seconds(c) for c in lowered.choices.values())
        return steps + sum(self.carry(nbytes) for _, _, nbytes in _ends(lowered.graph))

    def carry(self, nbytes: float) -> float:
        """Predicted seconds of copying to or from the device."""
        return nbytes / self.rates.transfer_bytes_per_s

    def transfers(self, graph: Graph) -> tuple[Transfer, ...]:
        """What a run of a part copies; nothing where the backend shares the host's memory."""
        if self.backend.traits.shares_host_memory:
            return ()
        return tuple(Transfer(name, to, n, self.carry(n)) for name, to, n in _ends(graph))

    def node_cost(self, node: Node, graph: Graph) -> float:
        """Predicted seconds of one node by itself; infinite if this backend cannot run it."""
        specs = graph.specs
        if any(n and (n not in specs or not specs[n].static) for n in (*node.inputs, *node.outputs)):
            return math.inf
        key = signature(node, specs, graph.constants)
        if key not in self._costs:
            self._costs[key] = self._lowered_cost(node, graph)
        return self._costs[key]

    def _lowered_cost(self, node: Node, graph: Graph) -> float:
        known = {n: graph.specs[n] for n in (*node.inputs, *node.outputs) if n}
        constants = {n: graph.constants[n] for n in node.inputs if n in graph.constants}
        inputs = tuple(dict.fromkeys(n for n in node.inputs if n and n not in constants))
        outputs = tuple(n for n in node.outputs if n)
        try:
            lowered = self.lower(Graph(inputs, outputs, (node,), constants, known, node.name))
        except UnsupportedError:
            return math.inf
        op = find(node.op)
        moves = op is not None and op.kind == "transform"
        return sum(
            self.seconds(lowered.choices[n.name]) for n in lowered.graph.nodes if moves or n.op != "Raster"
        )


def signature(node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]) -> Any:
    """What a node's cost depends on: operator, attributes, specs, and the values of small constants."""
    operands = []
    for name in node.inputs:
        value = constants.get(name) if name else None
        small = isinstance(value, Tensor) and value.size <= MAX_KEYED
        operands.append(
            (specs.get(name), value is not None, value.tobytes() if small and value is not None else None)
        )
    attributes = tuple(
        (k, v if not isinstance(v, (list, Tensor)) else id(v)) for k, v in sorted(node.attrs.items())
    )
    return (node.op, attributes, tuple(operands), tuple(specs.get(o) if o else None for o in node.outputs))


def tuned_key(node: Node, specs: Mapping[str, TensorSpec], constants: Mapping[str, Any]) -> str | None:
    """A node's signature as text that another process finds too; None where it has parts without one."""
    if any(isinstance(v, (list, Tensor, Graph)) for v in node.attrs.values()):
        return None
    from hashlib import sha256  # here: needs a C module that not every interpreter can load

    return sha256(repr(signature(node, specs, constants)).encode()).hexdigest()[:32]


def variant(candidate: Candidate) -> str:
    """What tells a candidate from the others of its node."""
    return f"{candidate.algorithm} {sorted(candidate.params.items())}"


def _ends(graph: Graph) -> Iterator[tuple[str, bool, int]]:
    """(name, True for an input, bytes) of the inputs that the nodes of a part read and of the outputs that they make."""
    read = {n for node in graph.nodes for n in node.inputs}
    made = {n for node in graph.nodes for n in node.outputs}
    for names, to_device, own in ((graph.inputs, True, read), (graph.outputs, False, made)):
        for name in names:
            if name in own and name in graph.specs and graph.specs[name].static:
                yield name, to_device, graph.specs[name].nbytes


@attrs.frozen(eq=False)
class Part:
    """Consecutive nodes that one engine runs."""

    engine: Engine
    nodes: tuple[Node, ...]


def _crossing(graph: Graph) -> tuple[list[int], list[int]]:
    """(bytes that the nodes before i made, bytes of the graph's inputs) that node i or a later one reads.

    What a change of backend before node i may have to hand over, and what the next backend reads from the host.
    """
    last_use = {n: i for i, node in enumerate(graph.nodes) for n in node.inputs if n}
    last_use.update({n: len(graph.nodes) for n in graph.outputs})
    made, given = ([0] * (len(graph.nodes) + 2) for _ in range(2))
    names = [(given, 0, n) for n in graph.inputs]
    names += [(made, i + 1, n) for i, node in enumerate(graph.nodes) for n in node.outputs]
    for change, born, name in names:
        spec = graph.specs.get(name)
        if name in last_use and spec is not None and spec.static:
            change[born] += spec.nbytes
            change[last_use[name] + 1] -= spec.nbytes
    return list(accumulate(made[:-1])), list(accumulate(given[:-1]))


def assign(graph: Graph, engines: Sequence[Engine], forced: bool = False) -> list[Part]:
    """Splits a graph between engines at least predicted cost (dynamic programming over the topological order).

    One engine runs the whole graph unless a split is predicted to gain more than the predictions' error. With
    `forced`, the first engine runs all it can and the others only the rest.

    Raises UnsupportedError naming the first node that no engine runs.
    """
    crossing, given = _crossing(graph)
    best = [e.rates.call_s + e.carry(given[0]) for e in engines]
    whole = list(best)
    came: list[list[int]] = []
    for i, node in enumerate(graph.nodes):
        costs = [engines[0].node_cost(node, graph)]
        skip = forced and not math.isinf(costs[0])
        costs += [math.inf if skip else e.node_cost(node, graph) for e in engines[1:]]
        if all(math.isinf(c) for c in costs):
            names = ", ".join(e.backend.name for e in engines)
            raise UnsupportedError(
                f"{graph.source or graph.name}: no backend among {names} runs node {node} on "
                f"{[str(graph.specs.get(n)) for n in node.inputs]}; install one that does, or change the model"
            )
        whole = [a + b for a, b in zip(whole, costs, strict=True)]
        step, now = [], []
        for b, engine in enumerate(engines):
            options = [
                best[a] + (0.0 if a == b else _switch(engines[a], engine, crossing[i], given[i]))
                for a in range(len(engines))
            ]
            a = min(range(len(engines)), key=lambda k: (options[k], k != b))
            step.append(a)
            now.append(options[a] + costs[b])
        came.append(step)
        best = now
    whole, best = (
        [s + e.carry(crossing[-1]) for s, e in zip(r, engines, strict=True)] for r in (whole, best)
    )
    single, at = (min(range(len(engines)), key=seconds.__getitem__) for seconds in (whole, best))
    if not forced and not math.isinf(whole[single]) and best[at] > SPLIT_GAIN * whole[single]:
        return [Part(engines[single], graph.nodes)]
    owner = [0] * len(graph.nodes)
    for i in range(len(graph.nodes) - 1, -1, -1):
        owner[i] = at
        at = came[i][at]
    parts: list[Part] = []
    for i, node in enumerate(graph.nodes):
        if parts and parts[-1].engine is engines[owner[i]]:
            parts[-1] = Part(parts[-1].engine, (*parts[-1].nodes, node))
        else:
            parts.append(Part(engines[owner[i]], (node,)))
    return parts


def _switch(source: Engine, target: Engine, nbytes: int, given: int) -> float:
    """Seconds of handing `nbytes` over: they leave the source's plan as new tensors and are read by the target's, which
    also reads `given` bytes of the graph's inputs.
    """
    transfer = source.carry(nbytes) + target.carry(nbytes + given)
    return target.rates.call_s + HANDOVER_S + transfer + 2 * nbytes / bandwidth(target.rates, nbytes)
