"""Triggers: the patterns of all tasks, matched at once against one sequence of events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from walle_pipeline._engine import Engine, Match
from walle_pipeline.errors import FlowError
from walle_pipeline.events import Event, Schema
from walle_pipeline.pattern import AFTER_MATCH, Condition, Pattern
from walle_pipeline.positions import positions

DEAD = 1000  # nodes of removed patterns that are kept, or as many as are in use


@attrs.frozen
class Fired:
    """What some events set off: complete matches, and partial ones whose time has passed; each by their ends."""

    matches: list[Match]
    timeouts: list[Match]


def _shape(pattern: Pattern) -> list[Any]:
    """What must be equal for a partial match of one pattern to be one of another."""
    return [
        str(pattern),
        pattern.within_ms,
        pattern.after,
        pattern.spans,
        pattern.paged,
        pattern.reports_timeouts,
    ]


class Trigger:
    """Matches many patterns at once; they may be added, removed and replaced at any time.

    All patterns are kept in one trie (OSDI'22 Walle, section 5: static matches begin at its root, dynamic ones go on
    from where an earlier event has led), so that what patterns have in common is matched once. Not thread-safe: one
    thread feeds; others wait for it.

    Args:
        schema: the kinds of events.
        partials: partial matches kept per key; beyond it the oldest are cut and counted.
        kept: bytes of waiting events kept per key, packed; beyond it the oldest partial matches are cut and counted.
        awake: keys that are kept ready; of more, those that no event touched for longest are packed (about 120 bytes
            each with one waiting event) and take some 200 ns more for their next event.
    """

    def __init__(
        self, schema: Schema | None = None, *, partials: int = 4096, kept: int = 1 << 20, awake: int = 4096
    ) -> None:
        self.schema = schema if schema is not None else Schema.BASIC
        self._limits = {"partials": partials, "kept": kept, "awake": awake}
        self._before: dict[str, int] = {}  # counters of engines before this one
        self.engine = Engine(self.schema, **self._limits)
        self.patterns: dict[str, tuple[Pattern, ...]] = {}
        self._numbers: dict[str, list[int]] = {}
        self._kind_numbers = {name: self.schema.numbers[cls] for name, cls in self.schema.kinds.items()}

    def add(self, task: str, *patterns: Pattern) -> None:
        """Events from now on may start `task`, by any of `patterns`.

        Raises FlowError if the task is there already, or a pattern cannot work; then nothing has changed.
        """
        if task in self.patterns:
            raise FlowError(f"task {task!r} has a trigger already; replace or remove it")
        compiled = [self._compile(task, pattern) for pattern in patterns]
        self._numbers[task] = [
            self.engine.add(
                task,
                made,
                pattern.within_ms,
                AFTER_MATCH.index(pattern.after),
                pattern.spans,
                pattern.reports_timeouts,
                pattern.paged,
            )
            for pattern, made in zip(patterns, compiled, strict=True)
        ]
        self.patterns[task] = patterns

    def remove(self, task: str) -> None:
        """No event starts `task` any more; other tasks' partial matches stay. Raises FlowError if there is no such task."""
        if task not in self.patterns:
            raise FlowError(f"no task {task!r}; there are {', '.join(self.patterns) or 'none'}")
        for number in self._numbers.pop(task):
            self.engine.remove(number)
        del self.patterns[task]
        dead = self.engine.dead_nodes, len(self.engine.names) - sum(map(len, self._numbers.values()))
        if max(dead) > max(DEAD, self.engine.stats()["nodes"]):
            self._compact()

    def _compact(self) -> None:
        """Moves everything into a new engine, without the nodes and conditions that removed patterns left behind."""
        state, before = self.snapshot(), self.stats()
        self.engine, patterns = Engine(self.schema, **self._limits), self.patterns
        self.patterns, self._numbers = {}, {}
        for task, some in patterns.items():
            self.add(task, *some)
        self.restore(state)
        self._before = {
            name: before[name] for name in ("events", "matches", "timeouts", "cut", "ended", "failed")
        }

    def replace(self, task: str, *patterns: Pattern) -> None:
        """Gives `task` other patterns; its own partial matches are dropped, no event is lost.

        Raises FlowError as `add` does; then the task keeps its old patterns.
        """
        for pattern in patterns:
            self._compile(task, pattern)
        self.remove(task)
        self.add(task, *patterns)

    def feed(self, events: Iterable[Event]) -> Fired:
        """Advances by `events`, each key's in order of time. Raises EventError for a kind that the schema does not have."""
        return Fired(*self.engine.feed(events))

    def expire(self, now: int) -> Fired:
        """Tells that it is `now` (event time, ms): partial matches whose time has passed end."""
        return Fired(*self.engine.expire(now))

    def finish(self) -> Fired:
        """Tells that no event follows: partial matches end, and matches that waited for an earlier one are decided."""
        return Fired(*self.engine.finish())

    @property
    def deadline(self) -> int | None:
        """The earliest time, ms, at which `expire` would do something; None while nothing waits."""
        found: int | None = self.engine.deadline
        return found

    def stats(self) -> dict[str, int]:
        """events, matches, timeouts, cut, ended (lost by an event), failed (conditions that raised, contents that cannot be
        packed) since the start; partials, keys (awake: those not packed), nodes now.
        """
        found: dict[str, int] = self.engine.stats()
        return found | {name: found[name] + before for name, before in self._before.items()}

    def snapshot(self) -> dict[str, Any]:
        """All partial matches, as values that MessagePack has."""
        shapes = {task: [_shape(p) for p in some] for task, some in self.patterns.items()}
        return {"tasks": self._numbers, "shapes": shapes, **self.engine.snapshot()}

    def restore(self, state: dict[str, Any]) -> int:
        """Takes up a snapshot of a trigger, before the first event. Patterns are known by their task, place and text.

        Returns how many partial matches belong to patterns that are not there any more; they are dropped. Raises
        EventError for a kind of event that the schema does not have any more, ValueError, TypeError, KeyError or IndexError
        for a damaged snapshot.
        """
        now = {}
        for task, numbers in state["tasks"].items():
            mine = zip(self._numbers.get(task, ()), map(_shape, self.patterns.get(task, ())), strict=True)
            for then, shape, (number, own) in zip(numbers, state["shapes"][task], mine, strict=False):
                if shape == own:
                    now[then] = number
        lost: int = self.engine.restore(state, now)
        return lost

    def _compile(self, task: str, pattern: Pattern) -> Sequence[object]:
        try:
            pattern.check()
            return positions(pattern, self._condition)[0]
        except FlowError as error:
            raise FlowError(f"task {task!r}: {error}") from error

    def _condition(self, condition: Condition) -> int:
        try:
            condition.page.encode()
        except UnicodeEncodeError as error:
            raise FlowError(f"page {condition.page!r} cannot be a page's name: {error}") from error
        if condition.kind == "*":
            kind = -1
        elif condition.kind in self._kind_numbers:
            kind = self._kind_numbers[condition.kind]
        else:
            raise FlowError(
                f"no kind of event {condition.kind!r}; the schema has {', '.join(self._kind_numbers)}"
            )
        page = None if condition.page == "*" else condition.page
        number: int = self.engine.condition(kind, page, condition.where)
        return number
