"""What runs the parts of a simulation: threads, processes, any concurrent.futures.Executor, or Ray.

The contract is that of concurrent.futures: `submit` returns a Future at once. Parts are independent, and each starts processes of
its own for the task. Threads are enough for tasks whose runs take milliseconds; logs of light tasks are read faster by processes, as
Python reads in one thread at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import attrs
from walle_pipeline.events import Schema

from walle_deploy.simulate.errors import SimulationError
from walle_deploy.simulate.recorded import SchemaName
from walle_deploy.simulate.running import Stop
from walle_deploy.simulate.work import Job, Part, work

LOOK_S = 0.2  # between two looks at what is done, each of which is told
_KILL_S = 0.05


class RayExecutor(Executor):
    """Ray as an Executor: each call is a task of one processor. Connects to the cluster of RAY_ADDRESS, or starts one here.

    The logs must lie at the same path on all of its machines. Raises SimulationError if Ray is not installed.
    """

    def __init__(self) -> None:
        try:
            self._ray: Any = import_module("ray")
        except ImportError as error:
            raise SimulationError(
                f"executor 'ray' needs Ray ({error}): pip install 'walle-deploy[ray]', or leave the executor out"
            ) from error
        self._began = not self._ray.is_initialized()
        if self._began:
            self._ray.init(log_to_driver=False)
        self._sent: list[Any] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See concurrent.futures."""
        sent = self._ray.remote(num_cpus=1)(fn).remote(*args, **kwargs)
        self._sent.append(sent)
        future: Future[Any] = sent.future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Also ends what runs, if it is to be cancelled; and Ray, if it began here."""
        if cancel_futures:
            for sent in self._sent:
                self._ray.cancel(sent, force=True)
        self._sent.clear()
        if self._began:
            self._ray.shutdown()


class Workers(ProcessPoolExecutor):
    """Processes that end at once with `kill` and with this process, however it ends; Ctrl-C is this process's to handle.

    As always with processes, the program's main module must be one that may be imported: it begins what it does under
    ``if __name__ == "__main__"``.
    """

    def __init__(self, workers: int | None) -> None:
        spawn = multiprocessing.get_context("spawn")
        theirs, self._lifeline = spawn.Pipe(duplex=False)
        super().__init__(workers, mp_context=spawn, initializer=_begin, initargs=(theirs,))

    def kill(self) -> None:
        """Ends all processes and, with them, those of the tasks."""
        self._lifeline.close()


def _begin(lifeline: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)


@contextmanager
def opened(executor: Executor | str | None, workers: int | None, schema: SchemaName) -> Iterator[Executor]:
    """The executor; one that was given is not shut down.

    Raises SimulationError if there is none of that name, or the schema cannot be sent to its processes.
    """
    if isinstance(schema, Schema) and not (
        executor in (None, "threads") or isinstance(executor, ThreadPoolExecutor)
    ):
        raise SimulationError(
            "a schema is not sent to other processes; say where it is, as 'module:attribute'"
        )
    if isinstance(executor, Executor):
        yield executor
        return
    made: Executor
    if executor == "ray":
        made = RayExecutor()
    elif executor == "processes":
        made = Workers(workers)
    elif executor in (None, "threads"):
        made = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="walle-simulate")
    else:
        raise SimulationError(
            f"executor {executor!r}: wanted 'threads', 'processes', 'ray', or a concurrent.futures.Executor"
        )
    try:
        yield made
    finally:
        if isinstance(made, Workers):
            made.kill()
        made.shutdown(cancel_futures=True)


def near(executor: Executor) -> bool:
    """Whether what it runs sees the files of this machine."""
    return isinstance(executor, (ThreadPoolExecutor, ProcessPoolExecutor))


@attrs.frozen
class Progress:
    """How far a simulation is.

    Attributes:
        done, parts: parts that have ended, and all.
        runs: of the version and of the baseline; where other processes make them, in parts that have ended.
    """

    done: int
    parts: int
    runs: int

    def __str__(self) -> str:
        return f"{self.done} of {self.parts} parts, {self.runs:,} runs"


def run_all(executor: Executor, jobs: Sequence[Job], tell: Callable[[Progress], None]) -> list[Part]:
    """Runs all jobs; the parts in their order, up to the first that gave up.

    Args:
        executor: runs them. Those that run in other processes than this are ended by who owns it.
        jobs: in order.
        tell: called again and again; what it raises ends the simulation.
    """
    here = isinstance(executor, ThreadPoolExecutor)
    stops = [Stop() for _ in jobs]
    futures: list[Future[Part]] = []
    try:
        for job, stop in zip(jobs, stops, strict=True):
            futures.append(executor.submit(work, job, stop) if here else executor.submit(work, job))
        wanted, open_, runs = list(futures), set(futures), 0
        while open_:
            done, open_ = wait(open_, LOOK_S, FIRST_COMPLETED)
            for future in done & set(wanted):
                part = future.result()
                runs += part.new.runs + part.old.runs
                if part.given_up and future in wanted:
                    wanted = wanted[: wanted.index(future) + 1]
            open_ &= set(wanted)
            made = sum(stop.runs for stop in stops) if here else runs
            tell(Progress(len(wanted) - len(open_), len(jobs), made))
        return [future.result() for future in wanted]
    except BrokenExecutor as error:
        fix = 'is the main module guarded by `if __name__ == "__main__"`, and is there enough memory?'
        raise SimulationError(f"a process of the simulation ended by itself ({error}): {fix}") from error
    finally:
        left = [future for future in futures if not future.done() and not future.cancel()]
        while here and left:
            for stop in stops:
                stop.now()
            left = list(wait(left, _KILL_S).not_done)
