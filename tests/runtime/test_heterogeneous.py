"""Graphs that one backend cannot run well alone: the parts, what is copied between them, and the results."""

import numpy as np
import pytest
from toy_device import ToyDevice, installed

import walle_core as walle
from walle_core import cost
from walle_core.cli import main
from walle_core.frontends.walle_file import save
from walle_core.graph.builder import Builder

X = np.random.default_rng(0).uniform(-1, 1, (256, 512)).astype(np.float32)


@pytest.fixture(autouse=True)
def no_rates_kept(monkeypatch):
    monkeypatch.setattr(cost, "save_rates", lambda *_: None)


def network():
    """Softplus between products; an input that only the last part reads."""
    rng = np.random.default_rng(1)
    g = Builder()
    x, late = g.input("x", "float32", (256, 512)), g.input("late", "float32", (256, 128))
    w = [
        g.const(walle.Tensor.wrap(rng.uniform(-1, 1, s).astype(np.float32))) for s in ((512, 384), (384, 128))
    ]
    y = g.Softplus(g.MatMul(x, w[0]))
    return g.graph([g.Add(g.MatMul(y, w[1]), late)])


INPUT, MIDDLE, OUTPUT = (256 * n * 4 for n in (512, 384, 128))  # bytes
FEEDS = {"x": X, "late": X[:, :128].copy()}


def result(session):
    (out,) = session.run(FEEDS).values()
    return np.asarray(out)


@pytest.fixture(scope="module")
def expected():
    return result(walle.Session(network(), backend="reference"))


def ops_of(session):
    return [
        (row["backend"], row["op"]) for row in session.describe() if "op" in row and row["op"] != "transfer"
    ]


def test_all_of_it_on_one_device_copies_inputs_and_outputs_only(expected):
    with installed(ToyDevice()):
        session = walle.Session(network())
        np.testing.assert_allclose(result(session), expected, rtol=1e-5, atol=1e-4)
        assert session.backends == ["toy"]
        (part,) = session.plan.parts
        copies = [(t.to_device, t.nbytes) for t in part.transfers]
        assert copies == [(True, INPUT), (True, OUTPUT), (False, OUTPUT)]


def test_what_a_device_lacks_another_backend_runs_between_two_copies(expected):
    toy = ToyDevice(lacks=["Softplus"])
    with installed(toy):
        session = walle.Session(network(), backend=["toy", "reference"])
        np.testing.assert_allclose(result(session), expected, rtol=1e-5, atol=1e-4)
        first, middle, last = session.plan.parts
        assert [first.backend, middle.backend, last.backend] == ["toy", "reference", "toy"]
        assert not middle.transfers  # it reads the host's memory
        (y,), (z,) = first.outputs, middle.outputs
        assert [(t.value, t.to_device, t.nbytes) for t in first.transfers] == [
            ("x", True, INPUT),
            (y, False, MIDDLE),
        ]
        assert {(t.value, t.to_device, t.nbytes) for t in last.transfers} == {
            (z, True, MIDDLE), ("late", True, OUTPUT), (last.outputs[0], False, OUTPUT),
        }  # fmt: skip
        assert toy.calls["upload"] == 3
        assert toy.calls["download"] == 2
        rows = [
            (r["backend"], r["name"], r["algorithm"]) for r in session.describe() if r.get("op") == "transfer"
        ]
        assert rows[:2] == [("toy", "x", "to the device"), ("toy", y, "to the host")]


@pytest.mark.parametrize("slow", [1e-9, 1.0])
def test_what_a_device_is_slow_at_another_backend_runs(expected, slow):
    with installed(ToyDevice(slow={"Softplus": slow})):
        session = walle.Session(network(), backend=["toy", "reference"])
        np.testing.assert_allclose(result(session), expected, rtol=1e-5, atol=1e-4)
        assert [p.backend for p in session.plan.parts] == (
            ["toy", "reference", "toy"] if slow == 1 else ["toy"]
        )


def test_a_device_behind_a_slow_line_is_used_for_nothing(expected):
    """Copying 1 KB takes a second: what the device saves is not worth it, neither for a part nor for the whole."""
    with installed(ToyDevice(transfer=1e3)):
        session = walle.Session(network())
        np.testing.assert_allclose(result(session), expected, rtol=1e-5, atol=1e-4)
        assert "toy" not in session.backends
        ranking = walle.rank(network())
        (row,) = (r for r in ranking if r.backend == "toy")
        assert row.predicted_s > 1
        assert ranking[-1].backend == "toy"


def test_a_part_is_predicted_to_take_as_long_as_its_copies_do():
    with installed(ToyDevice(transfer=1e3)):
        session = walle.Session(network(), backend="toy")
        (part,) = session.plan.parts
        assert part.predicted_s == pytest.approx(sum(t.seconds for t in part.transfers), rel=1e-3)
        assert sum(t.seconds for t in part.transfers) == pytest.approx((INPUT + 2 * OUTPUT) / 1e3)


def test_prepared_sessions_are_told():
    with installed(ToyDevice()) as events:
        session = walle.Session(network(), backend="toy")
    (kind, data) = events[-1]
    assert kind == "session.prepared"
    assert data["backends"] == session.backends == ["toy"]
    assert data["seconds"] > 0


def test_explain_tells_what_is_copied(tmp_path, capsys):
    path = tmp_path / "net.walle"
    save(network(), str(path))
    with installed(ToyDevice(slow={"Softplus": 1.0})):
        assert main(["explain", str(path), "--backend", "toy"]) == 0
        assert "toy on a toy: 4 steps, 655 kB to the device, 131 kB back, " in capsys.readouterr().out
