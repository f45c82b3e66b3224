"""When a task runs, in plain values: patterns of events that compile to those of walle_pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from walle_core.errors import WalleError
from walle_deploy.errors import TaskError
from walle_deploy.task.values import milliseconds
from walle_deploy.task.where import Comparison, Where, compiled

if TYPE_CHECKING:
    from walle_pipeline.pattern import Pattern

Word = Annotated[str, Meta(min_length=1, max_length=1024)]
Times = Annotated[int, Meta(ge=0, le=100)]
Conditions = dict[Word, Comparison]


class Occurrence(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """An event: its kind and page (``*``: any), and comparisons of its fields and contents."""

    kind: Word = "*"
    page: Word = "*"
    where: Conditions = {}


class Repeat(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """How often a step is taken. Without `most`: without bound. `consecutive`: nothing else between."""

    least: Times
    most: Annotated[int, Meta(ge=1, le=100)] | None = None
    consecutive: bool = False

    def __post_init__(self) -> None:
        if self.most is not None and self.most < self.least:
            raise ValueError(f"wanted least <= most, not {self.least} and {self.most}")


class Step(Occurrence, frozen=True):
    """An event of a pattern, how it follows the one before, and how often it comes."""

    join: Literal["next", "followed_by", "followed_by_any"] = "followed_by"
    repeat: Annotated[int, Meta(ge=1, le=100)] | Repeat = 1
    optional: bool = False
    reluctant: bool = False
    not_before: list[Occurrence] = []


class PatternText(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A sequence of steps, or all of a page's visit; times are seconds or texts like ``"10m"``."""

    steps: list[Step] = []
    page_visit: Word | None = None
    within: float | str = "30m"
    after_match: Literal["past_last", "to_next", "no_skip"] = "past_last"
    span: bool = False
    per_page: bool = False
    timeouts: bool = False

    def __post_init__(self) -> None:
        milliseconds(self.within)
        if self.steps and self.page_visit is not None:
            raise ValueError("wanted steps or page_visit, not both")
        if self.steps and self.steps[0].join != "followed_by":
            raise ValueError(f"the first step follows nothing; leave out join = {self.steps[0].join!r}")


class TriggerText(PatternText, frozen=True):
    """One pattern, or `any_of` several, or `manual`: only the application starts the task."""

    manual: bool = False
    any_of: list[PatternText] = []

    def __post_init__(self) -> None:
        super().__post_init__()
        ways = [bool(self.steps), self.page_visit is not None, bool(self.any_of), self.manual]
        if sum(ways) != 1:
            raise ValueError("wanted exactly one of steps, page_visit, any_of and manual = true")

    @property
    def patterns(self) -> tuple[PatternText, ...]:
        """Those of which any starts the task; none if it is started by hand."""
        return () if self.manual else tuple(self.any_of) or (self,)


def compile_trigger(trigger: TriggerText) -> tuple[Pattern, ...]:
    """The patterns as walle_pipeline's, checked. Raises TaskError that says which cannot work, and why."""
    made = []
    for number, text in enumerate(trigger.patterns):
        where = f"trigger.any_of[{number}]" if trigger.any_of else "trigger"
        pattern = compile_pattern(text, where)
        try:
            pattern.check()
        except WalleError as error:
            raise TaskError(f"{where}: {error}") from error
        made.append(pattern)
    return tuple(made)


def compile_pattern(text: PatternText, where: str = "trigger") -> Pattern:
    """One pattern. Raises TaskError if walle-pipeline is not here or refuses it."""
    try:
        from walle_pipeline.pattern import page_visit
    except ImportError as error:
        raise TaskError(f"triggers need the data pipeline ({error}): pip install walle-pipeline") from error
    try:
        if text.page_visit is not None:
            pattern = page_visit(text.page_visit)
        elif text.steps:
            pattern = _sequence(text.steps)
        else:
            raise TaskError("wanted steps or page_visit")
        limit = milliseconds(text.within)
        pattern = pattern.within(None if limit is None else limit / 1000).after_match(text.after_match)
        pattern = pattern.span() if text.span else pattern
        pattern = pattern.per_page() if text.per_page else pattern
        return pattern.timeouts() if text.timeouts else pattern
    except (WalleError, ValueError) as error:
        raise TaskError(f"{where}: {error}") from error


def _sequence(steps: list[Step]) -> Pattern:
    pattern = _event(steps[0])
    for number, step in enumerate(steps):
        if number:
            pattern = getattr(pattern, step.join)(_event(step))
        if isinstance(step.repeat, Repeat):
            pattern = pattern.repeat(step.repeat.least, step.repeat.most, consecutive=step.repeat.consecutive)
        elif step.repeat != 1:
            pattern = pattern.repeat(step.repeat)
        pattern = pattern.optional() if step.optional else pattern
        pattern = pattern.reluctant() if step.reluctant else pattern
        for forbidden in step.not_before:
            pattern = pattern.not_before(_event(forbidden))
    return pattern


def _event(what: Occurrence) -> Pattern:
    from walle_pipeline.pattern import event

    where: Where | None = compiled(what.where) if what.where else None
    return event(what.kind, what.page, where)
