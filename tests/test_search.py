"""The search: which backend runs which nodes, for backends whose costs are given."""

from collections.abc import Mapping

import pytest

from walle_core.errors import UnsupportedError
from walle_core.evaluate import evaluate
from walle_core.graph.builder import Builder
from walle_core.graph.ir import Graph
from walle_core.graph.shapes import infer
from walle_core.protocols import BackendTraits
from walle_core.search import HANDOVER_S, Engine, assign
from walle_core.types import Candidate, Device, DeviceRates

RATES = DeviceRates({"gemm": 1e9}, ((float("inf"), 1e10),), dispatch_s=0.0, call_s=1e-6)


class Priced:
    """A backend of which every operator's milliseconds are given; what is not named it cannot run."""

    version, known_gaps, traits = "1", {}, BackendTraits()

    def __init__(self, name: str, milliseconds: Mapping[str, float]) -> None:
        self.name, self.milliseconds = name, milliseconds

    def candidates(self, node, specs, constants):
        if node.op not in self.milliseconds:
            return []
        return [Candidate("only", "gemm", self.milliseconds[node.op] * 1e6, 0.0)]


def engine(name: str, **milliseconds: float) -> Engine:
    return Engine(Priced(name, milliseconds), Device(name, name, {}), evaluate, RATES)


def chain(*ops: str) -> Graph:
    g = Builder()
    y = g.input("x", "float32", (64,))
    for op in ops:
        y = g.op(op, y)
    return infer(g.graph([y]))


def shares(graph: Graph, *engines: Engine, forced: bool = False) -> list[tuple[str, int]]:
    return [(p.engine.backend.name, len(p.nodes)) for p in assign(graph, engines, forced)]


def test_the_fastest_whole_backend_is_taken():
    graph = chain("Exp", "Tanh", "Exp")
    assert shares(graph, engine("slow", Exp=3, Tanh=3), engine("fast", Exp=1, Tanh=1)) == [("fast", 3)]


def test_a_split_that_gains_less_than_the_predictions_error_is_not_made():
    graph = chain("Exp", "Tanh", "Exp")
    assert shares(graph, engine("a", Exp=10, Tanh=1), engine("b", Exp=11, Tanh=0.1)) == [("a", 3)]


def test_a_split_that_gains_much_is_made():
    graph = chain("Exp", "Tanh", "Exp")
    assert shares(graph, engine("a", Exp=1, Tanh=90), engine("b", Exp=90, Tanh=1)) == [
        ("a", 1), ("b", 1), ("a", 1),
    ]  # fmt: skip


def test_crossing_costs_more_than_a_small_operator_gains():
    gain = HANDOVER_S * 1e3 / 2  # milliseconds
    parts = shares(
        chain("Exp", "Tanh", "Exp"), engine("a", Exp=gain / 8, Tanh=gain), engine("b", Tanh=0, Exp=gain)
    )
    assert parts == [("a", 3)]


def test_what_one_backend_lacks_another_runs():
    graph = chain("Exp", "Tanh", "Exp")
    assert shares(graph, engine("a", Exp=1), engine("b", Exp=9, Tanh=9)) == [("a", 1), ("b", 1), ("a", 1)]


def test_a_forced_backend_runs_all_that_it_can():
    graph = chain("Exp", "Tanh", "Exp")
    parts = shares(graph, engine("a", Exp=9), engine("b", Exp=1, Tanh=1), forced=True)
    assert parts == [("a", 1), ("b", 1), ("a", 1)]


def test_a_node_that_no_backend_runs_is_named():
    with pytest.raises(UnsupportedError, match="Tanh"):
        assign(chain("Exp", "Tanh"), [engine("a", Exp=1), engine("b", Exp=1)])
