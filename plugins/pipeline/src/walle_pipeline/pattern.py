"""The pattern language: which sequences of events start a task.

    page_enter("item").followed_by(click("item", where=is_buy)).not_before(page_exit("item")).within(minutes=10)

Semantics, for the events of one key in order of time. A match begins at any event that satisfies the first step. From
then on it is decided event by event, without going back:

* `next`: the very next event must satisfy the step, else the match is lost.
* `followed_by`: events that do not satisfy the step are passed over; the first that does is taken (skip till next).
* `followed_by_any`: like it, but the match also goes on as if the event had been passed over (skip till any).
* `repeat`: takes events of the step as long as it can, then the next step (greedy); `reluctant` leaves as soon as the
  next step is satisfied. `optional`: the step may be missing. Where an event satisfies several steps that could come
  next, the earlier step takes it.
* `not_before`: an event that satisfies it, seen while the match waits for the step before which it is forbidden, ends the
  match. An event that also satisfies the awaited step is taken.
* `within`: the last event is less than this time after the first.

Names of steps and policies follow Flink CEP; the rule of one decision per event is that of MATCH_RECOGNIZE with
disjoint conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs

from walle_pipeline.errors import FlowError
from walle_pipeline.events import Click, Event, Exposure, PageEnter, PageExit, Scroll

MINUTE = 60_000
DEFAULT_WITHIN = 30 * MINUTE  # milliseconds
MAX_WITHIN = 1 << 53  # milliseconds
MAX_POSITIONS = 256
AFTER_MATCH = ("past_last", "to_next", "no_skip")
STRICT, SKIP, ANY = 0, 1, 2


@attrs.frozen
class Condition:
    """What an event must be.

    Attributes:
        kind: name of the kind; ``*`` any.
        page: name of the page; ``*`` any.
        where: further test of the event; it must depend on the event alone. One that raises counts as false.
    """

    kind: str = "*"
    page: str = "*"
    where: Callable[[Any], bool] | None = None

    def __str__(self) -> str:
        where = f" where {getattr(self.where, '__name__', 'it')}" if self.where else ""
        return f"{self.kind}({self.page}){where}"


@attrs.frozen
class Step:
    """One step of a pattern: a condition, how it is joined to the step before, and how often it is taken."""

    condition: Condition
    mode: int = SKIP
    minimum: int = 1
    maximum: int | None = 1
    consecutive: bool = False
    greedy: bool = True
    forbids: tuple[Condition, ...] = ()


@attrs.frozen
class Pattern:
    """A sequence of conditions. Immutable; every method returns a new one.

    Attributes:
        steps: in order.
        within_ms: a match's last event is less than this after its first; None: no bound.
        after: what a match does to others of the pattern and key: ``past_last`` none may begin before its end;
            ``to_next`` none may begin with the same event; ``no_skip`` nothing.
        spans: matches also hold every event of the key between the first and the last.
        paged: each visit of a page is a sequence of its own.
        reports_timeouts: partial matches whose time has passed go to the side output ``timeouts``.
    """

    steps: tuple[Step, ...]
    within_ms: int | None = DEFAULT_WITHIN
    after: str = "past_last"
    spans: bool = False
    paged: bool = False
    reports_timeouts: bool = False

    def next(self, what: Pattern | Condition) -> Pattern:
        """The next event must be this."""
        return self._then(what, STRICT)

    def followed_by(self, what: Pattern | Condition) -> Pattern:
        """Later, this."""
        return self._then(what, SKIP)

    def followed_by_any(self, what: Pattern | Condition) -> Pattern:
        """Later, this; every event that satisfies it makes a match of its own."""
        return self._then(what, ANY)

    def repeat(self, minimum: int, maximum: int | None = -1, *, consecutive: bool = False) -> Pattern:
        """The last step `minimum` to `maximum` times (None: without bound; left out: exactly `minimum`).

        Raises FlowError unless 0 <= minimum <= maximum <= 100 and maximum >= 1.
        """
        top = minimum if maximum == -1 else maximum
        if minimum < 0 or (top is not None and (top < max(minimum, 1) or top > 100)) or minimum > 100:
            raise FlowError(
                f"repeat({minimum}, {maximum}): wanted 0 <= minimum <= maximum, 1 <= maximum <= 100"
            )
        return self._last(minimum=minimum, maximum=top, consecutive=consecutive)

    def optional(self) -> Pattern:
        """The last step may be missing."""
        return self._last(minimum=0)

    def reluctant(self) -> Pattern:
        """The last step's repeats stop as soon as the next step is satisfied."""
        return self._last(greedy=False)

    def not_before(self, what: Pattern | Condition) -> Pattern:
        """An event like this while the match waits for the last step ends the match."""
        return self._last(forbids=(*self.steps[-1].forbids, _condition(what)))

    def within(self, time: timedelta | float | None = None, *, minutes: float = 0) -> Pattern:
        """The longest time from the first event to the last, exclusive: seconds, a timedelta, or ``minutes=``.

        ``within(None)`` removes the bound (default: 30 minutes); partial matches then wait until they are cut.
        """
        if time is None and not minutes:
            return attrs.evolve(self, within_ms=None)
        seconds = time.total_seconds() if isinstance(time, timedelta) else float(time or 0)
        milliseconds = (seconds + minutes * 60) * 1000
        if not 0.5 < milliseconds < MAX_WITHIN:
            raise FlowError(f"within({time}): the time must be positive, and less than {MAX_WITHIN} ms")
        return attrs.evolve(self, within_ms=round(milliseconds))

    def after_match(self, policy: str) -> Pattern:
        """Sets the attribute `after`. Raises FlowError for an unknown policy."""
        if policy not in AFTER_MATCH:
            raise FlowError(f"after_match({policy!r}): known are {', '.join(AFTER_MATCH)}")
        return attrs.evolve(self, after=policy)

    def span(self) -> Pattern:
        """Matches also hold every event of the key between the first and the last."""
        return attrs.evolve(self, spans=True)

    def per_page(self) -> Pattern:
        """Each visit of a page (key and `Event.instance`) is a sequence of its own."""
        return attrs.evolve(self, paged=True)

    def timeouts(self) -> Pattern:
        """Partial matches whose time has passed go to the side output ``timeouts``."""
        return attrs.evolve(self, reports_timeouts=True)

    def _then(self, what: Pattern | Condition, mode: int) -> Pattern:
        if isinstance(what, Pattern):
            first, *others = what.steps
            return attrs.evolve(self, steps=(*self.steps, attrs.evolve(first, mode=mode), *others))
        return attrs.evolve(self, steps=(*self.steps, Step(_condition(what), mode)))

    def _last(self, **changes: Any) -> Pattern:
        return attrs.evolve(self, steps=(*self.steps[:-1], attrs.evolve(self.steps[-1], **changes)))

    def check(self) -> None:
        """Raises FlowError if the pattern could never match, or only in ways that nobody means."""
        if not self.steps:
            raise FlowError("a pattern needs a step")
        if self.steps[-1].minimum == 0:
            raise FlowError(f"the last step, {self.steps[-1].condition}, may not be optional")
        size = sum(step.maximum or max(step.minimum, 1) for step in self.steps)
        if size > MAX_POSITIONS:
            raise FlowError(f"the pattern has {size} steps with its repeats; at most {MAX_POSITIONS}")
        if self.reports_timeouts and self.within_ms is None:
            raise FlowError("timeouts() needs a bound; within(None) has removed it")
        if self.steps[0].forbids:
            raise FlowError("not_before on the first step: nothing waits for it")

    def __str__(self) -> str:
        joins = {STRICT: " next ", SKIP: " … ", ANY: " …any "}
        text = ""
        for step in self.steps:
            top = "" if step.maximum is None else step.maximum
            times = "" if (step.minimum, step.maximum) == (1, 1) else f"{{{step.minimum},{top}}}"
            text += (joins[step.mode] if text else "") + "".join(f"not {c} before " for c in step.forbids)
            text += f"{step.condition}{times}{'' if step.greedy else '?'}"
        return text


def _condition(what: Pattern | Condition) -> Condition:
    if isinstance(what, Condition):
        return what
    if len(what.steps) != 1 or what.steps[0] != Step(what.steps[0].condition):
        raise FlowError(f"a single condition is wanted here, not the pattern {what}")
    return what.steps[0].condition


def event(
    kind: str | type[Event] = "*", page: str = "*", where: Callable[[Any], bool] | None = None
) -> Pattern:
    """A pattern of one step: an event of `kind` (a name, a class, or ``*``) on `page` (or ``*``)."""
    name = kind if isinstance(kind, str) else str(kind.__struct_config__.tag)
    return Pattern((Step(Condition(name, page, where)),))


def page_enter(page: str = "*", where: Callable[[Any], bool] | None = None) -> Pattern:
    """The page comes into view."""
    return event(PageEnter, page, where)


def page_exit(page: str = "*", where: Callable[[Any], bool] | None = None) -> Pattern:
    """The page is left."""
    return event(PageExit, page, where)


def scroll(page: str = "*", where: Callable[[Any], bool] | None = None) -> Pattern:
    """The page is scrolled."""
    return event(Scroll, page, where)


def exposure(page: str = "*", where: Callable[[Any], bool] | None = None) -> Pattern:
    """An item is shown on the page."""
    return event(Exposure, page, where)


def click(page: str = "*", where: Callable[[Any], bool] | None = None) -> Pattern:
    """Something is clicked on the page."""
    return event(Click, page, where)


def page_visit(page: str = "*") -> Pattern:
    """One visit of a page, from enter to exit, with every event between: page-level aggregation."""
    return page_enter(page).followed_by(page_exit(page)).per_page().span()
