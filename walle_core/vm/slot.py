"""A thread that runs tasks, and the worker on it."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from walle_core.vm.types import Ended, Outcome, failed

if TYPE_CHECKING:
    from walle_core.vm.lane import Lane
    from walle_core.vm.run import TaskRun
    from walle_core.vm.workers import Worker

LINUX = sys.platform == "linux"


class Slot:
    """A thread and its worker.

    Attributes:
        run: in progress; `deadline`, by `time.monotonic`, and `why` say when and with what outcome it is stopped.
        lost: its run could not be stopped; the thread ends when that returns.
    """

    def __init__(self, lane: Lane, *, extra: bool) -> None:
        self.lane, self.extra = lane, extra
        self.worker: Worker | None = None
        self.run: TaskRun | None = None
        self.given: TaskRun | None = None
        self.deadline = 0.0
        self.why = Outcome.TIMEOUT
        self.asked = 0.0
        self.lost = False
        self.native = 0
        self.entered = False
        self.thread = threading.Thread(target=self.work, name=f"walle-task-{lane.mode}", daemon=True)
        self.thread.start()

    def work(self) -> None:
        """Makes the worker, then runs what the lane gives until it gives nothing."""
        self.native = threading.get_native_id()
        self.make()
        lane = self.lane
        while (run := lane.take(self)) is not None:
            if self.worker is None:
                ended = self.make()
            if self.worker is not None:
                try:
                    ended = self.worker.call(run.task, run.inputs, run.limits)
                except BaseException as error:
                    ended = failed(
                        Outcome.LOST, type(error).__name__, f"the worker failed: {error}", reusable=False
                    )
            lane.ended(self, run, ended)
            if not ended.reusable:
                self.close()
            del run, ended
        self.close()

    def make(self) -> Ended:
        """Makes the worker if that can be, and binds the thread; how a run ends if it cannot."""
        try:
            self.worker = self.lane.factory()
            if not self.entered:
                self.lane.enter()
                self.entered = True
        except Exception as error:
            self.close()
            return failed(Outcome.LOST, type(error).__name__, f"no worker could be made: {error}")
        return Ended(Outcome.OK)

    def died(self) -> bool:
        """Whether the operating system has ended the thread."""
        return LINUX and self.native > 0 and not Path(f"/proc/self/task/{self.native}").exists()

    def close(self) -> None:
        """Closes the worker."""
        worker, self.worker = self.worker, None
        if worker is not None:
            with contextlib.suppress(Exception):
                worker.close()
