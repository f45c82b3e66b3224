"""A simulation from beginning to end: recorded events, the matches of the task's trigger, runs in its process, a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

from walle_deploy.errors import TaskError
from walle_deploy.simulate.again import Repeated, confirm, repeat
from walle_deploy.simulate.executors import Progress, near, opened, run_all
from walle_deploy.simulate.limits import Limits
from walle_deploy.simulate.prepared import NEW, OLD, Prepared, prepared
from walle_deploy.simulate.recorded import SchemaName, grouped, logs_in, schema_named
from walle_deploy.simulate.result import Simulation
from walle_deploy.simulate.running import Runs
from walle_deploy.simulate.verdict import judge
from walle_deploy.simulate.work import Job, Part
from walle_deploy.task.dryrun import START_S
from walle_deploy.task.trigger import compile_trigger

PART = 16 << 20  # bytes of logs in one part: what two processes are started for
DEFAULT = Limits()
Files = Mapping[str, bytes]


def simulate(
    files: Files,
    logs: Sequence[str | Path],
    *,
    baseline: Files | None = None,
    executor: Executor | str | None = None,
    workers: int | None = None,
    limits: Limits = DEFAULT,
    progress: Callable[[Progress], None] | None = None,
    seed: int = 0,
    schema: SchemaName = None,
    start_s: float = START_S,
) -> Simulation:
    """Replays recorded events through a version of a task, as devices will run it, and says whether it passes.

    The same arguments have the same outcome, times aside, whatever the executor, for a task whose results depend on its inputs
    and on its earlier runs only. Interrupted, it leaves no process behind.

    Args:
        files: of the version, path -> content.
        logs: files and folders of recorded events (see `recorded`).
        baseline: files of the version that devices have; each match runs both.
        executor: None or ``threads``; ``processes``, faster where runs take less than a millisecond; ``ray``, on a Ray cluster; or
            an Executor whose processes see the logs at the same paths.
        workers: threads or processes; default: one for each processor.
        limits: what it must show.
        progress: called several times a second in the caller's thread; what it raises ends the simulation.
        seed: chooses the runs that are made again to see whether they give the same.
        schema: the kinds of the application's events, or where they are, ``module:attribute``; kinds that it does not have are
            those that an application made without fields of their own.
        start_s: seconds that a process may take to start.

    Raises TaskError if the files make no task, SimulationError if there are no such logs, schema or executor.
    """
    begun = time.monotonic()
    found = logs_in(logs)
    schema_named(schema)
    with ExitStack() as stack:
        new = stack.enter_context(prepared(NEW, files))
        patterns = compile_trigger(new.config.trigger)
        result = Simulation(task=new.config.task.name, limits=limits)
        if not patterns:
            return result.ended("no data", "no data: only programs start this task, no event does")
        old = stack.enter_context(_Baseline(baseline, result, start_s))
        if problem := _starts(new, start_s):
            return result.ended("failed", f"it does not start: {problem}")
        runner = stack.enter_context(opened(executor, workers, schema))
        ours: Files | Path = new.folder if near(runner) else files
        theirs = old.folder if old and near(runner) else baseline if old else None
        jobs = [
            Job(number, group, ours, theirs, schema, limits, seed, start_s)
            for number, group in enumerate(grouped(found, PART))
        ]
        parts = run_all(runner, jobs, progress or (lambda _: None))
        result.part = _joined(parts)
        confirm(new, result.part.new, start_s)
        result.again = repeat(new, result.part.samples, start_s) if result.part.new.runs else Repeated()
    result.seconds = time.monotonic() - begun
    return result.ended(*judge(result.part, result.again, limits, new.config.resources.time_ms))


class _Baseline(ExitStack):
    """The baseline, ready; None, and a note, if it cannot be used: then there is nothing to compare with."""

    def __init__(self, files: Files | None, result: Simulation, start_s: float) -> None:
        super().__init__()
        self._files, self._result, self._start_s = files, result, start_s

    def __enter__(self) -> Prepared | None:  # type: ignore[override]
        super().__enter__()
        if self._files is None:
            return None
        try:
            ready = self.enter_context(prepared(OLD, self._files))
            problem = _starts(ready, self._start_s)
        except TaskError as error:
            problem = str(error)
        if problem:
            self._result.notes.append(f"compared with nothing: the baseline cannot be used: {problem}")
            return None
        return ready


def _starts(version: Prepared, start_s: float) -> str:
    with Runs(version, start_s) as runs:
        return runs.start()


def _joined(parts: Sequence[Part]) -> Part:
    whole = Part()
    for part in parts:
        whole.merge(part)
    return whole
