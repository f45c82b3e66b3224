"""One run of a task, as its caller sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import attrs

from walle_core.vm.errors import TaskError
from walle_core.vm.types import Ended, Limits, Outcome, Task, failed


@attrs.define
class Timings:
    """Seconds of a run.

    Attributes:
        queued_s: until a worker took it.
        started_s: when that was, by `time.monotonic`; 0 before.
        run_s: from then to its end, loading of the task included.
        ended: when it ended, by `time.monotonic`; 0 before.
    """

    queued_s: float = 0.0
    started_s: float = 0.0
    run_s: float = 0.0
    ended: float = 0.0


class TaskRun:
    """What `TaskHost.submit` returns.

    Attributes:
        task, inputs, limits, priority: as submitted; inputs are dropped when the run has ended.
        timings: see `Timings`.
        ended: how it ended, or None while it has not.
    """

    def __init__(self, task: Task, inputs: dict[str, Any], limits: Limits, priority: int) -> None:
        self.task, self.inputs, self.limits, self.priority = task, inputs, limits, priority
        self.timings = Timings()
        self.ended: Ended | None = None
        self.submitted = time.monotonic()
        self._over = threading.Lock()  # held until the end: cheaper than an Event
        self._over.acquire()
        self._cancel: Callable[[TaskRun], None] | None = None

    def start(self) -> None:
        """A worker has taken it."""
        self.timings.started_s = time.monotonic()
        self.timings.queued_s = self.timings.started_s - self.submitted

    def finish(self, ended: Ended) -> bool:
        """Sets the end, once; whether this was the first. The host's lock is held."""
        if self.ended is not None:
            return False
        now = time.monotonic()
        if self.timings.started_s:
            self.timings.run_s = now - self.timings.started_s
        else:
            self.timings.queued_s = now - self.submitted
        self.timings.ended = now
        self.ended, self.inputs, self._cancel = ended, {}, None
        self._over.release()
        return True

    def done(self) -> bool:
        """Whether it has ended."""
        return self.ended is not None

    def wait(self, timeout: float | None = None) -> Ended:
        """Waits for the end. Raises TimeoutError after `timeout` seconds; the run goes on."""
        if self.ended is None:
            if not self._over.acquire(timeout=-1 if timeout is None else timeout):
                raise TimeoutError(f"task {self.task.name} has not ended within {timeout} s")
            self._over.release()
        assert self.ended is not None
        return self.ended

    def result(self, timeout: float | None = None) -> Any:
        """What the entry returned.

        Raises:
            TaskError: or the subclass that says how else it ended.
            TimeoutError: it has not ended after `timeout` seconds.
        """
        ended = self.wait(timeout)
        if ended.outcome is not Outcome.OK:
            raise ended.error or TaskError("TaskError", ended.outcome.value)
        return ended.value

    @property
    def outcome(self) -> Outcome:
        """How it ended; waits for it."""
        return self.wait().outcome

    @property
    def error(self) -> TaskError | None:
        """Why it ended otherwise than well; waits for the end."""
        return self.wait().error

    @property
    def logs(self) -> str:
        """What it printed and logged; waits for the end."""
        return self.wait().logs

    def cancel(self) -> None:
        """Takes it out of the queue, or stops it. Nothing if it has ended."""
        cancel = self._cancel
        if cancel is not None:
            cancel(self)


def cancelled() -> Ended:
    """The end of a run that no worker had taken."""
    return failed(Outcome.CANCELLED, "TaskStopped", "cancelled before it started")
