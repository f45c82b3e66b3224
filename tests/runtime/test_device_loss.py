"""A device that fails: a clear error or the right result from other backends, whenever it happens; never a wrong result."""

import threading

import attrs
import numpy as np
import pytest
from toy_device import POINTS, ToyDevice, installed

import walle_core as walle
from walle_core import cost
from walle_core.cli import main
from walle_core.errors import (
    BackendError,
    DeviceError,
    DeviceLostError,
    DeviceMemoryError,
    InputError,
    ModelError,
    PluginError,
    located,
)
from walle_core.frontends.walle_file import save
from walle_core.graph.builder import Builder
from walle_core.prepared import StoredPlan

LOADING = ("devices", "calibrate", "candidates", "prepare")
STEPS = 4  # nodes of `network`


@pytest.fixture(autouse=True)
def no_rates_kept(monkeypatch):
    monkeypatch.setattr(cost, "save_rates", lambda *_: None)


def network(rows=3):
    """A recurrent step: (x, state) -> (y, next state)."""
    rng = np.random.default_rng(1)
    g = Builder()
    x, state = g.input("x", "float32", (rows, 16)), g.input("state", "float32", (rows, 16))
    w = g.const(walle.Tensor.wrap(rng.uniform(-1, 1, (16, 16)).astype(np.float32)))
    after = g.Tanh(g.Add(g.MatMul(x, w), state))
    return g.graph([g.Softplus(after), after])


def feeds(seed=0, rows=3):
    rng = np.random.default_rng(seed)
    return {n: rng.uniform(-1, 1, (rows, 16)).astype(np.float32) for n in ("x", "state")}


def arrays(outputs):
    return [np.array(v) for v in outputs.values()]


def same(got, wanted):
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def reference():
    return walle.Session(network("n"), backend="reference")


def kinds(events):
    return [kind for kind, _ in events]


PASSAGES = [(p, 0) for p in POINTS] + [("candidates", 2), ("upload", 1), ("download", 1)]
PASSAGES += [("launch", n) for n in range(1, STEPS)] + [("launch", 2 * STEPS + 1)]


@pytest.mark.parametrize("error", [DeviceError, DeviceLostError, DeviceMemoryError])
@pytest.mark.parametrize(("point", "after"), PASSAGES)
def test_every_point_of_failure(reference, point, after, error):
    """`after` more passages of the point succeed; the last of them is in the third run."""
    for policy in ("raise", "replan"):
        toy = ToyDevice()
        toy.breaks(point, after, error)
        with installed(toy) as events:
            try:
                session = walle.Session(network(), on_device_loss=policy)
                for seed in range(4):
                    same(arrays(session.run(feeds(seed))), arrays(reference.run(feeds(seed))))
            except DeviceError as failure:
                assert policy == "raise"
                assert type(failure) is error
                assert failure.backend == "toy"
                for part in ("backend 'toy'", f"at {point}", "graph", "on_device_loss='replan'"):
                    assert part in str(failure)
                assert kinds(events)[-1] == "device.lost"
            else:
                assert policy == "replan"
                assert session.lost == ("toy",)
                assert "toy" not in session.backends
                (lost,) = (data for kind, data in events if kind == "device.lost")
                assert (lost["backend"], lost["reason"]) == ("toy", error.__name__)
                (again,) = (data for kind, data in events if kind == "session.replanned")
                assert again["lost"] == ["toy"]
                assert again["backends"] == session.backends
            if point not in LOADING:
                assert kinds(events)[0] == "session.prepared"


def test_state_that_is_carried_from_run_to_run_stays_right(reference):
    """The device dies in the middle of a sequence: every output is that of a sequence without the failure."""
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network(), on_device_loss="replan")
        assert session.backends == ["toy"]
        toy.breaks("launch", 7 * STEPS + 3)
        states = {s: np.zeros((3, 16), np.float32) for s in (session, reference)}
        for seed in range(12):
            made = {}
            for s, state in states.items():
                y, states[s] = arrays(s.run({"x": feeds(seed)["x"], "state": state}))
                made[s] = [y, states[s]]
            same(made[session], made[reference])
        assert session.lost == ("toy",)


def test_inputs_of_the_caller_are_read_again_and_not_changed(reference):
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network(), on_device_loss="replan")
        toy.breaks("download", 1)
        given = feeds()
        before = {n: v.copy() for n, v in given.items()}
        same(arrays(session.run(given)), arrays(reference.run(before)))
        assert all(np.array_equal(given[n], before[n]) for n in given)


def test_a_loop_is_made_anew_from_its_start():
    g, body = Builder(), Builder("body")
    body.input("i", "int64", ())
    going, carried = body.input("going", "bool", ()), body.input("carried", "float32", (4,))
    out = body.Add(body.Mul(carried, body.const(np.float32(1.5))), body.const(np.float32(1)))
    inner = body.graph([body.Identity(going), out])
    x = g.input("x", "float32", (4,))
    turns = g.input("turns", "int64", ())
    graph = g.graph([g.Loop(turns, g.const(True, "bool"), g.Exp(x), body=inner)])
    given = {"x": np.arange(4, dtype=np.float32), "turns": np.int64(9)}
    wanted = arrays(walle.Session(graph, backend="reference").run(given))
    for after in range(0, 24, 3):
        toy = ToyDevice()
        with installed(toy):
            session = walle.Session(graph, on_device_loss="replan")
            toy.breaks("launch", after)
            same(arrays(session.run(given)), wanted)
            assert session.lost == (("toy",) if toy.lost else ())
            assert toy.lost or after > 15


def test_sessions_in_threads_plan_anew_once(reference):
    wanted = [arrays(reference.run(feeds(seed))) for seed in range(6)]
    for after in (0, 5, 131):
        toy, failed = ToyDevice(), []
        with installed(toy) as events:
            session = walle.Session(network(), on_device_loss="replan", threads=1)
            toy.breaks("launch", after)
            gate = threading.Barrier(6)

            def work(seed, gate=gate, session=session, failed=failed):
                try:
                    gate.wait()
                    for _ in range(15):
                        same(arrays(session.run(feeds(seed))), wanted[seed])
                except BaseException as error:
                    failed.append(error)

            threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            assert not failed
            assert toy.lost
            assert kinds(events) == ["session.prepared", "device.lost", "session.replanned"]


def test_one_device_after_the_other(reference):
    first, second = ToyDevice("first"), ToyDevice("second", slow={"Tanh": 1e-7})
    with installed(first, second) as events:
        session = walle.Session(network(), on_device_loss="replan")
        assert session.backends == ["first"]
        first.breaks("launch", 2)
        second.breaks("launch", 3)  # while it makes the run of the first one anew
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))
        assert session.lost == ("first", "second")
        assert kinds(events)[1:] == ["device.lost", "session.replanned"] * 2


def test_a_device_that_fails_while_another_is_replaced(reference):
    first, second = ToyDevice("first"), ToyDevice("second", slow={"Tanh": 1e-7})
    with installed(first, second) as events:
        session = walle.Session(network(), on_device_loss="replan")
        first.breaks("launch", 2)
        second.breaks("prepare")
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))
        assert session.lost == ("first", "second")
        assert kinds(events)[1:] == ["device.lost", "device.lost", "session.replanned"]


def test_a_part_between_others_is_replaced_and_the_others_stay(reference):
    first, second = ToyDevice("first", lacks=["Tanh"]), ToyDevice("second", slow={"": 1, "Tanh": 1e-9})
    third = ToyDevice("third", slow={"": 2})
    with installed(first, second, third):
        session = walle.Session(network(), backend=["first", "second", "third"], on_device_loss="replan")
        assert [p.backend for p in session.plan.parts] == [
            "second",
            "first",
        ]  # the product and Tanh are one node
        second.breaks("launch")
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))
        assert session.lost == ("second",)
        assert [p.backend for p in session.plan.parts] == ["third", "first"]


def test_no_backend_is_left_and_the_device_comes_back(reference):
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network(), backend=["toy"], on_device_loss="replan")
        toy.breaks("launch", 1)
        for _ in range(2):  # the second time it is the same: nothing was given up
            with pytest.raises(
                DeviceLostError, match=r"'toy' on a toy: .*nothing else can run this.*no backend is left"
            ):
                session.run(feeds())
        assert session.lost == ()
        toy.repair()
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))


def test_what_remains_lacks_an_operator():
    with installed(ToyDevice(), other := ToyDevice("other", lacks=["Softplus"])):
        toy = walle.load_plugins().backends["toy"]
        session = walle.Session(network(), backend=["toy", "other"], on_device_loss="replan")
        toy.breaks("upload")
        with pytest.raises(DeviceLostError, match="no backend among other runs node Softplus"):
            session.run(feeds())
        assert not other.calls["launch"]


def test_a_backend_that_was_named_is_replaced_by_any_other(reference):
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network(), backend="toy", on_device_loss="replan")
        toy.breaks("launch")
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))
        assert session.lost == ("toy",)


def test_a_backend_that_was_named_stays_when_one_that_helps_it_fails(reference):
    toy, helper = ToyDevice(lacks=["Tanh"], slow={"": 1.0}), ToyDevice("helper", slow={"": 2e-9})
    with installed(toy, helper):
        session = walle.Session(network(), backend="toy", on_device_loss="replan")
        assert session.backends == ["helper", "toy"]
        helper.breaks("launch")
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))
        assert session.lost == ("helper",)
        assert session.plan.parts[-1].backend == "toy"


@pytest.mark.parametrize("error", [DeviceMemoryError, MemoryError])
def test_not_enough_memory_at_load(reference, error):
    toy = ToyDevice()
    toy.breaks("prepare", 0, error)
    with installed(toy):
        with pytest.raises(DeviceMemoryError, match="backend 'toy' on a toy"):
            walle.Session(network())
        toy.repair()
        toy.breaks("prepare", 0, error)
        session = walle.Session(network(), on_device_loss="replan")
        assert session.lost == ("toy",)
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))


def test_not_enough_memory_for_larger_shapes(reference):
    """Inputs too large for every backend: an error, and what ran before still runs where it did."""
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network("n"), backend=["toy"], on_device_loss="replan")
        session.run(feeds(rows=3))
        toy.breaks("prepare", 0, MemoryError)
        with pytest.raises(DeviceMemoryError, match="not enough memory"):
            session.run(feeds(rows=5))
        same(arrays(session.run(feeds(rows=3))), arrays(reference.run(feeds(rows=3))))
        assert session.backends == ["toy"]
        session = walle.Session(network("n"), backend=["toy", "reference"], on_device_loss="replan")
        toy.repair()
        session.run(feeds(rows=3))
        toy.breaks("prepare", 0, DeviceMemoryError)
        for rows in (5, 3, 4):
            same(arrays(session.run(feeds(1, rows))), arrays(reference.run(feeds(1, rows))))
        assert session.lost == ("toy",)


def test_profiles_name_the_device_too():
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network(), backend="toy")
        toy.breaks("launch")
        with pytest.raises(DeviceLostError, match="backend 'toy' on a toy"):
            session.profile(feeds())


class Gone:
    """An executable of a device that is gone."""

    def run(self, inputs):
        raise DeviceLostError("the driver does not answer")

    def describe(self):
        return []


@pytest.fixture
def restored(tmp_path, monkeypatch):
    """A session that started from a kept plan, whose device is gone."""
    monkeypatch.delenv("WALLE_CACHE_LIMIT")
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path))
    path = tmp_path / "net.walle"
    save(network(), str(path))
    walle.Session(path, backend="portable", on_device_loss="replan")
    session = walle.Session(path, backend="portable", on_device_loss="replan")
    assert isinstance(session.plan, StoredPlan)
    (part,) = session.plan.parts
    session._fixed = StoredPlan([attrs.evolve(part, executable=Gone())])
    return session, path


def test_a_kept_plan_is_made_anew_from_the_model(reference, restored):
    session, path = restored
    before = [p.stat().st_mtime_ns for p in path.parent.glob("plan-*")]
    same(arrays(session.run(feeds())), arrays(reference.run(feeds())))
    assert session.lost == ("portable",)
    assert [p.stat().st_mtime_ns for p in path.parent.glob("plan-*")] == before


def test_a_kept_plan_of_a_file_that_is_another_model_now(restored):
    session, path = restored
    g = Builder()
    x, state = g.input("x", "float32", (3, 16)), g.input("state", "float32", (3, 16))
    save(g.graph([g.Neg(x), g.Neg(state)]), str(path))
    with pytest.raises(DeviceLostError, match="was changed while a Session of it is open"):
        session.run(feeds())
    with pytest.raises(ModelError, match="was changed"):
        _ = session.graph


def test_plans_made_without_a_lost_device_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("WALLE_CACHE_LIMIT")
    monkeypatch.setenv("WALLE_CACHE", str(tmp_path))
    path = tmp_path / "net.walle"
    save(network(), str(path))
    toy = ToyDevice()
    toy.breaks("prepare")
    with installed(toy):
        session = walle.Session(path, backend=["toy", "portable"], on_device_loss="replan")
        assert session.backends == ["portable"]
        assert not list(tmp_path.glob("plan-*"))


def test_observers_that_raise_do_not_stop_the_run(reference):
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network(), on_device_loss="replan")
        plugins = walle.load_plugins()

        def refuse(event):
            raise PluginError("no")

        plugins._observers["core"] = refuse
        toy.breaks("launch")
        same(arrays(session.run(feeds())), arrays(reference.run(feeds())))
        assert "core" not in plugins._observers
        plugins.report["core"] = attrs.evolve(plugins.report["core"], error="")


def test_an_unknown_policy():
    with pytest.raises(InputError, match="on_device_loss 'ignore' is not one of raise, replan"):
        walle.Session(network(), on_device_loss="ignore")


def test_errors_keep_what_they_know():
    error = DeviceLostError("unplugged")
    error.backend, error.device = "toy", "a toy"
    found = located(error, "net.onnx")
    assert (type(found), found.backend, found.device) == (DeviceLostError, "toy", "a toy")
    assert str(found) == "net.onnx: unplugged"
    assert isinstance(found, BackendError)


class Coded(DeviceError):
    """An error of a plugin whose constructor wants something else."""

    def __init__(self, code, *, driver):
        super().__init__(f"code {code} of {driver}")
        self.code = code


def test_errors_of_plugins_keep_their_class():
    toy = ToyDevice()
    with installed(toy):
        session = walle.Session(network(), backend=["toy"])
        toy.reach = lambda _: (_ for _ in ()).throw(Coded(7, driver="toy 1.2"))
        with pytest.raises(
            Coded, match=r"graph: backend 'toy' on a toy: code 7 of toy 1\.2; check the device"
        ) as caught:
            session.run(feeds())
        assert caught.value.code == 7


@pytest.mark.parametrize(
    ("point", "after"),
    [("devices", 0), ("calibrate", 0), ("candidates", 0), ("candidates", 1), ("launch", 0)],
)
def test_a_ranking_has_a_line_for_a_device_that_fails(point, after):
    toy = ToyDevice()
    with installed(toy):
        toy.breaks(point, after)
        measure = point == "launch"
        rows = list(walle.rank(network(), measure=measure))
    assert rows[-1].backend == "toy"
    assert f"at {point}" in rows[-1].error
    assert len(rows) > 1
    assert not any(r.error for r in rows[:-1])
    assert all((r.measured_s is not None) == measure for r in rows[:-1])


def test_a_named_backend_does_not_need_the_others():
    toy = ToyDevice()
    with installed(toy):
        toy.breaks("devices")
        assert walle.Session(network(), backend="reference").backends == ["reference"]
        with pytest.raises(DeviceLostError, match="backend 'toy' on its device: at devices"):
            walle.Session(network())


def test_a_list_of_devices_has_a_line_for_one_that_fails(capsys):
    toy = ToyDevice()
    with installed(toy):
        toy.breaks("calibrate")
        assert main(["devices"]) == 0
    out = capsys.readouterr().out
    assert "toy: a toy at calibrate 1" in out
    assert "reference: NumPy" in out


def test_command_line(tmp_path, capsys):
    path = tmp_path / "net.walle"
    save(network(), str(path))
    toy = ToyDevice()
    with installed(toy):
        for policy, code in (("raise", 2), ("replan", 0)):
            toy.repair()
            toy.breaks("launch")
            arguments = ["run", str(path), "--zeros", "--backend", "toy", "--on-device-loss", policy]
            assert main(arguments) == code
            out, err = capsys.readouterr()
            assert ("given up because their devices failed: toy" in err) == (policy == "replan")
            assert ("backend 'toy' on a toy: at launch" in err) == (policy == "raise")
            assert ("float32" in out) == (policy == "replan")
