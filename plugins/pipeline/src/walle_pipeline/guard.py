"""Limits for user functions: one that takes too long or too much memory is interrupted, its item set aside."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from typing import Any

from walle_core.errors import WalleError

PERIOD = 0.05  # seconds between looks while a user function runs
_PAGE = 4096


class FunctionTimeoutError(WalleError):
    """A user function took longer for one item than the pipeline allows."""

    def __init__(self) -> None:
        super().__init__("took longer for one item than the pipeline's limit of time")


class FunctionMemoryError(WalleError):
    """The process grew by more memory during one item than the pipeline allows."""

    def __init__(self) -> None:
        super().__init__("took more memory for one item than the pipeline's limit")


def resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError):
        return 0


class Watched:
    """See `Guard.watched`."""

    __slots__ = ("guard", "loop", "outer", "values")

    def __init__(self, guard: Guard, values: Iterator[Any]) -> None:
        self.guard, self.values = guard, values
        self.loop = (threading.get_ident(), values)

    def __enter__(self) -> Iterator[Any]:
        self.outer = self.guard._loop
        self.guard._loop = self.loop
        if self.outer is None:
            self.guard._wake()
        return self.values

    def __exit__(self, *_: object) -> None:
        guard = self.guard
        with guard._lock:  # an interrupt that comes too late must not hit what follows
            guard._loop = self.outer
            if guard._fired:
                guard._fired = False
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.loop[0]), None)


class Guard:
    """Watches loops over user functions from a thread that exists while they run and sleeps between looks.

    It sees progress by how many items a loop's iterator has left, which costs the loop nothing. It interrupts by an
    exception raised in the thread of the loop, so code that never returns to Python (a C call that hangs) is reported only
    when it returns; tasks that may do that belong into a process of their own.

    Args:
        seconds: for one item; None: no limit.
        memory: bytes by which the process may grow during one item; None: no limit.
    """

    def __init__(self, seconds: float | None = 5.0, memory: int | None = 512 << 20) -> None:
        self.seconds, self.memory = seconds, memory
        self._loop: tuple[int, Any] | None = None  # thread, iterator
        self._changed = threading.Condition()
        self._lock = threading.Lock()
        self._fired = False
        self._thread: threading.Thread | None = None
        self._stopped = False

    def watched(self, values: Iterator[Any]) -> Watched:
        """Use as ``with guard.watched(iterator of a list) as values``; functions called inside are interrupted by
        FunctionTimeoutError and FunctionMemoryError.
        """
        return Watched(self, values)

    _idle = False

    def _wake(self) -> None:
        if self._thread is None and (self.seconds is not None or self.memory is not None):
            self._start()
        elif self._idle:
            with self._changed:
                self._changed.notify_all()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="walle-guard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        quiet = 0
        seen: tuple[Any, int] | None = None
        since, base = 0.0, 0
        while not self._stopped:
            loop = self._loop
            if loop is None:
                quiet, seen = quiet + 1, None
                with self._changed:
                    if self._stopped:
                        return
                    self._idle = quiet > 20  # a second without work: sleep until there is some
                    if self._idle and self._loop is None:
                        self._changed.wait()
                        self._idle, quiet = False, 0
            else:
                quiet = 0
                now, mark = time.monotonic(), (loop[1], loop[1].__length_hint__())
                if seen is None or seen[0] is not mark[0] or seen[1] != mark[1]:
                    seen, since, base = mark, now, resident()
                elif self.seconds is not None and now - since > self.seconds:
                    self._interrupt(loop, FunctionTimeoutError)
                    since = now + 1
                elif self.memory is not None and resident() - base > self.memory:
                    self._interrupt(loop, FunctionMemoryError)
                    base = resident()
            with self._changed:
                if not self._stopped:
                    self._changed.wait(PERIOD)

    def _interrupt(self, loop: tuple[int, Any], error: type[Exception]) -> None:
        with self._lock:
            if self._loop is not loop:
                return
            self._fired = True
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(loop[0]), ctypes.py_object(error))
