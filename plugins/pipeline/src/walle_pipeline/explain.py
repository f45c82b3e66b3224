"""Why a task fired, or did not: one pattern followed over one key's events, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from walle_pipeline.events import Event
from walle_pipeline.pattern import STRICT, Condition, Pattern
from walle_pipeline.positions import Position, positions


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
    taken: tuple[tuple[int, Event], ...]
    outcome: str
    reason: str


def explain(pattern: Pattern, events: Sequence[Event]) -> list[Attempt]:
    """Every attempt at `pattern` in `events`, which are one key's, in order of time. Branches of ``followed_by_any``
    are followed to the first that fires.
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
        attempt, end = _follow(pattern, made, owner, conditions, events, start, way)
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


def _way(position: Position, conditions: list[Condition], event: Event, *, fresh: bool) -> int | None:
    for condition, target, mode in position[0]:
        if (mode != STRICT or fresh) and satisfies(conditions[condition], event):
            return target
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
    taken = [(owner[at] + 1, first)]
    last = start

    def ended(outcome: str, reason: str) -> tuple[Attempt, int]:
        return Attempt(first, tuple(taken), outcome, reason), last

    for index in range(start + 1, len(events) + 1):
        exits, forbidden = made[at]
        if not exits:
            return ended("fired", f"all {len(pattern.steps)} steps were taken")
        wanted = " or ".join(f"step {owner[target] + 1}, {conditions[c]}" for c, target, _ in exits)
        if index == len(events):
            break
        event = events[index]
        if pattern.within_ms is not None and event.time - first.time >= pattern.within_ms:
            return ended("late", f"{pattern.within_ms} ms had passed before {wanted} came")
        way = _way(made[at], conditions, event, fresh=last + 1 == index)
        if way is not None:
            at, last = way, index
            taken.append((owner[at] + 1, event))
            continue
        for condition in forbidden:
            if satisfies(conditions[condition], event):
                what = f"event {event.id}, {conditions[condition]}, is forbidden before {wanted}"
                return ended("forbidden", what)
        if all(mode == STRICT for _, _, mode in exits):
            return ended(
                "lost",
                f"the next event had to be {wanted}; it was event {event.id}, {event.kind}({event.page})",
            )
    return ended("waiting", f"waits for {wanted}")
