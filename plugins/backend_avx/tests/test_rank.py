"""No backend is preferred by name: this one, made slow, is ranked and chosen as what it is then."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

import walle_core as walle
from walle_core import cost
from walle_core.cli import main
from walle_core.frontends.walle_file import save
from walle_core.plugins import load_plugins
from walle_core.types import DeviceRates

SLOWER = 1000.0
RUN_S = 0.02  # seconds that a run of a slow part takes at least
AVX = dict(load_plugins().backends.items()).get("avx")

pytestmark = pytest.mark.skipif(AVX is None or not AVX.devices(), reason="this processor has no AVX2")


class SlowExecutable:
    """Runs after a while."""

    def __init__(self, inner):
        self.inner = inner
        self.describe = inner.describe

    def run(self, inputs):
        time.sleep(RUN_S)
        return self.inner.run(inputs)


class Slow:
    """A backend that wraps another and is slow, as its calibration finds."""

    version = "slow"

    def __init__(self, inner):
        self.inner = inner
        self.name, self.known_gaps, self.traits = inner.name, inner.known_gaps, inner.traits
        self.devices, self.candidates = inner.devices, inner.candidates

    def prepare(self, graph, choices, threads, precision):
        return SlowExecutable(self.inner.prepare(graph, choices, threads, precision))

    def calibrate(self, device, threads, progress):
        found = cost.rates_of(self.inner, device, threads, progress)
        return DeviceRates(
            {k: v / SLOWER for k, v in found.ops_per_s.items()},
            tuple((limit, rate / SLOWER) for limit, rate in found.bytes_per_s),
            found.dispatch_s * SLOWER,
            RUN_S,
        )


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(0)
    g = walle.Builder()
    x = g.input("x", "float32", (1, 16, 56, 56))
    for _ in range(3):
        w = walle.Tensor.wrap(rng.uniform(-0.1, 0.1, (16, 16, 3, 3)).astype(np.float32))
        x = g.Relu(g.Conv(x, g.const(w), pads=(1, 1, 1, 1)))
    file = tmp_path / "net.walle"
    save(g.graph([x]), str(file))
    return file


def ranked(path, capsys, *options):
    assert main(["rank", str(path), "--json", *options]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    return {row["backend"]: row for row in rows}, [row["backend"] for row in rows]


def test_rank_and_session_choose_another_backend_than_a_slow_one(path, capsys, monkeypatch):
    before, _ = ranked(path, capsys)
    fast = np.asarray(
        next(iter(walle.Session(path, cache=False).run([np.ones((1, 16, 56, 56), np.float32)]).values()))
    )
    monkeypatch.setattr(cost, "save_rates", lambda *_: None)
    monkeypatch.setitem(load_plugins().backends._items, "avx", Slow(AVX))
    after, order = ranked(path, capsys, "--measure")
    assert order[0] != "avx"
    assert after["avx"]["predicted_s"] > max(RUN_S, 10 * before["avx"]["predicted_s"])
    assert after["avx"]["measured_s"] >= RUN_S
    others = [name for name in after if name != "avx" and not after[name]["error"]]
    assert min(others, key=lambda n: after[n]["predicted_s"]) == ranked(path, capsys)[1][0]
    session = walle.Session(path, cache=False)
    assert "avx" not in session.backends
    made = np.asarray(next(iter(session.run([np.ones((1, 16, 56, 56), np.float32)]).values())))
    np.testing.assert_allclose(made, fast, rtol=1e-4, atol=1e-5)


def test_without_being_slow_it_is_first_among_those_of_the_processor(path, capsys):
    _, order = ranked(path, capsys)
    assert order.index("avx") < min(order.index("reference"), order.index("portable"))
