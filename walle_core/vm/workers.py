"""The contract between the host and what tasks run in."""

from __future__ import annotations

from typing import Any, Protocol

from walle_core.vm.types import Ended, Limits, Outcome, Task


class Worker(Protocol):
    """One place where tasks run, one run at a time. It is made, called and closed by one and the same thread.

    A worker loads a task by itself when it is first called with it, and may forget it again. It counts neither time nor
    grace: the host does, and calls `kill` from another thread.
    """

    def call(self, task: Task, inputs: dict[str, Any], limits: Limits) -> Ended:
        """Runs the task's entry and waits for its end.

        Never raises for what a task does. Inputs that cannot cross are an `Ended` with the outcome ERROR. After
        `kill(why)` the outcome is `why`, whatever the task made of it.
        """

    def kill(self, why: Outcome) -> None:
        """Asks the run in progress to stop, from any thread and without waiting; nothing if there is none.

        The host repeats it until the call returns or the grace is over.
        """

    def close(self) -> None:
        """Gives everything back."""
