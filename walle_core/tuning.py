"""Tuning: the candidates of a model's operators measured on the device, within a budget; what is found is remembered.

The search predicts from a few rates of a device. Tuning asks the device itself (paper, section on semi-auto search: the
measured search that the predicted one stands in for), one operator at a time, and later searches take the fastest of the
measured candidates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from walle_core._native import Tensor
from walle_core.cost import rates_key
from walle_core.graph.ir import Graph, Node
from walle_core.plan import compile_order, simplify, split
from walle_core.planfile import drop_all
from walle_core.search import Engine, signature, tuned_key, variant
from walle_core.tuned import save_tuned
from walle_core.types import Candidate

ROUNDS, SLICE_S = 5, 0.003  # every candidate runs once in each round, and again until the slice is over
HOPELESS = 4.0  # candidates that are predicted to take so many times the cheapest one's time are not measured


@attrs.define
class Case:
    """A node, its graph's facts, and how often it occurs."""

    node: Node
    graph: Graph
    count: int = 1

    def alone(self) -> Graph:
        """A graph of this node only, with its real constants."""
        node, graph = self.node, self.graph
        constants = {n: graph.constants[n] for n in node.inputs if n in graph.constants}
        inputs = tuple(dict.fromkeys(n for n in node.inputs if n and n not in constants))
        outputs = tuple(n for n in node.outputs if n)
        specs = {n: graph.specs[n] for n in (*inputs, *outputs, *constants) if n in graph.specs}
        return Graph(inputs, outputs, (node,), constants, specs, node.name)


@attrs.frozen
class Tuned:
    """What tuning found for one operator.

    Attributes:
        node: name of one of the nodes.
        op: its operator.
        count: nodes that it stands for.
        before, after: algorithms that the search chose and chooses.
        before_s, after_s: their measured seconds.
        measured: how many candidates were measured.
    """

    node: str
    op: str
    count: int
    before: str
    after: str
    before_s: float
    after_s: float
    measured: int

    @property
    def gain_s(self) -> float:
        """Seconds that all of its nodes take less."""
        return self.count * (self.before_s - self.after_s)


def cases(graph: Graph, engine: Engine, engines: Sequence[Engine]) -> dict[Any, Case]:
    """The distinct nodes of a graph that `engine` runs after lowering, by the search's signature."""
    static, _, _ = split(simplify(graph))
    found: dict[Any, Case] = {}
    for owner, lowered in compile_order(static, engines, forced=True):
        for node in lowered.graph.nodes if owner is engine else ():
            key = signature(node, lowered.graph.specs, lowered.graph.constants)
            if key in found:
                found[key].count += 1
            else:
                found[key] = Case(node, lowered.graph)
    return found


def measured(
    case: Case, offers: Sequence[Candidate], engine: Engine, threads: int, end: float
) -> list[tuple[Candidate, float]]:
    """(candidate, seconds of one run), of as many candidates as fit before `end` (`time.perf_counter`), at least one."""
    graph = case.alone()
    feeds = [Tensor(graph.specs[n].sizes, graph.specs[n].dtype.name) for n in graph.inputs]
    built: list[tuple[Candidate, Any]] = []
    for candidate in offers:
        if built and time.perf_counter() >= end:
            break
        executable = engine.backend.prepare(graph, {case.node.name: candidate}, threads, engine.precision)
        executable.run(feeds)
        built.append((candidate, executable))
    times: list[list[float]] = [[] for _ in built]
    for _ in range(ROUNDS):  # interleaved: what disturbs the machine disturbs all of them
        for (_, executable), taken in zip(built, times, strict=True):
            stop = time.perf_counter() + SLICE_S
            taken.append(_once(executable, feeds))
            while time.perf_counter() < stop:
                taken.append(_once(executable, feeds))
    return [(c, max(1e-9, sorted(t)[len(t) // 2])) for (c, _), t in zip(built, times, strict=True)]


def _once(executable: Any, feeds: Sequence[Tensor]) -> float:
    """Seconds of a run: of its steps alone where the backend times them, else of all that it does."""
    if (profile := getattr(executable, "profile", None)) is not None:
        return float(sum(profile(feeds)[1])) / 1e9
    start = time.perf_counter()
    executable.run(feeds)
    return time.perf_counter() - start


def tune(
    graph: Graph,
    engine: Engine,
    engines: Sequence[Engine],
    threads: int,
    budget_s: float,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Tuned], int, int]:
    """Measures the costliest operators first and keeps what it finds for later searches; plans on disk are dropped.

    Args:
        graph: with fixed shapes.
        engine: of the backend to tune.
        engines: it first, then those that run what it cannot.
        threads: of one run.
        budget_s: seconds after which no further candidate is begun.
        progress: told what is measured.

    Returns what was found, best gain first; how many operators were left for lack of time; and how many have a choice of
    algorithms at all. What was measured before is not measured again.

    Raises BackendError or DeviceError.
    """
    end = time.perf_counter() + budget_s
    todo, choices = [], 0
    for case in cases(graph, engine, engines).values():
        key = tuned_key(case.node, case.graph.specs, case.graph.constants)
        ranked = engine.offers(case.node, case.graph.specs, case.graph.constants)
        ranked = [c for c in ranked if engine.seconds(c) <= HOPELESS * engine.seconds(ranked[0])]
        if key is not None and len(ranked) > 1:
            done = {variant(c) for c in ranked} <= {*engine.tuned.get(key, ())}
            choices += 1
            if not done:
                todo.append((case.count * engine.seconds(ranked[0]), key, case, ranked))
    todo.sort(key=lambda item: -item[0])
    found, known = [], {k: dict(v) for k, v in engine.tuned.items()}
    left = 0
    for i, (_, key, case, ranked) in enumerate(todo):
        if time.perf_counter() >= end:
            left = len(todo) - i
            break
        progress(f"{case.node.op} {case.node.name}, {i + 1} of {len(todo)}")
        before = engine.pick(case.node, case.graph.specs, case.graph.constants)
        assert before is not None
        ranked.sort(key=lambda c: variant(c) != variant(before))  # what is chosen now is measured first
        rows = measured(case, ranked, engine, threads, end)
        known[key] = {variant(c): s for c, s in rows}
        after, after_s = min(rows, key=lambda row: row[1])
        algorithms = before.algorithm, after.algorithm
        found.append(
            Tuned(case.node.name, case.node.op, case.count, *algorithms, rows[0][1], after_s, len(rows))
        )
    if found:
        save_tuned(rates_key(engine.backend, engine.device, threads), known)
        drop_all()
        engine.renew(known)
    return sorted(found, key=lambda t: -t.gain_s), left, choices
