"""Why a task fired, or did not: one pattern followed over one key's events, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from walle_pipeline.events import Event
from walle_pipeline.pattern import ANY, STRICT, Condition, Pattern
from walle_pipeline.positions import Position, positions

Taken = tuple[tuple[int, Event], ...]  # step from 1, event
Way = tuple[Taken, str, str, int]  # what is taken, outcome, reason, number of the last event


@attrs.frozen
class Attempt:
    """What became of a match that could have begun at one event.

    Attributes:
        first: the event.
        taken: (step number from 1, event) for each event that was taken.
        outcome: ``fired``, ``waiting``, ``lost`` (the next event did not fit), ``forbidden``, ``late`` or ``skipped``.
        reason: one sentence that names the step at which it stopped.
    """

    first: Event
    taken: Taken
    outcome: str
    reason: str


def explain(pattern: Pattern, events: Sequence[Event]) -> list[Attempt]:
    """Every attempt at `pattern` in `events`, which are one key's, in order of time. Of the branches of
    ``followed_by_any`` the first that fires is told.
    """
    conditions: list[Condition] = []

    def number(condition: Condition) -> int:
        conditions.append(condition)
        return len(conditions) - 1

    made, owner = positions(pattern, number)
    found: list[Attempt] = []
    blocked = -1  # events up to this one belong to a match
    for start, event in enumerate(events):
        way = _way(made[0], conditions, event, fresh=True)
        if way is None:
            continue
        attempt, end = _follow(pattern, made, owner, conditions, events, start, way[0])
        if pattern.after == "past_last" and start <= blocked:
            attempt = attrs.evolve(
                attempt,
                outcome="skipped",
                reason=f"event {event.id} lies within the match before (after_match past_last)",
            )
        elif attempt.outcome == "fired":
            blocked = end
        found.append(attempt)
    return found


def satisfies(condition: Condition, event: Event) -> bool:
    """Does `event` satisfy `condition`? One that raises counts as false."""
    if condition.kind not in ("*", event.kind) or condition.page not in ("*", event.page):
        return False
    try:
        return condition.where is None or bool(condition.where(event))
    except Exception:
        return False


def _way(
    position: Position, conditions: list[Condition], event: Event, *, fresh: bool
) -> tuple[int, int] | None:
    for condition, target, mode in position[0]:
        if (mode != STRICT or fresh) and satisfies(conditions[condition], event):
            return target, mode
    return None


def _follow(
    pattern: Pattern,
    made: list[Position],
    owner: list[int],
    conditions: list[Condition],
    events: Sequence[Event],
    start: int,
    at: int,
) -> tuple[Attempt, int]:
    first = events[start]
    known: dict[tuple[int, int], Way] = {}  # (position, number of the event taken last) -> how it goes on

    def go(at: int, last: int) -> Way:
        if (at, last) not in known:
            known[at, last] = search(at, last)
        return known[at, last]

    def search(at: int, last: int) -> Way:
        exits, forbidden = made[at]
        if not exits:
            return (), "fired", f"all {len(pattern.steps)} steps were taken", last
        wanted = " or ".join(f"step {owner[target] + 1}, {conditions[c]}" for c, target, _ in exits)
        branches: list[Way] = []

        def ended(outcome: str, reason: str) -> Way:
            return min(
                (b for b in branches if b[1] == "fired"), key=_first, default=((), outcome, reason, last)
            )

        for index in range(last + 1, len(events)):
            event = events[index]
            if pattern.within_ms is not None and event.time - first.time >= pattern.within_ms:
                return ended("late", f"{pattern.within_ms} ms had passed before {wanted} came")
            way = _way(made[at], conditions, event, fresh=last + 1 == index)
            if way is not None:
                taken, *rest = go(way[0], index)
                branches.append((((owner[way[0]] + 1, event), *taken), *rest))
                if way[1] != ANY:
                    return min((b for b in branches if b[1] == "fired"), key=_first, default=branches[-1])
                continue
            for condition in forbidden:
                if satisfies(conditions[condition], event):
                    what = f"event {event.id}, {conditions[condition]}, is forbidden before {wanted}"
                    return ended("forbidden", what)
            if all(mode == STRICT for _, _, mode in exits):
                found = f"it was event {event.id}, {event.kind}({event.page})"
                return ended("lost", f"the next event had to be {wanted}; {found}")
        return ended("waiting", f"waits for {wanted}")

    taken, outcome, reason, end = go(at, start)
    return Attempt(first, ((owner[at] + 1, first), *taken), outcome, reason), end


def _first(way: Way) -> tuple[int, list[int]]:
    """Of several ways that fire: the one that ends first, then the one that took earlier events."""
    return way[3], [event.time for _, event in way[0]]
