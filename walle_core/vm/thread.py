"""A worker whose tasks run in the process's main interpreter: own globals, no more. For trusted tasks and for debugging."""

from __future__ import annotations

import threading
from typing import Any

from walle_core.vm._interpreter import Stop, interrupt_thread
from walle_core.vm.errors import PackageError, PolicyError, TaskError
from walle_core.vm.guest import Guest, TaskStopped
from walle_core.vm.shipping import shipped
from walle_core.vm.types import Ended, Limits, Outcome, Task, failed


class ThreadWorker:
    """See `Worker`. It enforces neither memory limits nor state beyond a task's own namespace; see docs/task-vm.md."""

    def __init__(self) -> None:
        self.guest = Guest({"redirect": False})
        self.loaded: dict[Task, int] = {}
        self.thread = threading.get_ident()
        self.lock = threading.Lock()
        self.stop = Stop()
        self.running = False
        self.why: Outcome | None = None

    def call(self, task: Task, inputs: dict[str, Any], limits: Limits) -> Ended:
        """Loads the task if it is not, then calls its entry."""
        self.why = None
        logs, said, value = "", None, None
        self.guest.limit[0] = limits.output_bytes
        try:
            try:
                self.running = True
                self.stop.begin()
                if task not in self.loaded:
                    self.loaded[task] = self.guest.load(*shipped(task))
                bad, value, logs = self.guest.run(self.loaded[task], inputs, limits.output_bytes)
                said = value if bad else None
            finally:
                with self.lock:
                    self.running = False
                    self.stop.end()
                    interrupt_thread(self.thread, None)
        except (PolicyError, PackageError) as error:
            return Ended(Outcome.REFUSED, None, error)
        except TaskError as error:
            return Ended(Outcome.ERROR, None, error)
        except BaseException as error:
            said = self.guest.describe(error)
        if self.why is not None:
            return failed(
                self.why, "TaskStopped", f"stopped: {self.why.value}", said[3] if said else "", logs=logs
            )
        if said is None:
            return Ended(Outcome.OK, value, None, logs)
        return failed(Outcome.CANCELLED if said[0] == "stopped" else Outcome(said[0]), *said[1:], logs=logs)

    def kill(self, why: Outcome) -> None:
        """Stops native loops and raises an exception in the worker's thread."""
        with self.lock:
            if self.running:
                self.why = self.why or why
                self.stop.ask()
                interrupt_thread(self.thread, TaskStopped)

    def close(self) -> None:
        """Nothing is left to give back."""
