"""The trigger within a pipeline: whose its matches are, and when they come.

Matches leave in an order, and with times, that depend on the events alone and not on how they were fed. A match comes when
it is decided, which is when its last event comes, unless an earlier start of its pattern can still match: then when an
event or the time ends that. Only a few patterns can make a match wait (see `waits`); while there is one, time passes step
by step between events, as if each had been fed alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from walle_pipeline._engine import Match
from walle_pipeline.batch import Batch
from walle_pipeline.errors import FlowError
from walle_pipeline.events import Event
from walle_pipeline.flow import Root
from walle_pipeline.guard import Guard
from walle_pipeline.pattern import ANY, Pattern
from walle_pipeline.positions import positions
from walle_pipeline.running import Running, RunningFlow
from walle_pipeline.trigger import Trigger

Dated = tuple[Match, int]  # a match and when it was decided


def waits(pattern: Pattern) -> bool:
    """Whether a match of `pattern` can be complete while an earlier start can still match.

    Partial matches at one position take the same events, so an earlier start is never behind a later one; unless one may
    pass an event over that the other, which has just taken one, may not.
    """
    if pattern.after != "past_last":
        return False
    ways = [{mode for _, _, mode in exits} for exits, _ in positions(pattern, lambda _: 0)[0][1:]]
    return any(ANY in modes or len(modes) > 1 for modes in ways)


class Matching:
    """Hands matches to the beginnings of flows.

    Attributes:
        busy: is the trigger at work? Then conditions of patterns may be what calls.
        now: the time that has come.
    """

    def __init__(self, trigger: Trigger, guard: Guard) -> None:
        self.trigger, self.guard = trigger, guard
        self.busy = False
        self.now = 0
        self._tasks: dict[str, Running] = {}  # task of the trigger -> beginning of a flow
        self._stepwise = False
        self._timeouts: list[Match] = []  # not handed over yet: others of their time may follow

    def add(self, name: str, running: RunningFlow) -> None:
        """Events from now on may start a flow. Raises FlowError, and has then changed nothing."""
        added: dict[str, Running] = {}
        try:
            for number, root in enumerate(running.roots):
                assert isinstance(root.node, Root)
                if root.node.patterns:
                    task = f"{name}#{number}" if number else name
                    self.trigger.add(task, *root.node.patterns)
                    added[task] = root
        except FlowError:
            for task in added:
                self.trigger.remove(task)
            raise
        self._tasks |= added
        self._changed()

    def remove(self, running: RunningFlow) -> None:
        """No event starts a flow any more."""
        for task in [task for task, root in self._tasks.items() if root.owner is running]:
            self.trigger.remove(task)
            del self._tasks[task]
        self._changed()

    def _changed(self) -> None:
        self._stepwise = any(waits(p) for some in self.trigger.patterns.values() for p in some)

    def feed(self, events: list[Event]) -> None:
        """Takes events in order of time."""
        if not self._tasks:
            return
        if not self._stepwise:
            self._hand_over([(match, match.time) for match in self._fed(events)])
            return
        found: list[Dated] = []
        for event in events:
            self._pass(event.time, found)
            found += [(match, event.time) for match in self._fed([event])]
        self._hand_over(found)

    def advance(self, now: int) -> None:
        """No event before `now` comes any more."""
        found: list[Dated] = []
        self._pass(now, found)
        self._hand_over(found)
        self._hand_over_timeouts()

    def finish(self, now: int) -> None:
        """No event comes any more; the last was not after `now`."""
        fired = self.trigger.finish()
        self._timeouts += fired.timeouts
        self._hand_over([(match, now) for match in sorted(fired.matches, key=_order)])
        self._hand_over_timeouts()

    def _fed(self, events: list[Event]) -> list[Match]:
        self.busy = True
        try:
            with self.guard.watched(iter(events)) as watched:
                fired = self.trigger.feed(watched)
        finally:
            self.busy = False
        self._timeouts += fired.timeouts
        return fired.matches

    def _pass(self, now: int, found: list[Dated]) -> None:
        while (deadline := self.trigger.deadline) is not None and deadline <= now:
            at = deadline if self._stepwise else now
            fired = self.trigger.expire(at)
            self._timeouts += fired.timeouts
            # the trigger may look at a key later than it could
            found += [(match, max(at, self.now)) for match in sorted(fired.matches, key=_order)]
        self.now = max(self.now, now)

    def _hand_over(self, found: Iterable[Dated]) -> None:
        for root, batch in self._by_root(found):
            root.give(batch)

    def _hand_over_timeouts(self) -> None:
        if self._timeouts:
            some, self._timeouts = sorted(self._timeouts, key=_order), []
            for root, batch in self._by_root((match, match.time) for match in some):
                root.side("timeouts", batch)

    def _by_root(self, found: Iterable[Dated]) -> Iterable[tuple[Running, Batch]]:
        by_task: dict[str, Batch] = {}
        for match, time in found:
            batch = by_task.get(match.task)
            if batch is None:
                batch = by_task[match.task] = Batch([], [], [])
            batch.values.append(match)
            batch.times.append(time)
            batch.keys.append(match.key)
        for task, batch in by_task.items():
            if task in self._tasks:  # else a function has removed its flow
                yield self._tasks[task], batch


def _order(match: Match) -> Any:
    return match.time, match.position, len(match), match.nbytes
