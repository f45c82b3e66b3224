"""The matches of a task's patterns in a log, by the same pipeline that a device has."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from walle_pipeline import Flow, Pipeline
from walle_pipeline.events import Schema
from walle_pipeline.pattern import Pattern

from walle_deploy.simulate.recorded import Damages, Log, batches


class Replay:
    """Replays one log.

    Args:
        task: name of the task.
        patterns: that start it.
        log: to be replayed; notes of a device (time that passed, its end) are heeded.
        schema: of its events.
        damages: is told what cannot be read.

    Attributes:
        events: how many were fed.
    """

    def __init__(
        self, task: str, patterns: Sequence[Pattern], log: Log, schema: Schema, damages: Damages
    ) -> None:
        self.events = 0
        self._task, self._patterns, self._log = task, patterns, log
        self._schema, self._damages = schema, damages

    def __iter__(self) -> Generator[Any, None, None]:
        """The matches (walle_pipeline's Match), in the order in which a device would start the task."""
        found: list[Any] = []
        flow = Flow(self._task)
        flow.on(*self._patterns).to(found)
        with Pipeline(flow, schema=self._schema, ahead_ms=None) as pipeline:
            for batch in batches(self._log, self._schema, self._damages):
                if isinstance(batch, list):
                    self.events += len(batch)
                    pipeline.feed(batch)
                elif batch == "finish":
                    pipeline.finish()
                elif batch.isdecimal():
                    pipeline.advance(int(batch))
                yield from found
                found.clear()
            pipeline.finish()
            yield from found


def kinds_of(patterns: Sequence[Pattern]) -> set[str]:
    """The kinds of events that patterns name."""
    steps = [step for pattern in patterns for step in pattern.steps]
    return {condition.kind for step in steps for condition in (step.condition, *step.forbids)} - {"*"}
