"""Compiles a pattern into the positions of the trigger engine: what may follow what (Glushkov's construction)."""

from __future__ import annotations

from collections.abc import Callable

from walle_pipeline.pattern import SKIP, STRICT, Condition, Pattern

Exit = tuple[int, int, int]  # condition number, target position, mode
Position = tuple[list[Exit], list[int]]  # exits in order of preference, forbidden conditions


def positions(pattern: Pattern, number: Callable[[Condition], int]) -> tuple[list[Position], list[int]]:
    """The positions of `pattern`, the first before its first event, the last complete; and the step of each.

    Args:
        pattern: a checked pattern.
        number: gives a condition its number.

    A position is a step and how often it has been taken: the last allowed time, or, without bound, `minimum` times and
    more. The last step counts as repeated `minimum` times: a trigger fires as early as it can.
    """
    steps = pattern.steps
    first: list[int] = []  # position of each step's first time
    owner = [-1]
    for index, step in enumerate(steps):
        first.append(len(owner))
        times = step.minimum if index == len(steps) - 1 else step.maximum or max(step.minimum, 1)
        owner += [index] * times
    conditions = [number(step.condition) for step in steps]
    forbids = [[number(c) for c in step.forbids] for step in steps]
    made: list[Position] = []
    for position, index in enumerate(owner):
        exits: list[Exit] = []
        forbidden: list[int] = []
        repeats: list[Exit] = []
        done = True
        if index >= 0:
            step, taken = steps[index], position - first[index] + 1
            mode = STRICT if step.consecutive else SKIP
            last = taken == (step.minimum if index == len(steps) - 1 else step.maximum)
            if not last:
                more = (
                    position + 1 if position + 1 < len(owner) and owner[position + 1] == index else position
                )
                repeats = [(conditions[index], more, mode)]
            done = taken >= step.minimum
        if done:
            for later in range(index + 1, len(steps)):
                exits.append((conditions[later], first[later], steps[later].mode))
                forbidden += forbids[later]
                if steps[later].minimum > 0:
                    break
        greedy = index < 0 or steps[index].greedy
        made.append((repeats + exits if greedy else exits + repeats, sorted(set(forbidden))))
    return made, owner
