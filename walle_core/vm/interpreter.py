"""A worker whose tasks run in an interpreter with a GIL of its own (Python 3.12 and later)."""

from __future__ import annotations

import sys
from typing import Any

from walle_core.vm import guest
from walle_core.vm._interpreter import Interpreter
from walle_core.vm.errors import TaskError
from walle_core.vm.shipping import guest_code, shipped
from walle_core.vm.types import Ended, Limits, Outcome, Task, failed

LOADED = 256  # tasks that one interpreter keeps loaded
GROWN = 256 << 20  # bytes beyond its start at which an interpreter is made anew
# A closed interpreter of 3.12 and 3.13 never gives back some 2 MB: there it is better kept after a run was stopped.
STOPS = 1000 if sys.version_info < (3, 14) else 20
NO_NUMPY = ("numpy", "ml_dtypes")  # they load in one interpreter of a process only


class InterpreterWorker:
    """See `Worker`. Raises UnsupportedError on Python 3.11."""

    def __init__(self) -> None:
        settings = {
            "path": list(sys.path),
            "blocked": [*guest.BLOCKED, *NO_NUMPY] if sys.version_info < (3, 14) else [*NO_NUMPY],
        }
        self.interpreter = Interpreter(guest_code(), settings)
        self.loaded: dict[Task, int] = {}
        self.why: Outcome | None = None
        self.stops = 0
        self.start = self.interpreter.memory

    def call(self, task: Task, inputs: dict[str, Any], limits: Limits) -> Ended:
        """Loads the task if it is not, then calls its entry."""
        self.why = None
        memory, run = int(limits.memory_mb * 1048576), self.interpreter.run
        logs = ""
        try:
            index = self.loaded.get(task)
            if index is None:
                bad, value, logs = run(-1, shipped(task), memory, limits.output_bytes)
                if bad:
                    return self.ended(value, logs, torn=bad > 1)
                index = self.loaded[task] = value
                self.forget()
            bad, value, printed = run(index, inputs, memory, limits.output_bytes)
        except TaskError as error:
            kind = type(error).__name__
            return (
                Ended(Outcome.REFUSED, None, error)
                if kind in {"PolicyError", "PackageError"}
                else Ended(Outcome.ERROR, None, error)
            )
        except Exception as error:  # inputs that cannot cross, a source that is no Python
            return failed(Outcome.ERROR, type(error).__name__, str(error))
        logs += printed
        if bad or self.why is not None:
            return self.ended(value if bad else ("stopped", "", "", ""), logs, torn=bad > 1)
        return Ended(Outcome.OK, value, None, logs)

    def ended(self, said: tuple[str, str, str, str], logs: str, *, torn: bool) -> Ended:
        """What a description of a guest means; after a torn import the interpreter is not used again."""
        kind, type, text, trace = said
        outcome = self.why or (Outcome.CANCELLED if kind == "stopped" else Outcome(kind))
        if self.why is not None:
            self.stops += 1
            type, text = "TaskStopped", f"stopped: {outcome.value}"
        reusable = not torn and self.stops < STOPS and self.interpreter.memory - self.start < GROWN
        return failed(outcome, type, text, trace, logs=logs, reusable=reusable)

    def forget(self) -> None:
        """Unloads the task that was loaded first when there are too many."""
        if len(self.loaded) > LOADED:
            oldest = next(iter(self.loaded))
            self.interpreter.forget(self.loaded.pop(oldest))

    def kill(self, why: Outcome) -> None:
        """Raises an exception in the run in progress; a call of C code that does not return is not stopped."""
        self.why = self.why or why
        self.interpreter.interrupt()

    def close(self) -> None:
        """Ends the interpreter."""
        self.interpreter.close()
