"""A task's process: what it may not do costs it a run, and nobody else anything."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from agent_world import loaded, task
from walle_deploy.agent.contained import Container
from walle_deploy.agent.runner import Item, Runner
from walle_deploy.task.starter import example

from walle_core import Tensor

pytestmark = pytest.mark.skipif(os.name != "posix", reason="tasks run on POSIX")
ANY = '[outputs]\nx = {dtype = "json"}\n'


@pytest.fixture
def container(tmp_path):
    made = []

    def make(script, config=ANY, first_s=5.0, **files):
        source = files.pop("files", None) or task("a", script, config, **files)
        made.append(Container(loaded(tmp_path / "v1", source), start_s=60, first_s=first_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_models_are_loaded_once_and_state_stays(container):
    box = container("", files=example("a"))
    events = [{"kind": "click", "time": 1000}, {"kind": "scroll", "time": 3000}]
    first, again = box.run({"events": events}), box.run({"events": events})
    assert not first.failed, first
    assert not again.failed
    assert again.ms < 50
    assert isinstance(first.result["interest"], Tensor)
    assert first.result["features"] == {"clicks": 1, "seconds": 2.0}
    assert sum(again.result["interest"].tolist()[0]) == pytest.approx(1)


def test_tensors_go_both_ways(container):
    script = "def main(x):\n    return {'y': [v * 2 for v in x.tolist()]}\n"
    config = '[inputs]\nx = {dtype = "float32", shape = ["n"]}\n[outputs]\ny = {dtype = "float32", shape = ["n"]}\n'
    run = container(script, config).run({"x": Tensor.of([1.0, 2.5], "float32")})
    assert run.result["y"].tolist() == [2, 5]
    assert run.result["y"].dtype == "float32"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise ValueError('no such page')", "main.py:5: ValueError: no such page, while the entry ran"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("os._exit(3)", "ended by itself with status 3"),
        ("os.abort()", "ended by SIGABRT"),
        ("while True: pass", "still running after 350 ms"),
        ("time.sleep(60)", "still running after 350 ms"),
        ("return {'x': len(bytearray(400 << 20))}", "MemoryError"),
        ("return {'x': 'a' * (2 << 20)}", "at most 1048576 are taken"),
        ("return {'x': object()}", "is no plain value"),
        ("return {'y': 1}", "the entry did not return it"),
        ("return [1]", "returned list"),
        ("return main()", "RecursionError"),
        ("os.fork()", "may not start or end processes"),
        ("subprocess.run(['true'])", "may not start or end processes"),
        ("os.kill(os.getppid(), 9)", "may not start or end processes"),
        ("open(__file__, 'w')", "may not change files"),
        ("shutil.rmtree('.')", "may not change files"),
        ("raise Rude()", "Rude"),
        ("os.closerange(3, 100)", "the process"),
        ("os.write(int(sys.argv[1]), b'\\xff' * 8); time.sleep(9)", "an answer of 4294967295 bytes"),
        ("os.write(int(sys.argv[1]), b'\\x01\\0\\0\\0\\xc1'); time.sleep(9)", "answers nonsense"),
        ("os.write(int(sys.argv[1]), b'\\x01\\0\\0\\0\\x80'); time.sleep(9)", "answers nonsense"),
        ("os.write(int(sys.argv[1]), b'\\x01\\0\\0\\0\\x01'); time.sleep(9)", "answers nonsense"),
    ],
)
def test_a_run_that_breaks_something_fails_and_the_next_does_not(container, body, why):
    script = (
        "import os, shutil, subprocess, sys, time\nbad = True\n"
        f"def main(bad=False):\n    if bad:\n        {body}\n    return {{'x': 1}}\n"
        "class Rude(Exception):\n    def __str__(self): raise SystemExit\n"
    )
    if body == "return main()":
        script = script.replace("return main()", "return main(True)")
    config = '[inputs]\nbad = {dtype = "json"}\n' + ANY + "[resources]\ntime_ms = 250\nmemory_mb = 64\n"
    box = container(script, config, 0.1 if "350 ms" in why else 5.0)
    run = box.run({"bad": True})
    assert run.failed
    assert why in run.why, run
    box._first_s = 5.0
    after = box.run({"bad": False})
    assert not after.failed, after
    assert after.result == {"x": 1}
    assert (Path(box.loaded.version.folder) / "main.py").read_text() == script


def test_what_a_script_prints_is_no_answer(container):
    box = container(
        "def main():\n    for _ in range(100_000): print('{\"x\": 2}' * 10)\n    return {'x': 1}\n"
    )
    assert box.run({}).result == {"x": 1}


def test_printing_without_end_is_a_run_that_takes_too_long(container):
    box = container(
        "def main():\n    while True: print('a' * 1000)\n", ANY + "[resources]\ntime_ms = 50\n", 0.1
    )
    assert "still running" in box.run({}).why


def test_later_runs_have_only_their_own_time(container):
    box = container(
        "import time\ndef main(s):\n    time.sleep(s)\n    return {'x': 1}\n",
        '[inputs]\ns = {dtype = "json"}\n' + ANY + "[resources]\ntime_ms = 100\n",
    )
    assert not box.run({"s": 0.3}).failed  # the first run makes modules and plans
    assert "still running after 100 ms" in box.run({"s": 0.3}).why


def test_memory_that_grows_run_by_run_ends_in_a_new_process(container):
    script = (
        "kept = []\ndef main():\n    kept.append(bytearray(b'a' * (12 << 20)))\n    return {'x': len(kept)}\n"
    )
    box = container(script, ANY + "[resources]\nmemory_mb = 40\n")
    runs = [box.run({}) for _ in range(8)]
    assert [run.failed for run in runs[:2]] == [False, False]
    assert any("MB; 40 are allowed" in run.why for run in runs)
    assert runs[-1].failed or runs[-1].result["x"] < 8
    if Path("/proc/self/status").exists():
        assert 10 < runs[0].memory_mb < 40


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"main.py": b"import nothing_like_this\ndef main(): pass\n"}, "main.py:1: ModuleNotFoundError"),
        ({"main.py": b"while True: pass\n"}, "still running after"),
        ({"main.py": b"import os\nos._exit(0)\n"}, "status 0"),
        ({"main.py": b"def other(): pass\n"}, "AttributeError"),
        ({"main.py": b"def main(:\n"}, "SyntaxError"),
    ],
)
def test_a_process_that_cannot_be_made_ready(tmp_path, files, why):
    box = Container(loaded(tmp_path / "v1", task("a", "") | files), start_s=0.6)
    run = box.run({})
    assert (run.started, run.failed) == (False, True)
    assert why in run.why
    box.close()


def test_a_model_that_cannot_be_loaded(tmp_path):
    files = example("a")
    files["scorer.walle"] = files["scorer.walle"][:-100]
    box = Container(loaded(tmp_path / "v1", files), start_s=20)
    run = box.run({"events": []})
    assert not run.started
    assert "scorer.walle" in run.why
    box.close()


def test_the_process_sees_no_secrets(container, monkeypatch):
    monkeypatch.setenv("WALLE_ENROL", "s3cret")
    box = container("import os\ndef main():\n    return {'x': sorted(os.environ)}\n")
    assert "WALLE_ENROL" not in box.run({}).result["x"]


ORPHAN = """
import sys, threading
sys.path.insert(0, {tests!r})
from pathlib import Path
from agent_world import loaded, task
from walle_deploy.agent.contained import Container
script = "import os, time\\ndef main(hang):\\n    if hang: time.sleep(60)\\n    return {{'x': os.getpid()}}\\n"
config = '[inputs]\\nhang = {{dtype = "json"}}\\n[outputs]\\nx = {{dtype = "json"}}\\n[resources]\\ntime_ms = 60000\\n'
box = Container(loaded(Path({folder!r}) / "v1", task("a", script, config)))
print(box.run({{"hang": False}}).result["x"], flush=True)
threading.Timer(0.2, lambda: print("hangs", flush=True)).start()
box.run({{"hang": True}})
"""


def test_a_killed_agent_leaves_no_process_behind(tmp_path):
    here = Path(__file__).parent
    script = ORPHAN.format(tests=str(here), folder=str(tmp_path))
    paths = os.pathsep.join([str(here), str(here.parent / "trust"), *sys.path])
    agent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    )
    child = int(agent.stdout.readline())
    assert agent.stdout.readline() == b"hangs\n"
    agent.kill()
    agent.wait()
    agent.stdout.close()
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError("the task's process lives on")


class Finished:
    """Keeps what a runner says."""

    def __init__(self):
        self.all, self.changed = [], threading.Condition()

    def __call__(self, loaded, item, run):
        with self.changed:
            self.all.append((loaded.number, item and item.name, run.why or run.result))
            self.changed.notify_all()

    def await_(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.all) >= count, 10)
            return self.all[:count]


@pytest.fixture
def runner(tmp_path):
    made = []

    def make(script, finished, config="", **options):
        made.append(Runner(loaded(tmp_path / "a", task("a", script, ANY + config)), finished, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()
        one.join()


NUMBER = "n = 0\ndef main():\n    global n\n    n += 1\n    return {'x': n}\n"


def test_a_queue_is_bounded_and_drops_the_oldest(runner):
    finished, gone = Finished(), []
    made = runner("import time\ntime.sleep(0.3)\n" + NUMBER, finished, length=2)
    for n in range(5):
        made.offer(Item(name=f"m{n}", done=lambda run, n=n: gone.append(n)))
    made.offer(Item(name="m4"))  # it is there
    assert made.idle(10)
    assert [name for _, name, _ in finished.all] in (["m3", "m4"], ["m0", "m3", "m4"])
    assert made.dropped == 5 - len(finished.all)
    assert sorted(gone) == list(range(5))


def test_a_hanging_task_holds_up_no_other(tmp_path, runner):
    slow = Runner(
        loaded(tmp_path / "slow", task("a", "import time\ndef main(): time.sleep(60)\n")), Finished()
    )
    try:
        slow.offer(Item(name="x"))
        finished = Finished()
        quick = runner(NUMBER, finished)
        quick.offer(Item(name="y"))
        assert finished.await_(1) == [(1, "y", {"x": 1})]
        assert [item.name for item in slow.waiting()] == ["x"]
    finally:
        start = time.monotonic()
        slow.stop()
        slow.join()
        assert time.monotonic() - start < 5


def test_another_version_from_the_next_run_on(tmp_path, runner):
    finished = Finished()
    made = runner(NUMBER, finished)
    made.offer(Item(name="a"))
    finished.await_(1)
    made.switch(loaded(tmp_path / "b", task("a", NUMBER.replace("+= 1", "+= 10"), ANY), 2))
    made.offer(Item(name="b"))
    assert finished.await_(2)[1] == (2, "b", {"x": 10})


def test_a_new_version_is_tried_before_there_is_work(runner):
    finished = Finished()
    made = runner("raise OSError('broken')", finished, tries=2, pause_s=0.01)
    found = finished.await_(2)
    assert all(name is None and "broken" in why for _, name, why in found)
    assert made.idle(5)
    assert len(finished.all) == 2


def test_without_work_the_process_ends(runner):
    finished = Finished()
    made = runner(NUMBER, finished, idle_s=0.05)
    for n in range(2):
        made.offer(Item(name=f"{n}"))
        finished.await_(n + 1)
        with made._changed:
            assert made._changed.wait_for(lambda: made._container is None, 5)
    assert [said for _, _, said in finished.all] == [{"x": 1}, {"x": 1}]  # each in a process of its own


def test_inputs_that_nothing_gives(runner):
    finished = Finished()
    made = runner("def main(x): return {'x': x}\n", finished, '[inputs]\nx = {dtype = "json"}\n')
    made.offer(Item())
    made.offer(Item(inputs={"x": 1, "z": 2}))
    made.offer(Item(inputs={"x": 5}))
    assert [said for _, _, said in finished.await_(3)] == [
        "nothing gives the input 'x'", "it has no input 'z'", {"x": 5},
    ]  # fmt: skip
