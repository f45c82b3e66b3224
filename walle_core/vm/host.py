"""TaskHost: runs tasks side by side, isolated from each other, within limits."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Self

from walle_core.errors import InputError, UnsupportedError
from walle_core.vm.lane import Lane
from walle_core.vm.run import TaskRun
from walle_core.vm.shipping import shipped
from walle_core.vm.types import Limits, Outcome, Policy, Task, failed
from walle_core.vm.workers import Worker

MODES = ("interpreter", "process", "thread")
TICK = 0.005  # seconds between two looks of the watchdog
MOST_WORKERS = 1024
CONFINED = 4  # policies of confined tasks whose threads are kept
UNSTOPPED = 70  # exit status of a process that ends while a task cannot be stopped (EX_SOFTWARE)


def automatic() -> str:
    """What ``auto`` stands for here: interpreters with a GIL of their own, or processes where Python has none."""
    return (
        "interpreter" if sys.version_info >= (3, 12) and sys.implementation.name == "cpython" else "process"
    )


def _shut_in(mode: str, policy: Policy | None) -> None:
    """Binds the calling thread to what the tasks of its lane may do, as far as the system can."""
    if mode != "interpreter":
        return
    from walle_core.vm import sandbox

    if policy is None:
        with suppress(OSError):
            sandbox.enter_worker()
        return
    kept = sandbox.enter_thread(policy, exit_kills_thread=True)
    if kept.missing:
        raise OSError("; ".join(kept.missing))


def _worker(mode: str) -> Any:
    if mode == "interpreter":
        from walle_core.vm._interpreter import available
        from walle_core.vm.interpreter import InterpreterWorker

        if not available():
            raise UnsupportedError(
                "Python 3.11 has no interpreters with a GIL of their own; use isolation='process', or Python 3.12"
            )
        return InterpreterWorker
    if mode == "thread":
        from walle_core.vm.thread import ThreadWorker

        return ThreadWorker
    from walle_core.vm.process import ProcessWorker

    return ProcessWorker


def _unconfined(mode: str) -> str:
    """Why no thread can be bound to a policy here; "" if it can."""
    from walle_core.vm import sandbox

    filters, landlock = sandbox.usable()
    if mode == "interpreter" and filters and landlock:
        return ""
    return f"isolation={mode!r} cannot, or this system has no seccomp and landlock; use isolation='process'"


class TaskHost:
    """Runs tasks; a context manager.

    Args:
        workers: how many runs are in progress at once; default: the processors that this process may use.
        isolation: ``interpreter`` (Python 3.12 and later), ``process``, ``thread``, or ``auto``: interpreters where Python has
            them, else processes; under ``auto`` tasks with `Policy(numpy=True)` or `Policy(untrusted=True)` get processes, and
            those with `Policy(confined=True)` where no thread can be confined.
            docs/task-vm.md says what each keeps.

    Raises:
        InputError: no such isolation, no worker, or more than 1,024.
        UnsupportedError: this Python or system has none of that kind, or gives no more threads.
    """

    def __init__(self, workers: int | None = None, isolation: str = "auto") -> None:
        if isolation not in {"auto", *MODES}:
            raise InputError(f"isolation {isolation!r}: give one of auto, {', '.join(MODES)}")
        if workers is not None and not (isinstance(workers, int) and 1 <= workers <= MOST_WORKERS):
            raise InputError(f"{workers!r} workers: give 1 to {MOST_WORKERS}")
        affinity = getattr(os, "sched_getaffinity", None)
        self.workers = workers or (len(affinity(0)) if affinity else os.cpu_count() or 1)
        self.isolation = isolation
        self.mode = automatic() if isolation == "auto" else isolation
        self.lanes: dict[str, Lane] = {}
        self.confined: OrderedDict[Policy, Lane] = OrderedDict()
        self.closed = False
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._lane(self.mode)
        threading.Thread(
            target=_watch, args=(weakref.ref(self), self._busy), name="walle-task-watchdog", daemon=True
        ).start()
        _hosts.add(self)

    def _lane(self, mode: str) -> Lane:
        with self._lock:
            if mode not in self.lanes:
                wake = self._busy.set
                self.lanes[mode] = Lane(
                    mode, _worker(mode), self.workers, wake, partial(_shut_in, mode, None)
                )
            return self.lanes[mode]

    def _confined(self, policy: Policy) -> Lane:
        """The lane whose threads are bound to a policy, for ever. The lock is held."""
        if self.closed:
            raise RuntimeError("the host is closed")
        lane = self.confined.get(policy)
        if lane is None:
            idle = next((p for p, other in self.confined.items() if not other.in_use()), None)
            if len(self.confined) >= CONFINED and idle is not None:
                self.confined.pop(idle).close()
            mode = "interpreter"
            lane = Lane(mode, _worker(mode), self.workers, self._busy.set, partial(_shut_in, mode, policy))
            self.confined[policy] = lane
        self.confined.move_to_end(policy)
        return lane

    def load(self, task: Task) -> Task:
        """Checks and compiles a task before its first run.

        Raises:
            PolicyError: it does what its policy does not grant, or cannot have here what it needs.
            PackageError: its package has nothing that this Python loads.
            SyntaxError: its source is none.
        """
        _, refused = self._mode(task)
        if refused is not None:
            assert refused.error is not None
            raise refused.error
        shipped(task)
        return task

    def _mode(self, task: Task) -> tuple[str, Any]:
        needs = task.policy.untrusted or task.policy.numpy
        shut = "" if not task.policy.confined or self.mode == "process" else _unconfined(self.mode)
        if self.isolation == "auto":
            return ("process" if needs or shut else self.mode), None
        if shut:
            return self.mode, failed(Outcome.REFUSED, "PolicyError", f"{task.name} is to be confined: {shut}")
        if task.policy.untrusted and self.mode != "process":
            return self.mode, failed(
                Outcome.REFUSED, "PolicyError",
                f"{task.name} is untrusted: isolation={self.mode!r} is no boundary; use 'process' or 'auto'",
            )  # fmt: skip
        if task.policy.numpy and self.mode == "interpreter":
            return self.mode, failed(
                Outcome.REFUSED, "PolicyError",
                f"{task.name} needs NumPy, which loads in no interpreter but the main one; use isolation='process' or 'auto'",
            )  # fmt: skip
        return self.mode, None

    def submit(
        self,
        task: Task,
        inputs: dict[str, Any] | None = None,
        limits: Limits = Limits(),  # noqa: B008  immutable
        priority: int = 0,
    ) -> TaskRun:
        """Queues a run.

        Args:
            task: what to run; a worker loads it when it first has it.
            inputs: keyword arguments of its entry: None, bool, int, float, str, bytes, list, tuple, dict, Tensor. Tensors are
                not copied: the task has the same memory. Arrays of others are copied into Tensors.
            limits: of this run.
            priority: runs of a higher one begin first; equals share by the time that their tasks have used.

        Raises:
            InputError: what is given is no Task, no Limits or no whole number.
            RuntimeError: the host is closed.
        """
        for given, kind, name in (
            (task, Task, "task"),
            (limits, Limits, "limits"),
            (priority, int, "priority"),
        ):
            if not isinstance(given, kind):
                raise InputError(f"{name} must be a {kind.__name__}, not {type(given).__name__}")
        run = TaskRun(task, {} if inputs is None else inputs, limits, priority)
        mode, refused = self._mode(task)
        if refused is not None:
            run.finish(refused)
        elif task.policy.confined and mode == "interpreter":
            with self._lock:
                self._confined(task.policy).submit(run)
        else:
            (self.lanes.get(mode) or self._lane(mode)).submit(run)
        return run

    def map(
        self,
        task: Task,
        inputs: Iterable[dict[str, Any]],
        limits: Limits = Limits(),  # noqa: B008
        priority: int = 0,
    ) -> Iterator[Any]:
        """Results in the order of the inputs. Raises what the first run that failed raised."""
        runs = [self.submit(task, given, limits, priority) for given in inputs]
        try:
            for run in runs:
                yield run.result()
        finally:
            for run in runs:
                run.cancel()

    def stats(self) -> dict[str, Any]:
        """Per kind of isolation, and for each policy of confined tasks: workers, busy, queued, quarantined, lost, recycled, outcomes."""
        confined = {f"confined {i}": lane.stats() for i, lane in enumerate(self.confined.values(), 1)}
        return {mode: lane.stats() for mode, lane in self.lanes.items()} | confined

    def all_lanes(self) -> list[Lane]:
        """Of every kind."""
        return [*self.lanes.values(), *self.confined.values()]

    def close(self) -> None:
        """Cancels what has not ended and gives the workers back; a run that cannot be stopped is left behind."""
        self.closed = True
        for lane in self.all_lanes():
            lane.close()
        self._busy.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        lanes = [self.__dict__.get(name, {}) for name in ("lanes", "confined")]
        for lane in [lane for kind in lanes for lane in kind.values()]:
            with lane.lock:
                lane.closing = True
                lane.ready.notify_all()
                lane.extra_ready.notify_all()


def _watch(reference: weakref.ref[TaskHost], busy: threading.Event) -> None:
    while True:
        busy.wait()
        busy.clear()
        while True:
            host = reference()
            if host is None or host.closed:
                return
            left = [lane.watch(time.monotonic()) for lane in host.all_lanes()]
            del host
            if not any(left):
                break
            time.sleep(TICK)


_hosts: weakref.WeakSet[TaskHost] = weakref.WeakSet()


def _close_all() -> None:
    # Python 3.12 and later abort a process that ends with an interpreter left.
    stuck = []
    for host in list(_hosts):
        host.close()
        stuck += [s for lane in host.all_lanes() if lane.mode == "interpreter" for s in lane.stuck()]
    for slot in stuck:
        slot.thread.join(0.2)
    if any(s.thread.is_alive() for s in stuck):
        sys.stderr.write("walle: the process ends while a task cannot be stopped\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(UNSTOPPED)


atexit.register(_close_all)


def worker(mode: str) -> Worker:
    """A worker of one kind for the calling thread alone, without a host: no queue, no watchdog."""
    made: Worker = _worker(mode)()
    return made
