"""What runs the parts of a simulation: threads of this process, any concurrent.futures.Executor, or Ray.

The contract is that of concurrent.futures: `submit` returns a Future at once. Parts are independent, and each starts processes of
its own for the task, so threads keep as many cores busy as there are workers; reading the logs, which one process does in one
thread at a time, is the smaller part of the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import attrs

from walle_deploy.simulate.errors import SimulationError
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


@contextmanager
def opened(executor: Executor | str | None, workers: int | None) -> Iterator[tuple[Executor, bool]]:
    """The executor, and whether it is threads of this process. One that was given is not shut down."""
    if isinstance(executor, Executor):
        yield executor, isinstance(executor, ThreadPoolExecutor)
        return
    if executor not in (None, "threads", "ray"):
        raise SimulationError(
            f"executor {executor!r}: wanted 'threads', 'ray', or a concurrent.futures.Executor"
        )
    made: Executor
    if executor == "ray":
        made = RayExecutor()
    else:
        made = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="walle-simulate")
    try:
        yield made, executor != "ray"
    except BaseException:
        made.shutdown(cancel_futures=True)
        raise
    made.shutdown()


@attrs.frozen
class Progress:
    """How far a simulation is.

    Attributes:
        done, parts: parts that have ended, and all.
        runs: of the version and of the baseline, as far as threads of this process make them.
    """

    done: int
    parts: int
    runs: int

    def __str__(self) -> str:
        return f"{self.done} of {self.parts} parts, {self.runs:,} runs"


def run_all(
    executor: Executor, jobs: Sequence[Job], here: bool, tell: Callable[[Progress], None]
) -> list[Part]:
    """Runs all jobs; the parts in their order, up to the first that gave up.

    Args:
        executor: runs them.
        jobs: in order.
        here: whether they run in threads of this process: only these can be ended before their time.
        tell: called again and again; what it raises ends the simulation.
    """
    stops = [Stop() for _ in jobs]
    futures = [
        executor.submit(work, job, stop) if here else executor.submit(work, job)
        for job, stop in zip(jobs, stops, strict=True)
    ]
    wanted, open_ = list(futures), set(futures)
    try:
        while open_:
            done, open_ = wait(open_, LOOK_S, FIRST_COMPLETED)
            for future in done:
                if future in wanted and future.result().given_up:
                    wanted = wanted[: wanted.index(future) + 1]
            open_ &= set(wanted)
            tell(Progress(len(wanted) - len(open_), len(jobs), sum(stop.runs for stop in stops)))
        return [future.result() for future in wanted]
    finally:
        left = [future for future in futures if not future.done() and not future.cancel()]
        while here and left:
            for stop in stops:
                stop.now()
            left = list(wait(left, _KILL_S).not_done)
