"""What every kind of isolation keeps: outcomes, limits, neighbours, order. One host per kind, shared by the tests."""

import sys
import threading
import time

import pytest

from walle_core import vm
from walle_core._native import Tensor, storage_stats
from walle_core.vm import Limits, Outcome, Policy, Task

OWN = sys.version_info >= (3, 12)
SHORT = Limits(wall_s=0.2)


@pytest.fixture(scope="module", params=["interpreter", "process", "thread"])
def host(request):
    if request.param == "interpreter" and not OWN:
        pytest.skip("Python 3.11 has no interpreters with a GIL of their own")
    with vm.TaskHost(2, request.param) as made:
        yield made


DOUBLE = Task("double", "def main(x): return 2 * x")
LOOP = Task("loop", "def main():\n  while True: pass")


def test_values_cross(host):
    echo = Task("echo", "def main(**given): return given")
    given = {
        "a": None, "b": True, "c": -(1 << 80), "d": 1.5, "e": "ü\0", "f": b"\0x", "g": [1, [2, ()]], "h": {"k": (1, {2: 3})},
    }  # fmt: skip
    assert host.submit(echo, given).result() == given


@pytest.mark.parametrize(
    ("body", "outcome", "error", "type"),
    [
        ("raise KeyError('k')", Outcome.ERROR, vm.TaskError, "KeyError"),
        ("raise SystemExit(3)", Outcome.EXIT, vm.TaskExit, "SystemExit"),
        ("import random as r; r.no_such_name", Outcome.ERROR, vm.TaskError, "AttributeError"),
        ("def f(): return f()\n  f()", Outcome.ERROR, vm.TaskError, "RecursionError"),
    ],
)
def test_a_task_that_fails_says_how(host, body, outcome, error, type):
    run = host.submit(Task("bad", f"def main():\n  {body}"))
    with pytest.raises(error) as caught:
        run.result(60)
    assert (run.outcome, caught.value.type) == (outcome, type)
    assert caught.value is run.error
    if type == "KeyError":
        assert 'File "<task bad>", line 2, in main' in caught.value.traceback
    assert host.submit(DOUBLE, {"x": 3}).result(60) == 6


def test_objects_do_not_cross(host):
    run = host.submit(Task("object", "def main(): return object()"))
    assert run.outcome is (Outcome.OK if host.mode == "thread" else Outcome.ERROR)
    if host.mode != "thread":
        assert "object" in run.error.text


def test_source_that_is_no_python(host):
    run = host.submit(Task("broken", "def main(:"))
    assert (run.outcome, run.error.type) == (Outcome.ERROR, "SyntaxError") or run.outcome is Outcome.REFUSED
    with pytest.raises((SyntaxError, vm.PolicyError)):
        host.load(Task("broken", "def main(:"))


def test_an_entry_that_is_missing(host):
    run = host.submit(Task("empty", "x = 1"))
    assert "defines no function main" in run.error.text


@pytest.mark.parametrize("where", ["main", "module"])
def test_an_endless_loop_ends_in_time(host, where):
    source = "while True: pass" if where == "module" else LOOP.source
    run = host.submit(Task("loop", source), limits=SHORT)
    assert run.outcome is Outcome.TIMEOUT
    assert run.timings.run_s >= 0.2
    with pytest.raises(vm.TaskTimeout):
        run.result()


def test_what_catches_everything_is_abandoned(host):
    stubborn = "import time\ndef main(until):\n  while time.time() < until:\n    try:\n      while time.time() < until: pass\n    except BaseException: pass"
    run = host.submit(Task("stubborn", stubborn), {"until": time.time() + 5}, SHORT)
    assert run.outcome is Outcome.TIMEOUT
    assert run.timings.run_s < 4  # it ends before the task does
    assert host.submit(DOUBLE, {"x": 4}).result(60) == 8
    end = time.monotonic() + 60
    while host.stats()[host.mode]["quarantined"] and time.monotonic() < end:
        time.sleep(0.01)
    assert host.stats()[host.mode]["quarantined"] == 0


def test_too_much_output(host):
    run = host.submit(
        Task("flood", "def main():\n  while True: print('x' * 99)"), limits=Limits(output_bytes=1000)
    )
    assert run.outcome is Outcome.OUTPUT
    assert len(run.logs) == 1000
    run = host.submit(Task("little", "def main():\n  print('one', 2)"), limits=Limits(output_bytes=1000))
    assert (run.outcome, run.logs) == (Outcome.OK, "one 2\n")


def test_cancelling(host):
    running = [host.submit(LOOP) for _ in range(2)]
    waiting = host.submit(LOOP, priority=-1)
    time.sleep(0.1)
    waiting.cancel()
    for run in running:
        run.cancel()
    assert [r.outcome for r in [waiting, *running]] == [Outcome.CANCELLED] * 3
    waiting.cancel()  # nothing, once it has ended


def test_neighbours_are_not_disturbed(host):
    bad = [
        Task(f"bad{i}", s)
        for i, s in enumerate([LOOP.source, "def main(): raise ValueError", "def main(): raise SystemExit"])
    ]
    runs = [host.submit(task, limits=SHORT) for task in bad]
    good = [host.submit(DOUBLE, {"x": i}) for i in range(200)]
    assert [run.result(60) for run in good] == [2 * i for i in range(200)]
    assert [run.outcome for run in runs] == [Outcome.TIMEOUT, Outcome.ERROR, Outcome.EXIT]


def test_a_heavy_task_does_not_starve_a_light_one(host):
    heavy = Task("heavy", "def main():\n  while True: pass")
    runs = [host.submit(heavy, limits=Limits(wall_s=100)) for _ in range(6)]
    time.sleep(0.05)
    light, lane = Task("light", DOUBLE.source), host.lanes[host.mode]
    for _ in range(2):
        assert host.submit(light, {"x": 1}).result(60) == 2
        assert not any(run.done() for run in runs)
        with lane.lock:
            lane.queue.charge(light, 50.0)  # nor if it has had more than its share
    for run in runs:
        run.cancel()
    assert all(run.wait(60).outcome is Outcome.CANCELLED for run in runs)


def test_map_keeps_the_order(host):
    assert list(host.map(DOUBLE, ({"x": i} for i in range(50)))) == [2 * i for i in range(50)]


def test_result_waits_no_longer_than_told(host):
    run = host.submit(LOOP, limits=Limits(wall_s=0.5))
    with pytest.raises(TimeoutError):
        run.result(0.01)
    assert run.outcome is Outcome.TIMEOUT


def test_refused_imports(host):
    for source in ("import subprocess\ndef main(): pass", "def main():\n  import ctypes"):
        run = host.submit(Task("import", source))
        assert run.outcome is Outcome.REFUSED
        with pytest.raises(vm.PolicyError, match="not grant"):
            run.result()
    at_run_time = "def main(name):\n  import importlib\n  return importlib.import_module(name)"
    assert host.submit(Task("late", at_run_time), {"name": "os"}).outcome is Outcome.REFUSED


def test_tasks_that_need_what_this_isolation_has_not(host):
    untrusted = host.submit(Task("t", "def main(): pass", policy=Policy(untrusted=True)))
    assert untrusted.outcome is (Outcome.OK if host.mode == "process" else Outcome.REFUSED)
    if host.mode == "interpreter":
        run = host.submit(Task("t", "def main(): pass", policy=Policy(numpy=True)))
        assert "isolation='process'" in str(run.error)


def test_tensors_are_handed_over_without_a_copy(host):
    live = storage_stats()[0]
    x = Tensor.of([1.0, 2.0, 3.0])
    task = Task("write", "def main(x):\n  memoryview(x)[0] = 7.0\n  return {'same': x, 'new': [x.copy()]}")
    out = host.submit(task, {"x": x}).result(60)
    if host.mode != "process":  # where inputs are shared, but not for writing
        assert x.tolist() == [7.0, 2.0, 3.0]
        assert out["same"].address == x.address
    assert out["new"][0].tolist() == [7.0, 2.0, 3.0]
    if host.mode != "process":
        other = Task("read", "def main(x): return x.address")  # from one task to another
        assert host.submit(other, {"x": out["new"][0]}).result(60) == out["new"][0].address
    del x, out
    assert storage_stats()[0] == live


def test_a_closed_host():
    made = vm.TaskHost(1, "thread")
    runs = [made.submit(LOOP) for _ in range(3)]
    time.sleep(0.05)
    made.close()
    assert {run.wait(60).outcome for run in runs} == {Outcome.CANCELLED}
    with pytest.raises(RuntimeError, match="closed"):
        made.submit(DOUBLE)


def test_arguments():
    from walle_core.errors import InputError, UnsupportedError

    with pytest.raises(InputError, match="isolation"):
        vm.TaskHost(isolation="vm")
    with pytest.raises(InputError, match="worker"):
        vm.TaskHost(0)
    if not OWN:
        with pytest.raises(UnsupportedError, match=r"3\.11"):
            vm.TaskHost(isolation="interpreter")
    with pytest.raises(ValueError, match="wall_s"):
        Limits(wall_s=0)


def test_submitting_from_many_threads(host):
    wrong = []

    def submit(n):
        for i in range(100):
            if host.submit(DOUBLE, {"x": n + i}).result(20) != 2 * (n + i):
                wrong.append((n, i))

    threads = [threading.Thread(target=submit, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
