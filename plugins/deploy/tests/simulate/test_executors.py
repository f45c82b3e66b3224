"""What runs the parts makes no difference, and leaves nothing behind when it is interrupted."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from simulate_world import task
from walle_deploy.simulate import Limits, SimulationError, simulate, simulation
from walle_deploy.simulate.executors import RayExecutor
from walle_pipeline.events import Schema

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="tasks run in processes of their own, which needs POSIX"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """A part for each log."""
    monkeypatch.setattr(simulation, "PART", 1)


def outcome(found):
    made = found.to_json()
    made.pop("times")
    return {**made, "why": ""}


class FakeRay(types.ModuleType):
    """As much of Ray as the adapter uses: tasks that run in threads."""

    def __init__(self):
        super().__init__("ray")
        self.started, self.cancelled, self.pool = False, [], None

    def is_initialized(self):
        return self.started

    def init(self, **options):
        self.started, self.pool = True, ThreadPoolExecutor(2)

    def shutdown(self):
        self.started = False
        self.pool.shutdown()

    def remote(self, **options):
        assert options == {"num_cpus": 1}

        def task_of(function):
            def remote(*args, **kwargs):
                future = self.pool.submit(function, *args, **kwargs)
                return types.SimpleNamespace(future=lambda: future)

            return types.SimpleNamespace(remote=remote)

        return task_of

    def cancel(self, sent, force):
        self.cancelled.append(sent)


def test_every_executor_has_the_same_outcome(folder, monkeypatch):
    bad = task("assert clicks != 5")
    wanted = outcome(simulate(bad, [folder], baseline=task()))
    assert wanted["new"]["runs"] == 160
    with ThreadPoolExecutor(3) as threads:
        assert outcome(simulate(bad, [folder], baseline=task(), executor=threads)) == wanted
    assert outcome(simulate(bad, [folder], baseline=task(), executor="processes", workers=2)) == wanted
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        assert outcome(simulate(bad, [folder], baseline=task(), executor=processes)) == wanted
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert outcome(simulate(bad, [folder], baseline=task(), executor="ray")) == wanted
    assert not ray.started


def test_ray_that_is_not_installed_is_named(log, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SimulationError, match=r"pip install 'walle-deploy\[ray\]'"):
        simulate(task(), [log], executor="ray")
    with pytest.raises(SimulationError, match="wanted 'threads', 'processes', 'ray'"):
        simulate(task(), [log], executor="dask")


def test_a_schema_is_named_to_other_processes(log):
    with pytest.raises(SimulationError, match="module:attribute"):
        simulate(task(), [log], schema=Schema.BASIC, executor="processes")
    named = "walle_pipeline.events:Schema"
    with pytest.raises(SimulationError, match="is a type"):
        simulate(task(), [log], schema=named, executor="processes")


def test_a_process_that_ends_by_itself_is_told(folder):
    def kill(progress):
        for child in multiprocessing.active_children():
            child.kill()

    slow = task("import time; time.sleep(0.1)")
    with pytest.raises(SimulationError, match="ended by itself"):
        simulate(slow, [folder], executor="processes", workers=1, progress=kill)


def test_the_adapter_of_ray_keeps_the_contract_of_executors(monkeypatch):
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    with RayExecutor() as executor:
        assert isinstance(future := executor.submit(divmod, 7, 2), Future)
        assert future.result() == (3, 1)
        assert list(executor.map(str, [1, 2])) == ["1", "2"]
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
    assert not ray.cancelled
    ray.init()
    executor = RayExecutor()
    executor.submit(divmod, 7, 2).result()
    executor.shutdown(cancel_futures=True)
    assert len(ray.cancelled) == 1
    assert ray.started  # it was there before
    ray.shutdown()


def test_parts_after_one_that_gives_up_are_not_waited_for(folder, impatient):
    hangs = task("while True: pass", time_ms=10)
    once = simulate(hangs, [folder], limits=Limits(patience=1), workers=4)
    assert (once.part.logs, once.new.runs) == (1, 1)
    assert "0.events, match 0" in once.why


def test_progress_is_told_and_ends_the_simulation_by_raising(folder):
    seen = []
    assert simulate(task(), [folder], progress=seen.append).passed
    assert (seen[-1].done, seen[-1].parts, seen[-1].runs) == (4, 4, 160)
    assert str(seen[-1]) == "4 of 4 parts, 160 runs"

    def no_more(progress):
        raise RuntimeError("no more")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no more"):
        simulate(task("import time; time.sleep(0.5)"), [folder], progress=no_more)
    assert threading.active_count() == before


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from simulate_world import task
from walle_deploy.simulate import simulate, simulation
simulation.PART = 1000  # bytes: each log is a part
def told(progress):
    if not seen:
        print("running", flush=True)
    seen.append(progress)
seen = []
slow = task("import time; time.sleep(1.5)", time_ms=60000)
try:
    simulate(slow, [sys.argv[2]], baseline=slow, executor=sys.argv[3], workers=2, progress=told)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def children(pid):
    """Processes that were started by `pid`, or by those, in sessions of their own too."""
    mine = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            number, rest = int(path.parent.name), path.read_text().rpartition(")")[2].split()
            mine.setdefault(int(rest[1]), []).append(number)
    found = [pid]
    for number in found:
        found += mine.get(number, ())
    return found[1:]


def runs_a_task(pid):
    try:
        return b"container.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


@linux
@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_it_is_interrupted(folder, how, executor):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(folder), executor],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "running\n"
        until(lambda: sum(map(runs_a_task, children(process.pid))) >= 3, 60)
        started = children(process.pid)
        process.send_signal(how)
        begun = time.monotonic()
        told, errors = process.communicate(timeout=20)
        assert told == ("interrupted\n" if how == signal.SIGINT else ""), errors
        if (how, executor) == (
            signal.SIGKILL,
            "processes",
        ):  # Python's own tracker tidies up semaphores, and says so
            assert "Traceback" not in errors
        else:
            assert errors == ""
        assert time.monotonic() - begun < 10
    until(lambda: not any(map(alive, started)), 5)
