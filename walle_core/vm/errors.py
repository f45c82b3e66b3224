"""What can end a run of a task, one class each. All are `TaskError`s and carry what the task itself raised."""

from __future__ import annotations

from walle_core.errors import WalleError


class TaskError(WalleError):
    """A run of a task raised something.

    Attributes:
        type: name of the exception's class, for example ``ValueError``.
        text: its message.
        traceback: the task's own frames as text; "" where there are none.
    """

    def __init__(self, type: str, text: str, traceback: str = "") -> None:
        super().__init__(f"{type}: {text}" if text else type)
        self.type = type
        self.text = text
        self.traceback = traceback


class TaskTimeout(TaskError):
    """A run lasted longer than `Limits.wall_s`."""


class TaskMemoryError(TaskError):
    """A run wanted more memory than `Limits.memory_mb`."""


class TaskOutputError(TaskError):
    """A run printed or logged more than `Limits.output_bytes`."""


class TaskCancelled(TaskError):
    """Somebody called `TaskRun.cancel`, or the host was closed."""


class TaskExit(TaskError):
    """A task called `sys.exit`; `text` is the code."""


class WorkerLost(TaskError):
    """What the task ran in ended: its process crashed or was killed. Other runs are not concerned."""


class PolicyError(TaskError):
    """A task wanted what its `Policy` does not grant, or what its host's isolation cannot give."""


class PackageError(TaskError):
    """A task's package is damaged, not signed by whom it must be, or made for no Python that is here."""
