"""What interpreters with a GIL of their own keep beyond that: state of modules, memory, processes that go on."""

import os
import subprocess
import sys
import threading
import time

import pytest

from walle_core import vm
from walle_core._native import Tensor, storage_stats
from walle_core.vm import Limits, Outcome, Policy, Task, allow

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="Python 3.11 has no interpreters with a GIL of their own"
)


@pytest.fixture(scope="module")
def host():
    """One worker, so that all tasks share one interpreter."""
    with vm.TaskHost(1, "interpreter") as made:
        yield made


STATE = """
import json, math, os, logging
mark = None
def main(put=None):
    global mark
    if put is not None:
        mark = json.mark = put
        os.environ['WALLE_MARK'] = str(put)
        json.loads = lambda text: put
        math.pi = put
        logging.getLogger().setLevel(10 * put)
        logging.getLogger('own').disabled = True
    return [mark, getattr(json, 'mark', None), os.environ.get('WALLE_MARK'), json.loads('5'), round(math.pi, 2),
            logging.getLogger().level, logging.getLogger('own').disabled]
"""


def changed(by):
    return [by, by, str(by), by, by, 10 * by, True]


FRESH = [None, None, None, 5, 3.14, 30, False]
GRANT = Policy(imports=allow.DEFAULT | {"os"})


def state(name):
    return Task(name, STATE, policy=GRANT)


def test_tasks_do_not_see_each_other(host):
    one, two = state("one"), state("two")
    assert host.submit(one).result(60) == FRESH
    assert host.submit(one, {"put": 1}).result(60) == changed(1)
    assert host.submit(two).result(60) == FRESH
    assert host.submit(two, {"put": 2}).result(60) == changed(2)
    assert host.submit(one).result(60) == changed(1)
    assert host.submit(two).result(60) == changed(2)
    assert host.submit(state("three")).result(60) == FRESH
    assert "WALLE_MARK" not in os.environ


def test_seeds_are_the_tasks_own(host):
    source = "import random\ndef main(seed=None):\n  if seed is not None: random.seed(seed)\n  return random.random()"
    one, two = Task("one", source), Task("two", source)
    first = host.submit(one, {"seed": 1}).result(60)
    second = host.submit(one).result(60)
    host.submit(one, {"seed": 1}).result(60)
    host.submit(two, {"seed": 2}).result(60)
    assert host.submit(one).result(60) == second != first
    a, b = Task("a", source, seed=7), Task("b", source, seed=7)
    assert host.submit(a).result(60) == host.submit(b).result(60)


def test_a_module_that_a_task_imports_first_is_clean_for_the_next(host):
    source = "import colorsys, {0}\ndef main(put=None):\n  if put: colorsys.x = put\n  return getattr(colorsys, 'x', None)"
    one, two = (
        Task(n, source.format("xml.dom"), policy=Policy(imports={"colorsys", "xml"})) for n in ("one", "two")
    )
    assert host.submit(one, {"put": 1}).result(60) == 1
    assert host.submit(two).result(60) is None
    uses = Task("uses", "import xml.dom\ndef main(): return xml.dom.__name__", policy=Policy(imports={"xml"}))
    assert host.submit(uses).result(60) == "xml.dom"


def test_an_import_that_was_interrupted_can_be_made_again(tmp_path, monkeypatch):
    package, go = tmp_path / "walle_halfway", tmp_path / "go"
    (package / "deep").mkdir(parents=True)
    (package / "part.py").write_text("value = 7\n__all__ = ['value']\n")
    (package / "deep" / "__init__.py").write_text("from walle_halfway.deep.end import *\nfound = end.value\n")
    (package / "deep" / "end.py").write_text("value = 8\n")
    wait = f"import os\nwhile not os.path.exists({str(go)!r}): pass\n"
    (package / "__init__.py").write_text(
        f"from walle_halfway.part import *\nfrom walle_halfway.deep import found\n{wait}known = part.value, deep.found\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    source = "def main():\n  import walle_halfway\n  return walle_halfway.known"
    task = Task("half", source, policy=Policy(imports={"walle_halfway"}))
    with vm.TaskHost(1, "interpreter") as own:
        run = own.submit(task, limits=Limits(wall_s=0.5, grace_s=10))
        assert run.outcome is Outcome.TIMEOUT
        go.write_text("")
        assert own.submit(task, limits=Limits(wall_s=60)).result() == (7, 8)
        assert own.stats()["interpreter"]["recycled"] == 1  # parts of it were loaded


KILLS = int(os.environ.get("WALLE_IMPORT_KILLS", "12"))  # 1000 in the full form


def test_runs_that_are_stopped_while_they_import_leave_interpreters_whole():
    source = "from walle_core import matrix as xp\ndef main(): return float(xp.sum(xp.arange(10)))"
    with vm.TaskHost(2, "interpreter") as own:
        for n in range(KILLS):
            early = own.submit(
                Task("early", source), limits=Limits(wall_s=0.001 + 0.004 * (n % 12), grace_s=10)
            )
            good = own.submit(Task("good", source), limits=Limits(wall_s=60))
            assert good.result() == 45.0
            assert early.wait().outcome in (Outcome.OK, Outcome.TIMEOUT)
        assert own.stats()["interpreter"]["quarantined"] == 0


HOGS = {
    "list": "x = [0] * 10**8",
    "objects": "x = []\n  while True: x.append(object())",
    "dict": "x = {}\n  for i in range(10**9): x[i] = str(i)",
    "bytes": "x = b'a'\n  while True: x += x",
    "int": "x = 1 << 10**10",
    "tensors": "from walle_core import Tensor\n  x = []\n  while True: x.append(Tensor((1000, 100)))",
}


@pytest.mark.parametrize("kind", HOGS)
def test_memory_is_limited(host, kind):
    run = host.submit(Task(kind, f"def main():\n  {HOGS[kind]}"), limits=Limits(memory_mb=32))
    assert run.outcome is Outcome.MEMORY
    with pytest.raises(vm.TaskMemoryError):
        run.result()
    assert host.submit(Task("ok", "def main(): return len(bytes(10_000_000))")).result(60) == 10_000_000
    assert len(bytes(100_000_000)) == 100_000_000  # the host's own memory is not concerned


def test_logging_and_warnings_are_the_runs_logs(host):
    task = Task(
        "logs",
        "import logging, warnings\ndef main():\n  logging.warning('careful')\n  warnings.warn('look')\n  print('done')",
    )
    run = host.submit(task)
    assert run.wait(60).outcome is Outcome.OK
    assert all(text in run.logs for text in ("careful", "look", "done"))


def test_files_are_granted(host, tmp_path):
    (tmp_path / "in.txt").write_text("text")
    read = Task("read", "def main(path): return open(path).read()", policy=Policy(read=(str(tmp_path),)))
    assert host.submit(read, {"path": str(tmp_path / "in.txt")}).result(60) == "text"
    assert host.submit(read, {"path": "/etc/hostname"}).outcome is Outcome.REFUSED
    assert host.submit(read, {"path": f"{tmp_path}/../../../etc/hostname"}).outcome is Outcome.REFUSED
    write = Task("write", "def main(path): open(path, 'w').write('no')", policy=Policy(read=(str(tmp_path),)))
    assert host.submit(write, {"path": str(tmp_path / "in.txt")}).outcome is Outcome.REFUSED
    assert (tmp_path / "in.txt").read_text() == "text"


def test_a_call_of_c_code_that_does_not_return_is_abandoned():
    with vm.TaskHost(1, "interpreter") as own:
        run = own.submit(Task("c", "def main(): return sum(range(10**8))"), limits=Limits(wall_s=0.1))
        assert run.outcome is Outcome.TIMEOUT
        assert own.stats()["interpreter"]["quarantined"] == 1
        assert own.submit(Task("ok", "def main(): return 1")).result(60) == 1
        end = time.monotonic() + 60
        while own.stats()["interpreter"]["quarantined"] and time.monotonic() < end:
            time.sleep(0.02)
        assert own.stats()["interpreter"]["quarantined"] == 0


def test_the_process_ends_well_with_interpreters_open(tmp_path):
    script = "from walle_core import vm\nh = vm.TaskHost(2, 'interpreter')\nprint(h.submit(vm.Task('t', 'def main(): return 5')).result())"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_many_tasks_in_one_interpreter_are_forgotten_in_turn(host):
    tasks = [Task(f"t{i}", f"def main(): return {i}") for i in range(600)]
    for _ in range(2):
        assert [host.submit(t).result(60) for t in tasks] == list(range(600))


MIXED = {
    "good": ("def main(n): return sum(i * i % 7 for i in range(n))", 500, None),
    "error": ("def main(n): return [1][n]", 5, Outcome.ERROR),
    "loop": ("def main(n):\n  while True: n += 1", 0, Outcome.TIMEOUT),
    "hog": ("def main(n):\n  x = []\n  while True: x.append(bytes(1000))", 0, Outcome.MEMORY),
    "json": ("import json\ndef main(n): return len(json.dumps([{'a': i} for i in range(n)]))", 50, None),
    "exit": ("def main(n): raise SystemExit(n)", 1, Outcome.EXIT),
    "flood": ("def main(n):\n  while True: print('x' * 500)", 0, Outcome.OUTPUT),
}
COUNT = 10_000


def test_mixed_tasks_with_kills_from_four_threads():
    """10^4 tasks in the full form: right results, right outcomes, no storage left."""
    import random

    live = storage_stats()[0]
    tensor = Task("tensor", "def main(x, n):\n  y = x.copy()\n  memoryview(y)[0] = float(n)\n  return y")
    shared = [Tensor.of([0.5] * 256)]
    tasks = {name: Task(name, source) for name, (source, _, _) in MIXED.items()}
    expected = {"good": sum(i * i % 7 for i in range(500)), "json": len(str([{"a": i} for i in range(50)]))}
    wrong = []
    limits = Limits(wall_s=0.1, memory_mb=16, output_bytes=20_000, grace_s=1.0)

    def work(host, seed):
        draw = random.Random(seed)
        for n in range(COUNT // 4):
            name = draw.choices([*MIXED, "tensor"], [30, 10, 1, 1, 30, 3, 3, 22])[0]
            if name == "tensor":
                out = host.submit(tensor, {"x": shared[0], "n": n}, Limits(wall_s=20)).wait(60)
                if out.outcome is not Outcome.OK or out.value.tolist()[:2] != [float(n), 0.5]:
                    wrong.append((name, out))
                continue
            _, given, outcome = MIXED[name]
            normal = outcome in {None, Outcome.ERROR, Outcome.EXIT}
            out = host.submit(tasks[name], {"n": given}, Limits(wall_s=20) if normal else limits).wait(60)
            late = name in {"hog", "flood"} and out.outcome is Outcome.TIMEOUT  # on a busy machine
            right = out.outcome is (outcome or Outcome.OK) and out.value == expected.get(name)
            if not late and not right:
                wrong.append((name, out))

    with vm.TaskHost(4, "interpreter") as host:
        threads = [threading.Thread(target=work, args=(host, seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert host.stats()["interpreter"]["quarantined"] == 0
    assert not wrong, wrong[:5]
    shared.clear()
    assert storage_stats()[0] == live


def test_interpreters_come_and_go_on_four_threads():
    from walle_core.vm.host import worker

    wrong, live = [], storage_stats()[0]
    task = Task("t", "import json, random\nfrom walle_core import Tensor\ndef main(x): return x.copy()")
    shared = [Tensor.of([1.0, 2.0])]

    def churn():
        try:
            for _ in range(5):
                own = worker("interpreter")
                for _ in range(5):
                    ended = own.call(task, {"x": shared[0]}, Limits())
                    if ended.outcome is not Outcome.OK or ended.value.tolist() != [1.0, 2.0]:
                        wrong.append(ended)
                own.close()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    shared.clear()
    assert storage_stats()[0] == live
