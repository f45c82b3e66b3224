"""Runs of one task: a bounded queue, a thread, and a process for the version that is current."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from walle_deploy.agent.contained import Container, Run
from walle_deploy.agent.loaded import Loaded
from walle_deploy.task.values import EVENTS

SWITCH_S = 10.0  # from when a version is uninstalled to when another one runs
_log = logging.getLogger(__name__)


@attrs.frozen(eq=False)
class Item:
    """A run that is to be made.

    Attributes:
        events: of the match, plain; for the inputs of dtype ``events``.
        inputs: further ones by name.
        name: of the match that asks for it, the same if it is found again after a restart; "" if a program asks.
        time: of the match, milliseconds of the events' clock.
        key: whose events they are.
        done: called with how it went.
    """

    events: list[dict[str, Any]] = attrs.field(factory=list)
    inputs: Mapping[str, Any] = attrs.field(factory=dict)
    name: str = ""
    time: int = 0
    key: str = ""
    done: Callable[[Run], None] = lambda run: None


Finished = Callable[[Loaded, Item | None, Run], None]
More = Callable[[str, list[dict[str, Any]]], Mapping[str, Any]]  # task, events -> further inputs


class Runner:
    """One task's runs, one after the other. Any thread may call any method.

    Args:
        loaded: the version to run.
        finished: called in the runner's thread after each run and, without an item, after a start that failed.
        more: gives inputs that are no events, when a run begins.
        length: items that may wait; of more, the oldest are dropped.
        idle_s: seconds without work after which the process ends, until there is some.
        start_s: seconds that a process may take to start.
        tries: starts of the process before there is work, to see whether the version can run; 0: with the first work.
        pause_s: seconds before another such start.

    Attributes:
        dropped: items that found no room.
    """

    def __init__(
        self,
        loaded: Loaded,
        finished: Finished,
        more: More | None = None,
        length: int = 64,
        idle_s: float = 300.0,
        start_s: float = 60.0,
        tries: int = 0,
        pause_s: float = 1.0,
    ) -> None:
        self.task = loaded.task
        self.dropped = 0
        self._finished, self._more, self._length = finished, more, length
        self._idle_s, self._start_s, self._pause_s = idle_s, start_s, pause_s
        self._changed = threading.Condition()
        self._loaded, self._tries = loaded, tries
        self._queue: deque[Item] = deque()
        self._running: Item | None = None
        self._stopping = False
        self._container: Container | None = None
        self._thread = threading.Thread(target=self._work, name=f"walle-task-{self.task}", daemon=True)
        self._thread.start()

    @property
    def loaded(self) -> Loaded:
        """The version that the next run is of."""
        return self._loaded

    def switch(self, loaded: Loaded, tries: int = 0) -> None:
        """Another version from the next run on."""
        with self._changed:
            self._loaded, self._tries = loaded, tries
            self._changed.notify()

    def offer(self, item: Item) -> None:
        """Puts an item into the queue, unless one of its name is there."""
        over: Item | None = None
        with self._changed:
            known = [*self._queue, *([self._running] if self._running else [])]
            if item.name and any(other.name == item.name for other in known):
                return
            if self._stopping:
                over = item
            else:
                self._queue.append(item)
                if len(self._queue) > self._length:
                    over = self._queue.popleft()
                    self.dropped += 1
            self._changed.notify()
        if over is not None:
            over.done(Run(f"task {self.task!r}: no room in its queue, or it was removed", started=False))

    def waiting(self) -> list[Item]:
        """What is not done, the one that runs first."""
        with self._changed:
            return [*([self._running] if self._running else []), *self._queue]

    def idle(self, timeout: float) -> bool:
        """Waits until nothing is left to do, at most `timeout` seconds; whether that came."""
        with self._changed:
            return self._changed.wait_for(lambda: self._rests or self._stopping, timeout)

    @property
    def _rests(self) -> bool:
        return not self._queue and self._running is None and self._tries <= 0

    def stop(self) -> None:
        """Ends the runs, the one that is under way too; does not wait. What was not done stays in `waiting`."""
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
            over, container = list(self._queue), self._container
            self._changed.notify_all()
        if container is not None:
            container.interrupt()
        for item in over:
            item.done(Run(f"task {self.task!r}: it was removed", started=False))

    def join(self, timeout: float = 10.0) -> None:
        """Waits for the thread's end after `stop`."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while (loaded := self._await()) is not None:
                container = self._container
                if container is None or container.loaded is not loaded:
                    self._end()
                    container = self._container = Container(loaded, self._start_s)
                if self._running is not None:
                    self._run(container, self._running)
                else:
                    self._try(container)
        except Exception:
            _log.exception("task %s: its runs end", self.task)
        finally:
            self._end()
            self.stop()

    def _await(self) -> Loaded | None:
        """Waits for work, which is then `_running`, or for a version to be tried; None at the end."""
        while not self._stopping:
            with self._changed:
                wait = self._idle_s if self._container is not None else None
                if self._changed.wait_for(self._has_work, wait):
                    if self._stopping:
                        break
                    if self._queue:
                        self._running = self._queue.popleft()
                    return self._loaded
            self._end()  # there was nothing to do for so long
        return None

    def _has_work(self) -> bool:
        return self._stopping or bool(self._queue) or self._tries > 0

    def _run(self, container: Container, item: Item) -> None:
        run = self._called(container, item)
        if run.failed and self._replaced(container.loaded):
            with self._changed:
                self._queue.appendleft(item)
                self._running = None
            return
        if not self._stopping:
            self._told(container.loaded, item, run)
        with self._changed:
            self._running = item if self._stopping else None
            if run.started and container.loaded is self._loaded:
                self._tries = 0
            self._changed.notify_all()
        item.done(run)

    def _replaced(self, loaded: Loaded) -> bool:
        """Whether a version failed because it was uninstalled for another, which is then waited for."""
        if loaded.version.folder.is_dir():
            return False
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._loaded is not loaded, SWITCH_S)
            return self._loaded is not loaded and not self._stopping

    def _called(self, container: Container, item: Item) -> Run:
        loaded, inputs = container.loaded, dict(item.inputs)
        declared = loaded.config.inputs
        inputs |= {name: item.events for name, value in declared.items() if value.dtype == EVENTS}
        try:
            if self._more is not None and declared.keys() - inputs.keys():
                inputs |= self._more(self.task, item.events)
        except Exception as error:  # of the application
            return Run(f"the application gave no inputs: {type(error).__name__}: {error}"[:500])
        if missing := sorted(declared.keys() - inputs.keys()):
            return Run(f"nothing gives the input {missing[0]!r}")
        if unknown := sorted(inputs.keys() - declared.keys()):
            return Run(f"it has no input {unknown[0]!r}")
        return attrs.evolve(container.run(inputs), inputs=inputs)

    def _try(self, container: Container) -> None:
        problem = container.start()
        with self._changed:
            if container.loaded is not self._loaded:
                return
            self._tries = self._tries - 1 if problem else 0
            again = self._tries > 0
            self._changed.notify_all()
        if problem and not self._stopping and not self._replaced(container.loaded):
            self._told(container.loaded, None, Run(problem, started=False))
            if again:
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._stopping or bool(self._queue) or self._loaded is not container.loaded,
                        self._pause_s,
                    )

    def _told(self, loaded: Loaded, item: Item | None, run: Run) -> None:
        try:
            self._finished(loaded, item, run)
        except Exception:  # a fault of ours must not end the task's runs
            _log.exception("task %s: what came of a run is lost", self.task)

    def _end(self) -> None:
        container = self._container
        if container is not None:
            container.close()
            with self._changed:
                self._container = None
                self._changed.notify_all()
