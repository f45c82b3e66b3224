"""Threads with a worker each and the queue before them, for one kind of isolation."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from walle_core.errors import UnsupportedError
from walle_core.vm.fair import FairQueue
from walle_core.vm.run import TaskRun, cancelled
from walle_core.vm.slot import LINUX, Slot
from walle_core.vm.types import Ended, Outcome, failed
from walle_core.vm.workers import Worker

PATIENCE = (
    0.02  # seconds that a task which runs nowhere waits before it gets a worker beyond the usual number
)
AGAIN = 0.02  # seconds between two attempts to stop a run
MOST_ABANDONED = 4  # runs of one task that could not be stopped: it gets no more until they return
IDLE_PRIORITY = 19  # of the operating system, for what cannot be stopped


class Lane:
    """Workers of one kind.

    Args:
        mode: name of the isolation.
        factory: makes a worker, called by the thread that will use it.
        workers: how many run at once; as many more are made when a task would otherwise wait for others to end.
        wake: called when a run begins, so that it is watched.
        enter: called by each thread once, after it has made its first worker: shuts it in.
    """

    def __init__(
        self,
        mode: str,
        factory: Callable[[], Worker],
        workers: int,
        wake: Callable[[], None],
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        self.mode, self.factory, self.workers, self.wake, self.enter = mode, factory, workers, wake, enter
        self.lock = threading.Lock()
        self.ready = threading.Condition(self.lock)
        self.extra_ready = threading.Condition(self.lock)
        self.queue: FairQueue[TaskRun] = FairQueue()
        self.outcomes: Counter[str] = Counter()
        self.closing = False
        self.quarantined: list[Slot] = []
        self.dead: list[Slot] = []
        self.recycled = 0
        self.slots: list[Slot] = []
        try:
            for _ in range(workers):
                self.slots.append(Slot(self, extra=False))
        except RuntimeError as error:
            self.close()
            raise UnsupportedError(
                f"the system gives {len(self.slots)} threads for {workers} workers: {error}"
            ) from error

    def submit(self, run: TaskRun) -> None:
        """Queues a run. Raises RuntimeError after `close`."""
        with self.lock:
            if self.closing:
                raise RuntimeError("the host is closed")
            held = sum(s.run is not None and s.run.task is run.task for s in self.quarantined)
            if held >= MOST_ABANDONED:
                why = f"{held} runs of {run.task.name} could not be stopped and are still in progress; wait for them, or use isolation='process'"
                run.finish(failed(Outcome.REFUSED, "PolicyError", why))
                self.outcomes[Outcome.REFUSED.value] += 1
                return
            run._cancel = self.cancel
            self.queue.push(run.task, run, run.priority)
            self.ready.notify()

    def take(self, slot: Slot) -> TaskRun | None:
        """The next run for a slot, waited for; None: it is to end."""
        with self.lock:
            while not self.closing and not slot.lost:
                run, slot.given = slot.given, None
                while run is None and not slot.extra and len(self.queue):
                    run = self.queue.pop()
                    if run is not None and run.ended is not None:
                        run = None  # cancelled while it waited
                if run is not None:
                    self.begin(slot, run)
                    return run
                (self.extra_ready if slot.extra else self.ready).wait()
        return None

    def begin(self, slot: Slot, run: TaskRun) -> None:
        """Notes that a slot has a run. The lock is held."""
        run.start()
        slot.run, slot.asked, slot.why = run, 0.0, Outcome.TIMEOUT
        slot.deadline = run.timings.started_s + run.limits.wall_s
        self.wake()

    def ended(self, slot: Slot, run: TaskRun, ended: Ended) -> None:
        """Notes how a slot's run ended."""
        with self.lock:
            slot.run = None
            if slot.lost:
                self.quarantined.remove(slot)
                return
            self.recycled += not ended.reusable
            if run.finish(ended):
                self.outcomes[ended.outcome.value] += 1
            self.queue.charge(run.task, run.timings.run_s)

    def cancel(self, run: TaskRun) -> None:
        """Takes a run out of the queue or has it stopped."""
        with self.lock:
            slot = next((s for s in self.slots if s.run is run or s.given is run), None)
            if slot is None or slot.given is run:
                if run.finish(cancelled()):
                    self.outcomes[Outcome.CANCELLED.value] += 1
                if slot is not None:
                    slot.given = None
                return
            slot.deadline, slot.why = time.monotonic(), Outcome.CANCELLED
        self.wake()
        self.watch(time.monotonic())

    def watch(self, now: float) -> bool:
        """Stops what is over its time, abandons what does not stop, helps who waits; whether anything is left to watch."""
        with self.lock:
            for slot in list(self.slots):
                run = slot.run
                if run is not None and self.mode == "interpreter" and slot.died():
                    self.bury(slot, run)
                    continue
                if run is None or now < slot.deadline or now - slot.asked < AGAIN:
                    continue
                slot.asked = now
                if now >= slot.deadline + run.limits.grace_s:
                    self.abandon(slot, run)
                elif slot.worker is not None:
                    slot.worker.kill(slot.why)
            for slot in self.quarantined:  # a loop that catches everything may yet be hit where it does not
                if slot.worker is not None and now - slot.asked >= AGAIN:
                    slot.asked = now
                    slot.worker.kill(slot.why)
            self.overcommit(now)
            return bool(self.quarantined) or any(s.run is not None for s in self.slots) or len(self.queue) > 0

    def abandon(self, slot: Slot, run: TaskRun) -> None:
        """Ends a run that cannot be stopped and leaves its thread behind, at the lowest priority."""
        slot.lost = True
        if run.finish(
            failed(slot.why, "TaskStopped", f"{slot.why.value}; it did not stop and was abandoned")
        ):
            self.outcomes[slot.why.value] += 1
        self.queue.charge(run.task, run.timings.run_s)
        if slot.worker is not None:
            slot.worker.kill(slot.why)
        if LINUX:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, slot.native, IDLE_PRIORITY)
        self.quarantined.append(slot)
        self.slots.remove(slot)
        if not self.closing:
            self.slots.append(Slot(self, extra=slot.extra))

    def bury(self, slot: Slot, run: TaskRun) -> None:
        """Ends a run whose thread is gone, and puts another in its place."""
        why = "the task ended its thread, as os._exit does; the interpreter on it is lost"
        if run.finish(failed(Outcome.LOST, "WorkerLost", why)):
            self.outcomes[Outcome.LOST.value] += 1
        self.queue.charge(run.task, run.timings.run_s)
        self.dead.append(slot)
        self.slots.remove(slot)
        if not self.closing:
            self.slots.append(Slot(self, extra=slot.extra))

    def overcommit(self, now: float) -> None:
        """Gives a run whose task runs nowhere a worker more when all are busy: the operating system shares the cores."""
        usual = [s.run for s in self.slots if not s.extra]
        if self.closing or any(r is None or now - r.timings.started_s < PATIENCE for r in usual):
            return
        running = {run.task for s in self.slots for run in (s.run, s.given) if run is not None}
        found = self.queue.other(running) if len(self.queue) else None
        if found is None or now - found[1].submitted < PATIENCE:
            return
        if found[1].ended is not None:  # cancelled while it waited
            self.queue.pop(found[0])
            return
        extras = [s for s in self.slots if s.extra]
        slot = next((s for s in extras if s.run is None and s.given is None), None)
        if slot is None and len(extras) < self.workers:
            slot = Slot(self, extra=True)
            self.slots.append(slot)
        if slot is not None:
            slot.given = self.queue.pop(found[0])
            self.extra_ready.notify_all()

    def close(self, wait_s: float = 2.0) -> None:
        """Cancels what waits, stops what runs, ends the threads that end within `wait_s`."""
        with self.lock:
            self.closing = True
            for run in [*self.queue.clear(), *(s.given for s in self.slots if s.given is not None)]:
                run.finish(cancelled())
            for slot in self.slots:
                slot.deadline, slot.why = 0.0, Outcome.CANCELLED
            self.ready.notify_all()
            self.extra_ready.notify_all()
        end = time.monotonic() + wait_s
        while any(s.thread.is_alive() for s in self.slots) and time.monotonic() < end:
            with self.lock:
                for slot in list(self.slots):
                    if slot.run is not None and slot.worker is not None:
                        slot.worker.kill(Outcome.CANCELLED)
            for slot in self.slots:
                slot.thread.join(0.01)
        with self.lock:
            for slot in list(self.slots):
                if slot.run is not None:
                    self.abandon(slot, slot.run)

    def stuck(self) -> list[Slot]:
        """Threads that have not ended, or not so that Python noticed."""
        return [s for s in (*self.slots, *self.quarantined, *self.dead) if s.thread.is_alive()]

    def in_use(self) -> bool:
        """Whether a run waits or is in progress."""
        with self.lock:
            return len(self.queue) > 0 or any(s.run is not None or s.given is not None for s in self.slots)

    def stats(self) -> dict[str, Any]:
        """Counts of now and since the start."""
        with self.lock:
            return {
                "workers": sum(not s.extra for s in self.slots),
                "extra": sum(s.extra for s in self.slots),
                "busy": sum(s.run is not None for s in self.slots),
                "queued": len(self.queue),
                "quarantined": len(self.quarantined),
                "lost": len(self.dead),
                "recycled": self.recycled,
                "outcomes": dict(self.outcomes),
            }
