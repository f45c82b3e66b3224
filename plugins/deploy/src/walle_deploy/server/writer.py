"""The thread that commits devices' writes in groups: what came while one transaction was written goes into the next."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from walle_deploy.errors import DeployError
from walle_deploy.server.batch import Admission, Job, Reports
from walle_deploy.server.refusals import BusyError

LINGER_S = 0.05  # that descriptions, for which nobody waits, may wait for more
ROWS = 2000  # of one transaction
WAITING = 100_000  # rows that may wait; more are refused
DESCRIBED = 10_000  # of them, if another description is to wait: these are large, and come again

_log = logging.getLogger(__name__)


class Writer:
    """Commits jobs.

    Args:
        write: commits some jobs together and returns the result of each.
        lost: called after descriptions could not be written.
    """

    def __init__(
        self, write: Callable[[Sequence[Job]], list[Any]], lost: Callable[[], None] = lambda: None
    ) -> None:
        self._write, self._lost = write, lost
        self._jobs: deque[Job] = deque()
        self._rows = 0
        self._wake = threading.Condition()
        self._urgent = self._idle = False
        self._closed = False
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="walle-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> bool:
        """Adds a job; False, and nothing is added, if too much waits or the writer was closed."""
        rows = len(job.reports) if isinstance(job, Reports) else 1
        urgent = isinstance(job, Reports | Admission)
        with self._wake:
            if self._closed or self._rows + rows > (WAITING if urgent else DESCRIBED):
                return False
            self._jobs.append(job)
            self._rows += rows
            if self._idle or (urgent and not self._urgent) or self._rows >= ROWS:
                self._urgent |= urgent
                self._wake.notify_all()
        return True

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return self._rows

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all that was added is written; whether it was in time."""
        with self._wake:
            self._urgent = True
            self._wake.notify_all()
            return self._wake.wait_for(lambda: not self._rows, timeout)

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._idle = True
                self._wake.wait_for(lambda: self._jobs or self._closed)
                self._idle = False
                if not self._jobs:
                    return
                self._wake.wait_for(lambda: self._urgent or self._closed or self._rows >= ROWS, LINGER_S)
                jobs, rows = self._taken()
                self._urgent = False
            self._commit(jobs)
            with self._wake:
                self._rows -= rows
                self._urgent |= any(isinstance(job, Reports | Admission) for job in self._jobs)
                if not self._rows:
                    self._wake.notify_all()

    def _taken(self) -> tuple[list[Job], int]:
        jobs, rows = [], 0
        while self._jobs and rows < ROWS:
            job = self._jobs.popleft()
            jobs.append(job)
            rows += len(job.reports) if isinstance(job, Reports) else 1
        return jobs, rows

    def _commit(self, jobs: list[Job]) -> None:
        try:
            results = self._write(jobs)
            self.trouble = ""
        except Exception as error:
            if len(jobs) > 1 and not isinstance(error, BusyError):
                middle = len(jobs) // 2  # one cannot be written: the others are not to suffer from it
                self._commit(jobs[:middle])
                self._commit(jobs[middle:])
                return
            self._failed(jobs, error)
            return
        for job, result in zip(jobs, results, strict=True):
            if isinstance(job, Reports | Admission) and job.done.set_running_or_notify_cancel():
                job.done.set_result(result)

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        _log.warning("%d writes failed: %s", len(jobs), error)
        self.trouble = str(error)[:300]
        known = isinstance(error, DeployError)
        shown = (
            error if known else DeployError(f"it could not be written: {type(error).__name__}; see the log")
        )
        for job in jobs:
            if isinstance(job, Reports | Admission) and job.done.set_running_or_notify_cancel():
                job.done.set_exception(shown)
        self._lost()
