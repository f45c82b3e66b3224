"""Values of the task VM: limits, grants, tasks, outcomes. Immutable and free of NumPy."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import attrs

from walle_core.vm import errors


class Outcome(enum.Enum):
    """How a run ended."""

    OK = "ok"
    ERROR = "error"
    EXIT = "exit"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    LOST = "lost"


ERRORS: dict[Outcome, type[errors.TaskError]] = {
    Outcome.ERROR: errors.TaskError,
    Outcome.EXIT: errors.TaskExit,
    Outcome.TIMEOUT: errors.TaskTimeout,
    Outcome.MEMORY: errors.TaskMemoryError,
    Outcome.OUTPUT: errors.TaskOutputError,
    Outcome.CANCELLED: errors.TaskCancelled,
    Outcome.REFUSED: errors.PolicyError,
    Outcome.LOST: errors.WorkerLost,
}


@attrs.frozen
class Limits:
    """What one run may use.

    Attributes:
        wall_s: seconds from its start, loading of the task included.
        memory_mb: MiB beyond what its worker held when it began; Python objects and tensors.
        output_bytes: UTF-8 bytes that it may print and log.
        grace_s: seconds that a run which was told to stop may take to do so; then it is abandoned.

    Raises:
        ValueError: a number below zero, or too large to be counted (2^40).
        TypeError: something else than a number.
    """

    wall_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    memory_mb: float = attrs.field(
        default=64.0, validator=[attrs.validators.gt(0), attrs.validators.le(1 << 40)]
    )
    output_bytes: int = attrs.field(
        default=1 << 20,
        validator=[attrs.validators.instance_of(int), attrs.validators.ge(0), attrs.validators.le(1 << 40)],
    )
    grace_s: float = attrs.field(default=0.1, validator=attrs.validators.ge(0))


def _modules(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


@attrs.frozen
class Policy:
    """What a task is granted. docs/task-vm.md says which isolation enforces which grant.

    Attributes:
        imports: top-level modules that it may import; None for the default list.
        read, write: folders and files that it may open.
        network: whether it may open sockets.
        numpy: whether it needs NumPy, which loads in worker processes only.
        untrusted: whether its author is not trusted; it then runs in a sandboxed process only.
        confined: whether the kernel is to keep these grants where Python alone would: in an interpreter on a thread for tasks of
            this policy only, whose files and system calls are filtered. Processes always are.
    """

    imports: frozenset[str] | None = attrs.field(default=None, converter=_modules)
    read: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    write: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    network: bool = False
    numpy: bool = False
    untrusted: bool = False
    confined: bool = False


@attrs.frozen(eq=False)
class Task:
    """A Python script with an entry that is called once per run.

    Attributes:
        name: what logs and tracebacks call it.
        source: its text, or a package of `walle_core.vm.package`.
        entry: the function that takes the inputs as keyword arguments.
        policy: what it may do.
        seed: of `random` when the task is loaded; None for one that differs each time.
    """

    name: str
    source: Any
    entry: str = "main"
    policy: Policy = Policy()
    seed: int | None = None


@attrs.define
class Ended:
    """How a worker's call ended.

    Attributes:
        outcome: how.
        value: what the entry returned; None unless the outcome is OK.
        error: why, unless the outcome is OK.
        logs: what the run printed and logged.
        reusable: whether the worker can take another run.
    """

    outcome: Outcome
    value: Any = None
    error: errors.TaskError | None = None
    logs: str = ""
    reusable: bool = True


def failed(outcome: Outcome, type: str, text: str, traceback: str = "", **rest: Any) -> Ended:
    """An `Ended` with the error class that belongs to its outcome."""
    return Ended(outcome, None, ERRORS[outcome](type, text, traceback), **rest)
