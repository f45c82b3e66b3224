"""Which commit broke a task: a search that halves what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from walle_deploy.errors import TaskError
from walle_deploy.task.repo import Entry, Scenario


def first_bad(
    scenario: Scenario, task: str, good: str, bad: str, works: Callable[[Mapping[str, bytes]], bool]
) -> Entry:
    """The first commit between `good` (exclusive) and `bad` whose files do not work.

    Args:
        works: asked about the files of one commit; about log2 of their number in all. `bad` itself is taken as such.

    Raises TaskError if `good` does not come before `bad`.
    """
    ends = [scenario.resolve(task, revision) for revision in (good, bad)]
    history = list(reversed(scenario.log(task)))
    ids = [entry.id for entry in history]
    if any(end not in ids for end in ends) or ids.index(ends[0]) >= ids.index(ends[1]):
        raise TaskError(f"task {task}: {good} does not come before {bad or 'the newest'}; exchange them")
    low, high = (ids.index(end) for end in ends)
    while high - low > 1:
        middle = (low + high) // 2
        if works(scenario.files_of(ids[middle])):
            low = middle
        else:
            high = middle
    return history[high]
