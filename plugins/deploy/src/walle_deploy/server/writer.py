"""The thread that commits devices' writes in groups: what came while one transaction was written goes into the next."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from walle_deploy.errors import DeployError
from walle_deploy.server.batch import Admission, Job, Reports
from walle_deploy.server.lingering import Lingering
from walle_deploy.server.profiles import Described
from walle_deploy.server.refusals import BusyError

LINGER_S = 0.4  # that descriptions, for which nobody waits, wait for newer ones of their devices
TURN_S = 0.1  # of this, by which some may go before their time, so that many go together
ROWS = 2000  # of one transaction
WAITING = 100_000  # rows that may wait; more are refused
DESCRIBED = 40_000  # of them, if another description is to wait: these are large, and come again

_log = logging.getLogger(__name__)


class Writer:
    """Commits jobs: reports and admissions at once, a description when it has waited, or with a report of its device.

    Args:
        write: commits some jobs together and returns the result of each.
        lost: called after descriptions could not be written.
    """

    def __init__(
        self, write: Callable[[Sequence[Job]], list[Any]], lost: Callable[[], None] = lambda: None
    ) -> None:
        self._write, self._lost = write, lost
        self._urgent: deque[tuple[float, Reports | Admission]] = deque()  # with the time when they came
        self._described = Lingering()
        self._asked = self._taken = 0  # rows of `_urgent`; those that are written just now
        self._wake = threading.Condition()
        self._hurry = -math.inf  # descriptions that came by this time wait no longer
        self._written = time.monotonic()  # what came before is written
        self._idle = self._closed = False
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="walle-writer", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> bool:
        """Adds a job; False, and nothing is added, if too much waits or the writer was closed."""
        with self._wake:
            if self._closed:
                return False
            if isinstance(job, Described):
                if self.waiting >= DESCRIBED:
                    return False
                wanted = self._described.add(job, time.monotonic()) or self.waiting == DESCRIBED
            else:
                rows = _rows(job)
                if self._asked + self._taken + rows > WAITING:
                    return False
                self._urgent.append((time.monotonic(), job))
                self._asked += rows
                wanted = True
            if wanted and self._idle:
                self._idle = False
                self._wake.notify_all()
        return True

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return self._asked + self._taken + len(self._described)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until all that was added before is written, whatever comes meanwhile; whether it was in time."""
        with self._wake:
            if not self.waiting:
                return True
            asked = self._hurry = time.monotonic()
            self._wake.notify_all()
            return self._wake.wait_for(lambda: self._written > asked, timeout)

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while (left := self._left()) is None or left > 0:
                    if self._closed:
                        return
                    self._idle = True
                    self._wake.wait(left)
                self._idle = False
                jobs = self._next()
            if jobs:
                self._commit(jobs)
            with self._wake:
                self._taken = 0
                self._written = max(self._written, self._oldest())
                if self._hurry > -math.inf:
                    self._wake.notify_all()
                if self._written > self._hurry:
                    self._hurry = -math.inf

    def _oldest(self) -> float:
        """When the first of those came that are not written yet, or now."""
        since = self._described.since
        oldest = time.monotonic() if since is None else since
        return min(oldest, self._urgent[0][0]) if self._urgent else oldest

    def _left(self) -> float | None:
        """Seconds until something is to be written; None if there is nothing."""
        since = self._described.since
        if self._urgent or (since is not None and (self._pressed() or since <= self._hurry)):
            return 0.0
        return None if since is None else since + LINGER_S - time.monotonic()

    def _pressed(self) -> bool:
        """Whether descriptions are to be written that have not waited."""
        return self._closed or self.waiting >= DESCRIBED

    def _next(self) -> list[Job]:
        """The jobs of the next transaction."""
        since = self._described.since
        now = time.monotonic()
        due = since is not None and (self._pressed() or since <= max(self._hurry, now - LINGER_S))
        jobs: list[Job] = []
        rows = 0
        while self._urgent and rows < ROWS:
            _, job = self._urgent.popleft()
            device = job.device if isinstance(job, Reports) else job.profile.id
            before = self._described.of(device)  # came before, and may decide what a report counts for
            jobs += [*before, job]
            rows += len(before) + _rows(job)
            self._asked -= _rows(job)
        if due:
            until = math.inf if self._pressed() else max(self._hurry, now - LINGER_S + TURN_S)
            some = self._described.take(max(ROWS - rows, ROWS // 4), until)
            jobs += some
            rows += len(some)
        self._taken = rows
        return jobs

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


def _rows(job: Reports | Admission) -> int:
    return len(job.reports) if isinstance(job, Reports) else 1
