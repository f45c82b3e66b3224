"""What the kernel keeps from tasks in interpreters: everywhere no other processes; with `confined` no files and network either."""

import sys

import pytest

from walle_core import vm
from walle_core.vm import Limits, Outcome, Policy, Task, sandbox
from walle_core.vm.allow import DEFAULT

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12) or not all(sandbox.usable()),
    reason="no interpreters of their own, or no seccomp and landlock",
)
LIMITS = Limits(wall_s=60)
NAMES = DEFAULT | {"os", "socket", "re"}
TRY = """
import os, socket
def main(path):
    found = {}
    for name, attempt in {
        "kill": lambda: os.kill(os.getppid(), 0), "folder": lambda: os.chdir("/"), "priority": lambda: os.setpriority(0, 0, 5),
        "read": lambda: os.close(os.open(path, os.O_RDONLY)), "list": lambda: os.listdir("/"), "socket": lambda: socket.socket().close(),
        "write": lambda: os.close(os.open(path + ".new", os.O_CREAT | os.O_WRONLY)),
    }.items():
        try:
            attempt()
            found[name] = "done"
        except OSError as error:
            found[name] = type(error).__name__
    import colorsys, json
    return found | {"computes": json.dumps(sum(range(10)))}
"""
REFUSED = "PermissionError"


@pytest.fixture(scope="module")
def host():
    with vm.TaskHost(2, "interpreter") as made:
        yield made


def tried(host, path, **grants):
    policy = Policy(imports=NAMES, **grants)
    return host.submit(Task("try", TRY, policy=policy), {"path": str(path)}, LIMITS).result()


def test_no_task_reaches_other_processes(host, tmp_path):
    (tmp_path / "in").write_text("x")
    found = tried(host, tmp_path / "in")
    assert [found[n] for n in ("kill", "folder", "priority")] == [REFUSED] * 3
    assert [found[n] for n in ("read", "list", "socket", "write")] == ["done"] * 4  # which only Python keeps
    assert found["computes"] == "45"


def test_a_confined_task_has_what_it_is_granted(host, tmp_path):
    (tmp_path / "in").write_text("x")
    shut = tried(host, tmp_path / "in", confined=True)
    assert {n: v for n, v in shut.items() if n != "computes"} == dict.fromkeys(
        ("kill", "folder", "priority", "read", "list", "socket", "write"), REFUSED
    )
    assert shut["computes"] == "45"
    reads = tried(host, tmp_path / "in", confined=True, read=(str(tmp_path),), network=True)
    assert [reads[n] for n in ("kill", "read", "socket", "write")] == [REFUSED, "done", "done", REFUSED]
    writes = tried(host, tmp_path / "in", confined=True, write=(str(tmp_path),))
    assert [writes[n] for n in ("read", "write", "list")] == ["done", "done", REFUSED]
    assert (tmp_path / "in.new").exists()
    open_again = tried(host, tmp_path / "in")  # the threads of other tasks are as free as before
    assert open_again["read"] == "done"


def test_threads_of_few_policies_are_kept(host, tmp_path):
    from walle_core.vm.host import CONFINED

    for n in range(CONFINED + 2):
        assert tried(host, tmp_path / "in", confined=True, read=(str(tmp_path / str(n)),))["computes"] == "45"
    assert len(host.confined) == CONFINED
    assert {f"confined {n}" for n in range(1, CONFINED + 1)} <= set(host.stats())


def test_where_it_cannot_be_kept_it_is_refused():
    task = Task("t", "def main(): return 1", policy=Policy(confined=True))
    with vm.TaskHost(1, "thread") as threads:
        run = threads.submit(task)
        assert run.outcome is Outcome.REFUSED
        assert "isolation='process'" in run.error.text
    with vm.TaskHost(1, "process") as processes:
        assert processes.submit(task, limits=LIMITS).result() == 1


def test_where_no_thread_can_be_confined_a_process_is_taken(monkeypatch):
    monkeypatch.setattr(sandbox, "usable", lambda: (True, 0))
    task = Task("t", "def main(): return 1", policy=Policy(confined=True))
    with vm.TaskHost(1, "interpreter") as made:
        assert made.submit(task).outcome is Outcome.REFUSED
    with vm.TaskHost(1) as made:
        assert made.submit(task, limits=LIMITS).result() == 1
        assert set(made.stats()) == {"interpreter", "process"}


def test_a_closed_host_has_no_confined_tasks(tmp_path):
    with vm.TaskHost(1, "interpreter") as made:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        made.submit(Task("t", "def main(): pass", policy=Policy(confined=True)))
