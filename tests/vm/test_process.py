"""Worker processes: every way in which a run ends, what crosses, what stays apart."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walle_core import Tensor
from walle_core.errors import InputError
from walle_core.vm import sharing, wire
from walle_core.vm.package import Package, hmac_key
from walle_core.vm.process import ProcessWorker
from walle_core.vm.servers import SERVERS, stop_servers
from walle_core.vm.types import Limits, Outcome, Policy, Task

FREE = Policy(
    imports=frozenset("os sys time ctypes mmap threading random logging json gc resource walle_core".split())
)


@pytest.fixture(scope="module")
def worker():
    made = ProcessWorker()
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    stop_servers()


LIMITS = Limits()


def run(worker, source, limits=LIMITS, policy=FREE, **inputs):
    return worker.call(Task("t", source, policy=policy), inputs, limits)


def test_a_value_comes_back(worker):
    ended = run(worker, "def main(a, b=2):\n    print('hello')\n    return a + b", a=1)
    assert (ended.outcome, ended.value, ended.logs, ended.error) == (Outcome.OK, 3, "hello\n", None)


@pytest.mark.parametrize(
    ("source", "outcome", "text"),
    [
        ("def main(): raise ValueError('boo')", Outcome.ERROR, "ValueError: boo"),
        ("raise KeyError('loading')\ndef main(): pass", Outcome.ERROR, "KeyError: 'loading'"),
        ("def other(): pass", Outcome.ERROR, "defines no function main"),
        ("def main(", Outcome.ERROR, "SyntaxError"),
        ("def main(x): pass", Outcome.ERROR, "missing 1 required"),
        ("def main(): return object()", Outcome.ERROR, "a object cannot be passed"),
        ("def main():\n    x = []\n    x.append(x)\n    return x", Outcome.ERROR, "nested more than"),
        ("import sys\ndef main(): sys.exit(3)", Outcome.EXIT, "SystemExit: 3"),
        ("import os\ndef main(): os._exit(3)", Outcome.LOST, "ended with status 3"),
        ("import os\ndef main(): os.abort()", Outcome.LOST, "by signal SIGABRT"),
        ("import ctypes\ndef main(): ctypes.string_at(0)", Outcome.LOST, "by signal SIGSEGV"),
        ("def f(n): return f(n + 1)\ndef main(): f(0)", Outcome.ERROR, "RecursionError"),
        ("def main():\n    x = []\n    while True: x.append(bytes(1000))", Outcome.MEMORY, "MemoryError"),
        ("def main(): return len(b'a' * (1 << 40))", Outcome.MEMORY, "MemoryError"),
        ("from walle_core import Tensor\ndef main(): return Tensor((1 << 28,)).size", Outcome.MEMORY, "MemoryError"),
        ("def main(): return 10 ** 8 * [None] and 1", Outcome.MEMORY, "MemoryError"),
        ("def main(): print('x' * (2 << 20))", Outcome.OUTPUT, "OutputLimit"),
        ("import socket\ndef main(): pass", Outcome.REFUSED, "imports 'socket'"),
        ("def main(): return getattr(main, '__glo' + 'bals__')['__builtins__']['__import__']('socket')", Outcome.REFUSED, "'socket' is not granted"),
        ("import os\ndef main(): return os.listdir('/')", Outcome.ERROR, "PermissionError"),
        ("import os\ndef main(): return os.fork()", Outcome.ERROR, "PermissionError"),
        ("import os\ndef main(): os.kill(os.getppid(), 9)", Outcome.ERROR, "PermissionError"),
    ],
)  # fmt: skip
def test_each_end_has_its_outcome_and_the_next_run_is_well(worker, source, outcome, text):
    ended = run(worker, source)
    assert ended.outcome is outcome, ended.error
    assert text in str(ended.error)
    assert ended.reusable
    assert run(worker, "def main(): return 5").value == 5


def test_a_traceback_names_the_tasks_lines(worker):
    ended = run(worker, "def f():\n    return 1 / 0\ndef main():\n    return f()")
    assert [line.strip() for line in ended.error.traceback.splitlines()] == [
        'File "<task t>", line 4, in main',
        'File "<task t>", line 2, in f',
    ]


@pytest.mark.parametrize(
    "source",
    [
        "def main():\n    while True: pass",
        "def main():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "def main(): return sum(range(10 ** 12))",
        "import time\ndef main(): time.sleep(100)",
        "while True: pass\ndef main(): pass",
    ],
)
def test_whatever_it_does_it_can_be_killed(worker, source):
    run(worker, "def main(): pass")
    killer = threading.Timer(0.05, worker.kill, [Outcome.TIMEOUT])
    killer.start()
    ended = run(worker, source)
    killer.join()
    assert ended.outcome is Outcome.TIMEOUT
    assert ended.error.type == "TaskTimeout"
    assert run(worker, "def main(): return 5").value == 5


def test_a_kill_without_a_run_does_nothing(worker):
    run(worker, "def main(): pass")
    before = worker.pid
    worker.kill(Outcome.CANCELLED)
    assert run(worker, "def main(): return 1").value == 1
    assert worker.pid == before


def test_a_process_is_kept_for_its_policy_and_replaced_for_another(worker):
    run(worker, "def main(): pass")
    before, starts = worker.pid, worker.starts
    run(worker, "def main(): pass")
    assert (worker.pid, worker.starts) == (before, starts)
    run(worker, "def main(): pass", policy=Policy())
    assert worker.pid != before
    with pytest.raises(ProcessLookupError):
        for _ in range(1000):
            os.kill(before, 0)
            time.sleep(0.001)


def test_a_loaded_task_keeps_its_state_and_none_sees_anothers(worker):
    counter = "import os, random, json, logging\nn = 0\nfirst = random.random()\ndef main(who):\n    global n\n    n += 1\n    os.environ['WHO'] = json.x = who\n    logging.getLogger().setLevel(n)\n    return n, random.random()"
    look = "import os, json, logging\ndef main(): return os.environ.get('WHO'), hasattr(json, 'x'), logging.getLogger().level"
    a, b, c = (Task(n, s, policy=FREE, seed=1) for n, s in (("a", counter), ("b", counter), ("c", look)))
    rows = [worker.call(t, {"who": t.name}, Limits()).value for t in (a, b, a, b)]
    assert [r[0] for r in rows] == [1, 1, 2, 2]
    assert rows[0][1] == rows[1][1] != rows[2][1] == rows[3][1]
    assert worker.call(c, {}, Limits()).value == (None, False, 30)


def test_more_tasks_than_a_process_keeps_are_forgotten_and_come_again(worker, monkeypatch):
    monkeypatch.setattr("walle_core.vm.process.MAX_LOADED", 3)
    tasks = [
        Task(str(n), f"n = {n}\ndef main():\n    global n\n    n += 10\n    return n", policy=FREE)
        for n in range(6)
    ]
    assert [worker.call(t, {}, Limits()).value for t in tasks] == [10, 11, 12, 13, 14, 15]
    assert worker.call(tasks[5], {}, Limits()).value == 25
    assert worker.call(tasks[0], {}, Limits()).value == 10


def test_packages_run_with_all_their_modules(worker):
    from walle_core.vm.compiling import compile_task

    sign, verify = hmac_key(b"k" * 16)
    for pythons in ([f"3.{sys.version_info[1]}"], []):
        data = compile_task(
            "p",
            {"main": "import helper\ndef main(): return helper.two()", "helper": "def two(): return 2"},
            sign,
            pythons=pythons,
        ).data
        ended = worker.call(Task("p", Package.open(data, verify), policy=FREE), {}, Limits())
        assert ended.value == 2, ended.error


def test_inputs_that_cannot_cross_are_an_error_of_the_run(worker):
    ended = run(worker, "def main(x): pass", x=object())
    assert (ended.outcome, ended.error.type) == (Outcome.ERROR, "InputError")
    ended = worker.call(Task("t", 5, policy=FREE), {}, Limits())
    assert "its source is a int" in str(ended.error)


def test_tensors_cross_both_ways(worker):
    big = np.arange(100_000, dtype="float32").reshape(100, 1000)
    source = "def main(x, y):\n    m = memoryview(x).cast('B').cast('f')\n    m[0] = 7\n    return {'x': x, 'y': y, 'first': m[1]}"
    x, y = Tensor.wrap(big), Tensor.of([1, 2], "int16")
    ended = run(worker, source, x=x, y=y)
    assert ended.outcome is Outcome.OK, ended.error
    got = np.asarray(ended.value["x"])
    assert got[0, 0] == 7
    assert big[0, 0] == 0  # a task has its own
    assert np.array_equal(got.reshape(-1)[1:], big.reshape(-1)[1:])
    assert np.asarray(ended.value["y"]).tolist() == [1, 2]
    got[:] = 0  # and so has the host


def test_shared_tensors_are_not_copied_and_cannot_be_changed(worker):
    x = sharing.share(Tensor.of([1.0] * 50_000))
    assert memoryview(x).readonly
    ended = run(worker, "def main(x):\n    return memoryview(x).readonly, x", x=x)
    assert ended.value[0] is True
    assert ended.value[1].size == 50_000
    files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        run(worker, "def main(x): return x", x=x)
    del ended
    assert len(list(Path("/proc/self/fd").iterdir())) <= files


def test_numpy_is_there_when_granted(worker):
    ended = run(
        worker,
        "import numpy as np\ndef main(x): return np.asarray(x) * 2",
        policy=Policy(numpy=True),
        x=Tensor.of([1.0, 2.0]),
    )
    assert np.asarray(ended.value).tolist() == [2.0, 4.0]


def test_the_untrusted_compute_all_the_same(worker):
    policy = Policy(untrusted=True, numpy=True)
    source = "import numpy as np, decimal, datetime\ndef main(x): return float(np.linalg.norm(x)), str(decimal.Decimal('1.5'))"
    assert run(
        worker, source, policy=policy, limits=Limits(memory_mb=256), x=Tensor.of([3.0, 4.0])
    ).value == (5.0, "1.5")


def test_a_granted_file_can_be_read_and_no_other(worker, tmp_path):
    (tmp_path / "a").write_text("text")
    source = "def main(path): return open(path).read()"
    policy = Policy(read=[str(tmp_path / "a")])
    assert run(worker, source, policy=policy, path=str(tmp_path / "a")).value == "text"
    ended = run(worker, source, policy=policy, path="/etc/passwd")
    assert ended.outcome is Outcome.REFUSED


def test_it_inherits_neither_environment_nor_files(worker, monkeypatch):
    monkeypatch.setenv("WALLE_SECRET", "x")
    with open("/etc/passwd"):
        ended = run(worker, "import os\ndef main(): return 'WALLE_SECRET' in os.environ, sorted(os.environ)")
    assert ended.value[0] is False
    targets = {str(p.readlink()) for p in Path(f"/proc/{worker.pid}/fd").iterdir()}
    assert {t.partition(":")[0] for t in targets} <= {"/dev/null", "socket"}


def test_a_server_that_died_is_started_again(worker):
    run(worker, "def main(): pass", policy=Policy())
    SERVERS[False].process.kill()
    SERVERS[False].process.wait()
    ended = run(worker, "def main(): return 1", policy=Policy(), limits=Limits())
    again = run(worker, "def main(): return 1", policy=FREE)
    assert Outcome.OK in (ended.outcome, again.outcome)
    assert again.value == 1


def test_workers_end_with_their_host():
    program = (
        "import os, signal\nfrom walle_core.vm.process import ProcessWorker\nfrom walle_core.vm.types import Policy\n"
        "w = ProcessWorker(Policy()); print(w.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    for _ in range(500):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.01)
    pytest.fail("the worker lives on")


def test_many_workers_at_once():
    results = []

    def use(n):
        mine = ProcessWorker()
        task = Task("t", "def main(x): return x * 2", policy=FREE)
        results.extend(mine.call(task, {"x": n}, Limits()).value == 2 * n for _ in range(20))
        mine.close()

    threads = [threading.Thread(target=use, args=(n,)) for n in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert results == [True] * 120


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False) | st.text() | st.binary(),
    lambda x: st.lists(x, max_size=4) | st.lists(x, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=4) | st.integers(), x, max_size=4),
    max_leaves=20,
)  # fmt: skip


def exactly(value):
    return (
        (type(value), [exactly(v) for v in value])
        if isinstance(value, (list, tuple))
        else (type(value), value)
    )


@given(plain)
def test_values_are_the_same_on_the_other_side(value):
    message = wire.Message(value)
    assert exactly(wire.read(message.data, [])) == exactly(value)


@given(
    st.sampled_from(["float32", "bfloat16", "int64", "bool", "complex64", "uint8", "float16"]),
    st.lists(st.integers(0, 3), max_size=4),
)
def test_small_tensors_are_the_same_on_the_other_side(dtype, shape):
    x = Tensor(shape, dtype)
    got = wire.read(wire.Message([x]).data, [])[0]
    assert (got.shape, got.dtype, got.tobytes()) == (x.shape, x.dtype, x.tobytes())


@given(plain, st.data())
@settings(max_examples=300)
def test_damaged_messages_are_errors(value, data):
    raw = bytearray(wire.Message([value, Tensor((2, 2))]).data)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        wire.read(bytes(raw), [])


def test_memory_that_is_not_sealed_or_too_small_is_refused():
    head = b"m" + bytes([7, 1]) + b"float32" + (1000).to_bytes(8, "little")
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    os.write(fd, bytes(4000))
    with pytest.raises(InputError, match="not sealed"):
        wire.read(head, [fd])
    sealed = sharing.memory_file(Tensor((10,)))
    with pytest.raises(InputError, match="another size"):
        wire.read(head, [sealed])
    with pytest.raises(OSError):
        os.close(sealed)  # it was taken over, and closed
