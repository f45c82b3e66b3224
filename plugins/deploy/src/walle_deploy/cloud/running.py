"""Runs batches on an executor that may die or hang, so that one sample never stops the others."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from walle_deploy.cloud.work import CloudTask, Outcome, text, work

ALONE = 3  # times that a sample may end its executor: another one may have


class OneThread(Executor):
    """A thread that the end of the program does not wait for, whatever it hangs in."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="walle-cloud", daemon=True).start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See concurrent.futures.Executor."""
        future: Future[Any] = Future()
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See concurrent.futures.Executor; never waits."""
        while cancel_futures:
            try:
                waiting = self._calls.get_nowait()
            except queue.Empty:
                break
            if waiting is not None:
                waiting[0].cancel()
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, made = call
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(made())
                except BaseException as error:
                    future.set_exception(error)


class Running:
    """Hands batches over.

    Arguments:
        executor: makes one; anything that keeps the contract of concurrent.futures.Executor.
        seconds: that a batch may take; one that hangs costs its executor.
    """

    def __init__(self, executor: Callable[[], Executor] | None, seconds: float) -> None:
        self._make, self._seconds = executor or OneThread, seconds
        self._executor: Executor | None = None

    async def work(self, tasks: Mapping[str, CloudTask], payloads: Sequence[bytes]) -> list[Outcome]:
        """What comes of each payload. Where a batch ends its executor or hangs, each sample is tried by itself."""
        if not payloads:
            return []
        why, hangs = "", False
        for _ in range(ALONE if len(payloads) == 1 else 1):
            executor = self._executor = self._executor or self._make()
            try:
                future = executor.submit(work, tasks, payloads)
                return await asyncio.wait_for(asyncio.wrap_future(future), self._seconds)
            except TimeoutError:
                why, hangs = f"the model took more than {self._seconds:g} s", True
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                why = "what ran the model has ended"  # another batch of it has hung
            except Exception as error:  # executors of other kinds raise what they like
                why = f"what ran the model has ended: {text(error)}"
            if self._executor is executor:
                self.close()
            if hangs:
                break
        if len(payloads) == 1:
            return [work({}, payloads)[0].because(why)]
        return [(await self.work(tasks, [payload]))[0] for payload in payloads]

    def close(self) -> None:
        """Gives the executor up; processes that hang are ended."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        hanging = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in hanging:
            with contextlib.suppress(OSError, ValueError):
                process.kill()
