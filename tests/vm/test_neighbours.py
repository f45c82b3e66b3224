"""Tasks that fail in every way beside tasks that work: each ends with its own outcome, and the others' results stand."""

import os
import subprocess
import sys
import threading

import pytest

from walle_core import Tensor, vm
from walle_core.vm import Limits, Outcome, Policy, Task, sandbox
from walle_core.vm.allow import DEFAULT

OWN = sys.version_info >= (3, 12)
ROUNDS = int(os.environ.get("WALLE_NEIGHBOURS", "3"))  # of all bad tasks; 100 in the full form
OS = Policy(imports=DEFAULT | {"os", "sys", "ctypes"})
BAD = {
    "loops": ("def main():\n  while True: pass", Outcome.TIMEOUT),
    "allocates": ("def main():\n  x = []\n  while True: x.append(bytearray(100_000))", Outcome.MEMORY),
    "raises": ("def main(): raise ValueError('wrong')", Outcome.ERROR),
    "exits": ("import sys\ndef main(): sys.exit(3)", Outcome.EXIT),
    "prints": ("def main():\n  while True: print('x' * 1000)", Outcome.OUTPUT),
}
DIES = {  # in a process of its own
    "crashes": ("import os\ndef main(): os.abort()", Outcome.LOST),
    "leaves": ("import os\ndef main(): os._exit(0)", Outcome.LOST),
    "segfaults": ("import ctypes\ndef main(): ctypes.string_at(0)", Outcome.LOST),
}
LIMITS = Limits(wall_s=60, memory_mb=32, output_bytes=10_000)
SHORT = Limits(wall_s=0.3)  # of what would not end otherwise
GOOD = "import json\ndef main(x, n):\n  return {'sum': sum(i * i % 7 for i in range(n)), 'text': json.dumps([n]), 'x': x}"


def run_beside(host, bad):
    """Outcomes of the bad tasks, and what was wrong with the good ones that ran from their beginning to their end."""
    good, wrong, over, done = Task("good", GOOD), [], threading.Event(), []

    def neighbour(n):
        expected, x = sum(i * i % 7 for i in range(n)), Tensor.of([float(n)])
        while not over.is_set():
            ended = host.submit(good, {"x": x, "n": n}, Limits(wall_s=60)).wait()
            got = ended.value if ended.outcome is Outcome.OK else {}
            if (got.get("sum"), got.get("text")) != (expected, f"[{n}]") or got["x"].tolist() != [float(n)]:
                wrong.append(ended)
            done.append(n)

    threads = [threading.Thread(target=neighbour, args=(n,)) for n in (10, 2000)]
    for thread in threads:
        thread.start()
    outcomes = {}
    for _ in range(ROUNDS):
        runs = {
            name: host.submit(
                Task(name, source, policy=OS), limits=SHORT if outcome is Outcome.TIMEOUT else LIMITS
            )
            for name, (source, outcome) in bad.items()
        }
        for name, run in runs.items():
            outcomes.setdefault(name, set()).add(run.wait(60).outcome)
    over.set()
    for thread in threads:
        thread.join()
    return outcomes, wrong, len(done)


@pytest.mark.parametrize("mode", ["interpreter", "process", "thread"])
def test_each_ends_with_its_own_outcome_and_the_others_go_on(mode):
    if mode == "interpreter" and not OWN:
        pytest.skip("Python 3.11 has no interpreters with a GIL of their own")
    bad = BAD | DIES if mode == "process" else dict(BAD)
    if mode == "thread":  # which has no memory limit
        del bad["allocates"]
    with vm.TaskHost(2, mode) as host:
        outcomes, wrong, done = run_beside(host, bad)
        assert outcomes == {name: {outcome} for name, (_, outcome) in bad.items()}
        assert not wrong, wrong[:3]
        assert done >= 2
        stats = host.stats()[mode]
        assert (stats["quarantined"], stats["busy"], stats["queued"]) == (0, 0, 0)


@pytest.mark.skipif(
    not OWN or not sandbox.usable()[0], reason="no interpreters, or no filter of system calls"
)
def test_an_exit_in_an_interpreter_ends_that_interpreter():
    program = (
        "import sys\nfrom walle_core import vm\nfrom walle_core.vm import Policy, Task\n"
        "leave = Task('leave', 'import os\\ndef main(): os._exit(3)', policy=Policy(imports={'os'}))\n"
        "with vm.TaskHost(1, 'interpreter') as host:\n"
        "    run = host.submit(leave)\n"
        "    print(run.outcome.value, run.error.text)\n"
        "    print(host.submit(Task('ok', 'def main(): return 1')).result(), host.stats()['interpreter']['lost'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "lost the task ended its thread, as os._exit does; the interpreter on it is lost",
        "1 1",
    ]
    assert (done.returncode, "cannot be stopped" in done.stderr) == (70, True)
