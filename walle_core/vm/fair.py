"""The order in which runs begin: by priority; among equals by the time that their tasks have had.

That is start-time fair queueing (Goyal, Vin and Cheng 1996): a task that has used much waits for those that have used little.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush
from typing import Generic, TypeVar

R = TypeVar("R")
FIRST = 0.001  # seconds that a task is taken to need before it has run


class _Flow(Generic[R]):
    def __init__(self, clock: float) -> None:
        self.served = clock
        self.mean = FIRST
        self.runs: list[tuple[int, int, R]] = []
        self.key: tuple[int, float, int] | None = None


class FairQueue(Generic[R]):
    """Runs of many tasks. Not safe for threads: its owner has a lock."""

    def __init__(self) -> None:
        self.flows: dict[object, _Flow[R]] = {}
        self.order: list[tuple[tuple[int, float, int], object]] = []
        self.clock = 0.0
        self.count = 0
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def push(self, task: object, run: R, priority: int = 0) -> None:
        """Adds a run; those of one task begin by priority, then in the order of their arrival."""
        flow = self.flows.get(task)
        if flow is None:
            if len(self.flows) > 4096:
                self.flows = {t: f for t, f in self.flows.items() if f.runs or f.served > self.clock}
            flow = self.flows[task] = _Flow(self.clock)
        if not flow.runs:
            flow.served = max(flow.served, self.clock)  # time not used earlier is not saved up
        self.count += 1
        self.size += 1
        heappush(flow.runs, (-priority, self.count, run))
        self._place(task, flow)

    def _place(self, task: object, flow: _Flow[R]) -> None:
        key = (flow.runs[0][0], flow.served, flow.runs[0][1]) if flow.runs else None
        if key != flow.key:
            flow.key = key
            if key is not None:
                heappush(self.order, (key, task))

    def _settle(self) -> None:
        while self.order:
            key, task = self.order[0]
            flow = self.flows.get(task)
            if flow is not None and flow.key == key:
                return
            heappop(self.order)

    def other(self, running: Collection[object]) -> tuple[object, R] | None:
        """The task and run that is next among tasks that are none of these, if none of higher priority waits."""
        self._settle()
        first = self.order[0][0][0] if self.order else 0
        keys = ((f.key, t) for t, f in self.flows.items() if f.key is not None and t not in running)
        found = min((k for k in keys if k[0][0] == first), key=lambda pair: pair[0], default=None)
        return (found[1], self.flows[found[1]].runs[0][2]) if found is not None else None

    def pop(self, task: object = None) -> R | None:
        """Takes the next run, or that of a task which has one; its task is charged what its runs take on average, until `charge`
        corrects that.
        """
        self._settle()
        if not self.order:
            return None
        task = self.order[0][1] if task is None else task
        flow = self.flows[task]
        run = heappop(flow.runs)[2]
        self.size -= 1
        self.clock = max(self.clock, flow.served)
        flow.served += flow.mean
        self._place(task, flow)
        return run

    def charge(self, task: object, seconds: float) -> None:
        """What a run has taken in fact."""
        flow = self.flows.get(task)
        if flow is not None:
            flow.served += seconds - flow.mean
            flow.mean += (seconds - flow.mean) / 8
            self._place(task, flow)

    def clear(self) -> list[R]:
        """Takes all runs out."""
        runs = [run for flow in self.flows.values() for _, _, run in flow.runs]
        self.__init__()  # type: ignore[misc]
        return runs
