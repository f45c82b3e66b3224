"""Runs that are deep in native code when their time is over: they stop there, and their worker goes on.

The calls below take much longer than the grace: a run that did not stop by itself would be abandoned, which is what the tests see.
"""

import contextlib
import sys
import time

import attrs
import numpy as np
import pytest

from walle_core import matrix, vm
from walle_core.vm import Limits, Outcome, Task

OWN = sys.version_info >= (3, 12)
WARM = Limits(wall_s=120, memory_mb=512, grace_s=5)
SHORT = Limits(wall_s=0.2, memory_mb=512, grace_s=5)

MODEL = """
import walle_core as walle
session = x = None
def main(threads):
    global session, x
    if session is None:
        builder = walle.Builder()
        x = walle.Tensor((1024, 1024))
        w = builder.const(walle.Tensor((1024, 1024)))
        value = builder.input("x", "float32", (1024, 1024))
        for _ in range(120):
            value = builder.MatMul(value, w)
        session = walle.Session(builder.graph([value]), backend="portable", threads=threads)
    else:
        session.run([x])
"""
ARRAYS = {
    "matmul of integers": "xp.matmul(a, a)",
    "svd": "xp.linalg.svd(xp.astype(a[:1400, :1400], xp.float64))",
    "eigh": "xp.linalg.eigh(xp.astype(a[:2000, :2000], xp.float64))",
}
ARRAY = """
from walle_core import matrix as xp
def main(n):
    a = xp.reshape(xp.arange(n * n) % 1000003, (n, n))
    {}
"""


@pytest.fixture(params=["interpreter", "thread"])
def host(request):
    if request.param == "interpreter" and not OWN:
        pytest.skip("Python 3.11 has no interpreters with a GIL of their own")
    with vm.TaskHost(1, request.param) as made:
        yield made


def stopped(host, run):
    """The run ended where it was told to, not abandoned, and its worker takes the next one."""
    assert run.outcome is Outcome.TIMEOUT
    assert "abandoned" not in run.error.text
    assert host.stats()[host.mode]["quarantined"] == 0
    assert host.submit(Task("next", "def main(): return 1"), limits=WARM).result() == 1
    return True


@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_stops_between_steps_and_within_them(host, threads):
    task = Task("model", MODEL)
    assert host.submit(task, {"threads": threads}, WARM).outcome is Outcome.OK
    assert stopped(host, host.submit(task, {"threads": threads}, SHORT))


@pytest.mark.parametrize("name", ARRAYS)
def test_a_matrix_algorithm_stops_between_blocks(host, name):
    task = Task(name, ARRAY.format(ARRAYS[name]))
    assert host.submit(task, {"n": 0}, WARM).wait().outcome in (Outcome.OK, Outcome.ERROR)  # imports
    assert stopped(host, host.submit(task, {"n": 2500}, SHORT))


# Each takes more than ten times the limit and is not waited for; test_looking.py has the others, of which none lasts in little memory.
FAMILIES = {
    "sort": "xp.sort(xp.tile(xp.astype(xp.arange(10**6) * 7919 % 1000003, xp.float64), (36, 1)))",
    "picture": "cv.bilateralFilter(walle.Tensor((1500, 1500, 3), 'uint8'), 25, 50, 50)",
    "equations": "cv.solve(walle.Tensor.of([[float(i == j) + 1 / (i + j + 1) for j in range(400)] for i in range(400)], 'float64'), "
    "walle.Tensor((400, 1), 'float64'), cv.DECOMP_SVD)",
}
FAMILY = """
import walle_core as walle
from walle_core import audio, cv, matrix as xp
def main(go):
    if go:
        {}
"""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_call_that_lasts_stops_within_it(name):
    with vm.TaskHost(1, "interpreter" if OWN else "thread") as host:
        task = Task(name, FAMILY.format(FAMILIES[name]))
        assert host.submit(task, {"go": False}, WARM).wait().outcome is Outcome.OK  # imports
        run = host.submit(task, {"go": True}, attrs.evolve(SHORT, memory_mb=1024, grace_s=1.5))
        assert stopped(host, run)


def test_a_run_in_native_code_can_be_cancelled(host):
    task = Task("model", MODEL)
    assert host.submit(task, {"threads": 1}, WARM).outcome is Outcome.OK
    run = host.submit(task, {"threads": 1}, WARM)
    time.sleep(0.2)
    run.cancel()
    assert run.outcome is Outcome.CANCELLED
    assert host.stats()[host.mode]["quarantined"] == 0


def test_who_swallows_the_error_is_stopped_all_the_same(host):
    source = MODEL.replace(
        "        session.run([x])",
        "        while True:\n            try:\n                session.run([x])\n            except Exception:\n                pass",
    )
    task = Task("model", source)
    assert host.submit(task, {"threads": 1}, WARM).outcome is Outcome.OK
    assert stopped(host, host.submit(task, {"threads": 1}, SHORT))


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_what_cannot_be_stopped_goes_on_at_the_lowest_priority_and_is_replaced():
    import os

    if not OWN:
        pytest.skip("Python 3.11 has no interpreters with a GIL of their own")
    with vm.TaskHost(1, "interpreter") as host:
        lane = host.lanes["interpreter"]
        before = lane.slots[0]
        run = host.submit(
            Task("c", "def main(): return sum(range(3 * 10**7))"), limits=Limits(wall_s=0.1, grace_s=0.05)
        )
        assert run.outcome is Outcome.TIMEOUT
        assert "abandoned" in run.error.text
        assert lane.slots != [before]
        with contextlib.suppress(ProcessLookupError):  # it may have returned since
            assert os.getpriority(os.PRIO_PROCESS, before.native) == 19
        assert host.submit(Task("next", "def main(): return 1"), limits=WARM).result() == 1
        before.thread.join(60)
        assert host.stats()["interpreter"]["quarantined"] == 0


@pytest.mark.skipif(not OWN, reason="Python 3.11 has no interpreters with a GIL of their own")
def test_a_task_that_cannot_be_stopped_gets_no_more_runs_until_they_return():
    from walle_core import Tensor
    from walle_core.vm.lane import MOST_ABANDONED

    # loops in C, without bytecode between, until the host writes into the tensor
    source = (
        "import itertools\ndef main(over): return any(map(memoryview(over).__getitem__, itertools.repeat(0)))"
    )
    task, over = Task("stubborn", source), Tensor((1,), "uint8")
    limits = Limits(wall_s=0.05, grace_s=0.05)
    with vm.TaskHost(1, "interpreter") as host:
        for _ in range(MOST_ABANDONED):
            assert host.submit(task, {"over": over}, limits).outcome is Outcome.TIMEOUT
        assert host.stats()["interpreter"]["quarantined"] == MOST_ABANDONED
        run = host.submit(task, {"over": over}, limits)
        assert run.outcome is Outcome.REFUSED
        assert "could not be stopped" in run.error.text
        assert host.submit(Task("other", "def main(): return 1"), limits=WARM).result() == 1
        memoryview(over)[0] = 1
        end = time.monotonic() + 60
        while host.stats()["interpreter"]["quarantined"] and time.monotonic() < end:
            time.sleep(0.01)
        assert host.submit(task, {"over": over}, WARM).result() is True


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_in_parts_sum_as_whole_ones_do(dtype):
    draw = np.random.default_rng(1)
    a, b = draw.standard_normal((1030, 1100)).astype(dtype), draw.standard_normal((1100, 1050)).astype(dtype)
    whole = np.asarray(matrix.matmul(matrix.asarray(a), matrix.asarray(b)))
    rows = [
        np.asarray(matrix.matmul(matrix.asarray(a[i : i + 206]), matrix.asarray(b)))
        for i in range(0, 1030, 206)
    ]
    assert np.array_equal(whole, np.concatenate(rows))
    np.testing.assert_allclose(whole, a @ b, rtol=0, atol=2e-3 if dtype == "float32" else 1e-11)
