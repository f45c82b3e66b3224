"""`walle tune`: measured candidates win over predicted ones, within a budget, and stay so in later sessions and processes."""

import json
import time

import attrs
import numpy as np
import pytest
from toy_device import installed

import walle_core as walle
from walle_core import cost, tuned
from walle_core.backends.reference import ReferenceBackend
from walle_core.cli import main
from walle_core.engines import engines_for
from walle_core.frontends.walle_file import save
from walle_core.graph.builder import Builder
from walle_core.search import tuned_key, variant
from walle_core.tuning import tune
from walle_core.types import Device, DeviceRates

RATES = DeviceRates({"gemm": 1e9}, ((float("inf"), 1e12),), dispatch_s=0.0, call_s=0.0)
SLOW_S = 0.004


class TwoWays(ReferenceBackend):
    """MatMul in two ways: the one that is predicted to be fast sleeps."""

    name, version = "two", "1"

    def __init__(self):
        super().__init__()
        self.prepared = []

    def devices(self):
        return [Device("two", "two ways", {})]

    def calibrate(self, device, threads, progress):
        return RATES

    def candidates(self, node, specs, constants):
        offers = super().candidates(node, specs, constants)
        if node.op != "MatMul" or not offers:
            return offers
        one = attrs.evolve(offers[0], rate="gemm", bytes=0.0)
        return [
            attrs.evolve(one, algorithm="sleeps", ops=1.0),
            attrs.evolve(one, algorithm="works", ops=2.0),
            attrs.evolve(one, algorithm="hopeless", ops=100.0),
        ]

    def prepare(self, graph, choices, threads, precision):
        made = super().prepare(graph, choices, threads, precision)
        self.prepared.append({c.algorithm for c in choices.values()})
        slow = any(c.algorithm == "sleeps" for c in choices.values())
        real = made.run

        class Made:
            def run(self, inputs):
                time.sleep(SLOW_S if slow else 0)
                return real(inputs)

            def describe(self):
                return made.describe()

        return Made()


@pytest.fixture
def two(monkeypatch, tmp_path):
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WALLE_CACHE_LIMIT", raising=False)
    monkeypatch.setattr(cost, "_measured", {})
    made = TwoWays()
    with installed(made):
        yield made


def product(size=8):
    g = Builder()
    x = g.input("x", "float32", (4, size))
    return g.graph([g.MatMul(x, g.const(np.ones((size, 4), np.float32)))])


def picked(graph):
    engine = engines_for("two", 1, measured=False)[0]
    node = next(n for n in graph.nodes if n.op == "MatMul")
    return engine.pick(node, graph.specs, graph.constants).algorithm


def tuned_once(graph, budget=10.0):
    engines = engines_for("two", 1, measured=False)
    return tune(graph, engines[0], engines, 1, budget)


def test_what_is_measured_to_be_fastest_is_chosen_from_then_on(two):
    graph = product()
    assert picked(graph) == "sleeps"
    (found,), left, choices = tuned_once(graph)
    assert (found.before, found.after, found.measured, left, choices) == ("sleeps", "works", 2, 0, 1)
    assert found.gain_s > 0.5 * SLOW_S
    assert picked(graph) == "works"
    assert picked(product(16)) == "sleeps"  # another shape is another operator


def test_what_is_known_is_not_measured_again(two):
    tuned_once(product())
    two.prepared.clear()
    assert tuned_once(product()) == ([], 0, 1)
    assert two.prepared == []


def test_the_budget_ends_between_candidates_and_the_next_call_goes_on(two):
    g = Builder()
    x = g.input("x", "float32", (4, 8))
    outs = [g.MatMul(x, g.const(np.ones((8, n), np.float32))) for n in (3, 4, 5)]
    graph = g.graph(outs)
    found, left, choices = tuned_once(graph, budget=1e-9)
    assert (len(found), left, choices) == (0, 3, 3)
    found, left, _ = tuned_once(graph, budget=0.5 * SLOW_S)
    assert (len(found), left) == (1, 2)
    assert found[0].measured == 1
    found, left, _ = tuned_once(graph)
    assert (len(found), left) == (3, 0)


def test_approximate_candidates_that_were_measured_are_not_taken_where_exact_ones_are_wanted(two):
    graph = product()
    engine = engines_for("two", 1, measured=False)[0]
    node = next(n for n in graph.nodes if n.op == "MatMul")
    rough = attrs.evolve(two.candidates(node, graph.specs, graph.constants)[1], approximate=True)
    two.candidates = lambda *a: [rough, attrs.evolve(rough, algorithm="exactly", approximate=False)]
    engine.renew({tuned_key(node, graph.specs, graph.constants): {variant(rough): 1e-9}})
    assert engine.pick(node, graph.specs, graph.constants).algorithm == "works"
    engine.exact = True
    engine.renew(engine.tuned)
    assert engine.pick(node, graph.specs, graph.constants).algorithm == "exactly"


@pytest.mark.parametrize(
    "spoil", [lambda t: t[: len(t) // 2], lambda t: b"", lambda t: t.replace(b"0.", b"-0."), lambda t: b"[1]"]
)
def test_a_damaged_file_is_as_none(two, tmp_path, spoil):
    graph = product()
    tuned_once(graph)
    (path,) = (tmp_path / "cache").glob("tuned-*.json")
    path.write_bytes(spoil(path.read_bytes()))
    assert picked(graph) == "sleeps"


def test_a_cache_that_cannot_be_written_only_warns(two, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("WALLE_CACHE", str(blocked))
    with pytest.warns(UserWarning, match="cannot keep"):
        tuned_once(product())


def test_from_the_command_line_to_the_next_session(two, tmp_path, capsys):
    path = tmp_path / "product.walle"
    save(product(), path)
    x = np.ones((4, 8), np.float32)
    walle.Session(str(path), backend="two").run({"x": x})  # a plan is kept that knows nothing of tuning
    assert main(["tune", str(path), "--backend", "two", "--threads", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["operators"][0]["after"] == "works"
    session = walle.Session(str(path), backend="two", threads=2)
    assert "works" in two.prepared[-1]
    np.testing.assert_array_equal(next(iter(session.run({"x": x}).values())), np.full((4, 4), 8, np.float32))
    assert main(["tune", str(path), "--backend", "two", "--threads", "2"]) == 0
    assert "is known already" in capsys.readouterr().out
    assert main(["cache", "--untune"]) == 0
    assert not list((tmp_path / "cache").glob("tuned-*"))
    assert tuned.load_tuned("anything") == {}


@pytest.mark.parametrize("budget", ["5x", "0s", "-1s", "", "s"])
def test_budgets_that_are_none(two, tmp_path, capsys, budget):
    path = tmp_path / "product.walle"
    save(product(), path)
    assert main(["tune", str(path), "--backend", "two", f"--budget={budget}"]) == 2
    assert "500ms, 2s or 1.5min" in capsys.readouterr().err
