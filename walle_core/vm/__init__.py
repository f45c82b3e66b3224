"""The task VM: many scripts at once, each with state of its own, none able to take another down."""

from walle_core.vm.errors import (
    PackageError,
    PolicyError,
    TaskCancelled,
    TaskError,
    TaskExit,
    TaskMemoryError,
    TaskOutputError,
    TaskTimeout,
    WorkerLost,
)
from walle_core.vm.types import Limits, Outcome, Policy, Task

__all__ = [
    "Limits",
    "Outcome",
    "PackageError",
    "Policy",
    "PolicyError",
    "Task",
    "TaskCancelled",
    "TaskError",
    "TaskExit",
    "TaskMemoryError",
    "TaskOutputError",
    "TaskTimeout",
    "WorkerLost",
]
