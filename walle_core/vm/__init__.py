"""The task VM: many scripts at once, each with state of its own, none able to take another down.

with vm.TaskHost() as host:
    run = host.submit(vm.Task("double", "def main(x): return 2 * x"), {"x": 21}, vm.Limits(wall_s=1))
    print(run.result(), run.logs, run.timings)
"""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from walle_core.vm.host import TaskHost
    from walle_core.vm.models import SharedModel, share_model, shared_model
    from walle_core.vm.run import TaskRun

__all__ = [
    "Limits", "Outcome", "PackageError", "Policy", "PolicyError", "SharedModel", "Task", "TaskCancelled", "TaskError", "TaskExit",
    "TaskHost", "TaskMemoryError", "TaskOutputError", "TaskRun", "TaskTimeout", "WorkerLost", "share_model", "shared_model",
]  # fmt: skip

_HOMES = {
    "TaskHost": "host",
    "TaskRun": "run",
    "SharedModel": "models",
    "share_model": "models",
    "shared_model": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
