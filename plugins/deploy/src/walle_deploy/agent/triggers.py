"""Joins tasks to a pipeline: the patterns of each are a flow, and a match becomes a run. Needs walle_pipeline."""

from __future__ import annotations

from typing import Any, Protocol

from walle_pipeline import Flow
from walle_pipeline.batch import Batch
from walle_pipeline.errors import FlowError
from walle_pipeline.events import Schema
from walle_pipeline.sinks import Numbered
from walle_pipeline.trigger import Trigger

from walle_deploy.agent.loaded import Loaded
from walle_deploy.agent.runner import Item
from walle_deploy.errors import TaskError
from walle_deploy.task.events import plain_events
from walle_deploy.task.trigger import compile_trigger


class Work(Protocol):
    """Takes runs of one task, and knows those that are not done."""

    def offer(self, item: Item) -> None:
        """Takes a run that is to be made."""

    def waiting(self) -> list[Item]:
        """Those that are not done."""


class ToWork(Numbered):
    """Ends a task's flow: a match is offered as a run, under a name that is the same after a restart.

    What is not done is part of the pipeline's snapshot, so that it is offered again.
    """

    def __init__(self, task: str, work: Work) -> None:
        super().__init__(task)
        self.name = f"task {task}"
        self._work = work

    def put(self, batch: Batch, names: list[str]) -> None:
        """See Numbered."""
        for match, time, key, name in zip(batch.values, batch.times, batch.keys, names, strict=True):
            self._work.offer(Item(plain_events(match.span), name=name, time=time, key=str(key)))

    def snapshot(self) -> Any:
        """See Operator."""
        waiting = [
            [item.name, item.time, item.key, item.events] for item in self._work.waiting() if item.name
        ]
        return [super().snapshot(), waiting]

    def restore(self, state: Any) -> None:
        """See Operator."""
        super().restore(state[0])
        for name, time, key, events in state[1]:
            self._work.offer(Item(events, name=name, time=time, key=key))


def flow_of(loaded: Loaded, work: Work) -> Flow | None:
    """The flow of a task; None if only programs start it. Raises TaskError."""
    patterns = compile_trigger(loaded.config.trigger)
    if not patterns:
        return None
    flow = Flow(loaded.task)
    flow.on(*patterns).to(ToWork(loaded.task, work))
    return flow


def check(loaded: Loaded, schema: Schema) -> None:
    """Raises TaskError if the task's patterns cannot work with this application's kinds of events."""
    try:
        Trigger(schema).add(loaded.task, *compile_trigger(loaded.config.trigger))
    except FlowError as error:
        raise TaskError(f"task {loaded.task!r} {loaded.name}: {error}") from error
