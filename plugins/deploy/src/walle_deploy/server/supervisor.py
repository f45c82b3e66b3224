"""Several processes that do the same: one that dies is started anew at once, and all end together."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

from walle_deploy.server.logs import event

BREATH_S = 1.0  # after the death of a process that lived for less
GRACE_S = 15.0  # to end, before a process is killed


class Supervisor:
    """Runs `work(*arguments)` in so many processes until SIGINT or SIGTERM.

    Args:
        work: can be sent to another process, as its arguments.
        arguments: of `work`.
        workers: how many.
        failure: exit status of a process that will never start; it ends all.
    """

    def __init__(
        self, work: Callable[..., Any], arguments: tuple[Any, ...], workers: int, failure: int
    ) -> None:
        self._work, self._arguments, self._workers, self._failure = work, arguments, workers, failure
        self._spawn = multiprocessing.get_context("spawn")
        self._running: dict[int, tuple[SpawnProcess, float]] = {}  # sentinel -> process, when it was started

    def run(self) -> bool:
        """Whether all went well: they were ended from outside, and none failed to start."""
        with _signals() as woken:
            try:
                while True:
                    while len(self._running) < self._workers:
                        self._start()
                    for ready in wait([*self._running, woken]):
                        if ready == woken:
                            return True
                        if not self._ended(ready):
                            return False
            finally:
                self._stop()

    def _start(self) -> None:
        made = self._spawn.Process(target=self._work, args=self._arguments)
        made.start()
        self._running[made.sentinel] = (made, time.monotonic())

    def _ended(self, sentinel: Any) -> bool:
        """Forgets a process that has ended; whether another may take its place."""
        process, began = self._running.pop(sentinel)
        process.join()
        if process.exitcode == self._failure:
            event("a worker cannot start", logging.ERROR, worker=process.pid)
            return False
        event("a worker died", logging.ERROR, worker=process.pid, status=process.exitcode)
        if time.monotonic() - began < BREATH_S:
            time.sleep(BREATH_S)
        return True

    def _stop(self) -> None:
        processes = [process for process, _ in self._running.values()]
        for process in processes:
            process.terminate()
        end = time.monotonic() + GRACE_S
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                event("a worker does not end, and is killed", logging.ERROR, worker=process.pid)
                process.kill()
                process.join()
        self._running.clear()


@contextmanager
def _signals() -> Iterator[int]:
    """A handle that can be read once SIGINT or SIGTERM came."""
    reading, writing = os.pipe()

    def came(*_: object) -> None:
        with contextlib.suppress(OSError):
            os.write(writing, b"x")

    before = {number: signal.signal(number, came) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
