"""One copy of a model's weights for all tasks of a process, and of its worker processes."""

import sys
from pathlib import Path

import numpy as np
import pytest

import walle_core as walle
from walle_core import Tensor, vm
from walle_core.errors import InputError, UnsupportedError
from walle_core.vm import Limits, Task

SIDE = 2048
WEIGHTS = 4 * SIDE * SIDE  # bytes
SMALL = Limits(wall_s=60, memory_mb=WEIGHTS / 2 / 2**20)  # no task can have a copy of the weights
RUN = """
import walle_core as walle
session = None
def main(x, name="wide"):
    global session
    if session is None:
        session = walle.shared_model(name)
    return list(session.run([x]).values())[0]
"""
WHERE = """
import os
def main(): return os.getpid()
"""


def graph(scale):
    builder = walle.Builder()
    x = builder.input("x", "float32", (1, SIDE))
    w = builder.const(np.tile((scale * (np.arange(SIDE) % 5)).astype(np.float32), (SIDE, 1)))
    return builder.graph([builder.MatMul(x, w)])


@pytest.fixture(scope="module")
def wide():
    with vm.share_model("wide", graph(1.0), backend="portable") as made:
        yield made


@pytest.fixture(params=["interpreter", "process", "thread"])
def host(request):
    if request.param == "interpreter" and sys.version_info < (3, 12):
        pytest.skip("Python 3.11 has no interpreters with a GIL of their own")
    with vm.TaskHost(2, request.param) as made:
        yield made


def files(pid):
    """(device, inode, bytes, permissions) of each mapping of a shared model."""
    rows = [
        line.split()
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
        if "walle-model-wide" in line
    ]
    sizes = [[int(n, 16) for n in row[0].split("-")] for row in rows]
    return {(row[3], row[4], end - begin, row[1]) for row, (begin, end) in zip(rows, sizes, strict=True)}


def test_all_tasks_run_on_the_same_memory(host, wide):
    assert wide.nbytes > WEIGHTS
    x = Tensor.of([[1.0] * SIDE])
    expected = [SIDE * (j % 5) for j in range(SIDE)]
    tasks = [Task(f"t{i}", RUN) for i in range(4)]
    runs = [host.submit(task, {"x": x}, SMALL) for task in tasks for _ in range(3)]
    assert [run.result().tolist()[0] for run in runs] == [expected] * len(runs)
    (own,) = files("self")  # one file, however many have mapped it
    assert own[2] >= wide.nbytes
    assert own[3] == "r--s"
    if host.mode == "process":
        from walle_core.vm.allow import DEFAULT

        where = Task("where", WHERE, policy=vm.Policy(imports=DEFAULT | {"os"}))
        task = Task("t", RUN, policy=where.policy)
        host.submit(task, {"x": x}, SMALL).result()
        pids = {host.submit(where).result() for _ in range(8)}
        mapped = [files(pid) for pid in pids if files(pid)]
        assert mapped
        assert {row[:2] for rows in mapped for row in rows} == {own[:2]}


def test_a_task_may_open_it_while_it_is_loaded(host, wide):
    source = 'from walle_core import shared_model\nsession = shared_model("wide")\ndef main(x): return list(session.run([x]).values())[0]'
    run = host.submit(Task("early", source), {"x": Tensor.of([[1.0] * SIDE])}, SMALL)
    assert run.result().tolist()[0][:3] == [0.0, SIDE, 2 * SIDE]


def test_a_copy_would_not_have_fitted(host, wide):
    """That the limit above says something."""
    task = Task(
        "copy", f"import walle_core as walle\ndef main(): return walle.Tensor(({WEIGHTS},), 'uint8').nbytes"
    )
    run = host.submit(task, limits=SMALL)
    assert run.outcome is (vm.Outcome.OK if host.mode == "thread" else vm.Outcome.MEMORY)


def test_names(host, wide):
    x = Tensor.of([[1.0] * SIDE])
    run = host.submit(Task("t", RUN), {"x": x, "name": "none"})
    assert run.error.type == "InputError"
    assert "share_model('none'" in run.error.text
    with vm.share_model("other", graph(2.0), backend="portable") as other:
        with vm.share_model("other", graph(3.0), backend="portable"):  # takes the name
            got = host.submit(Task("t", RUN), {"x": x, "name": "other"}, SMALL).result()
            assert got.tolist()[0][:3] == [0.0, 3.0 * SIDE, 6.0 * SIDE]
            other.close()  # is no longer its
            assert len(walle.shared_model("other").outputs) == 1
        with pytest.raises(InputError, match="no model"):
            vm.shared_model("other")


def test_what_cannot_be_shared():
    builder = walle.Builder()
    x = builder.input("x", "float32", ("n", 4))
    open_shape = builder.graph([builder.Relu(x)])
    with pytest.raises(UnsupportedError, match="changing shapes"):
        vm.share_model("open", open_shape)


def test_a_session_outlives_the_name():
    with vm.share_model("short", graph(1.0), backend="portable"):
        session = vm.shared_model("short")
    (made,) = session.run([Tensor.of([[1.0] * SIDE])]).values()
    got = made.tolist()[0]
    assert got[:3] == [0.0, SIDE, 2 * SIDE]
    assert session.image() is not None  # can be shared again
