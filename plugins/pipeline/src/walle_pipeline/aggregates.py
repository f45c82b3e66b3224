"""Incremental aggregates for windows. State and result are values that MessagePack has."""

from __future__ import annotations

import copy
import heapq
import math
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from walle_pipeline.errors import FlowError

Value = Callable[[Any], Any]


@attrs.frozen
class Aggregate:
    """How a window condenses its values.

    Attributes:
        start: makes the state before the first value.
        add: (state, value) -> state; may change and return the same object.
        result: state -> what the window yields.
    """

    start: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    result: Callable[[Any], Any] = attrs.field(default=lambda state: state)


def _same(value: Any) -> Any:
    return value


def count() -> Aggregate:
    """How many values."""
    return Aggregate(lambda: 0, lambda state, _: state + 1)


def sum_of(value: Value = _same) -> Aggregate:
    """Sum of ``value(item)``."""
    return Aggregate(lambda: 0, lambda state, item: state + value(item))


def mean(value: Value = _same) -> Aggregate:
    """Arithmetic mean of ``value(item)``."""

    def add(state: list[float], item: Any) -> list[float]:
        state[0] += value(item)
        state[1] += 1
        return state

    return Aggregate(lambda: [0, 0], add, lambda state: state[0] / state[1])


def collect(limit: int = 10_000, value: Value = _same) -> Aggregate:
    """The values themselves, the first `limit` of them, in order."""

    def add(state: list[Any], item: Any) -> list[Any]:
        if len(state) < limit:
            state.append(value(item))
        return state

    return Aggregate(list, add)


def reduce(function: Callable[[Any, Any], Any], initial: Any) -> Aggregate:
    """``function(function(initial, first), second)`` and so on."""
    return Aggregate(lambda: copy.deepcopy(initial), function)  # the function may change it


def top_k(k: int, value: Callable[[Any], Hashable] = _same, capacity: int = 1000) -> Aggregate:
    """The `k` most frequent of ``value(item)`` as [[value, count], ...], most frequent first, then in order of appearance.

    Exact for up to `capacity` distinct values; beyond, the Space-Saving sketch (Metwally et al., ICDT 2005): a count may
    be too high by at most items / capacity.
    """
    if not 1 <= k <= capacity:
        raise FlowError(f"top_k({k}): wanted 1 <= k <= capacity ({capacity})")

    def add(state: dict[Any, int], item: Any) -> dict[Any, int]:
        name = value(item)
        if name in state or len(state) < capacity:
            state[name] = state.get(name, 0) + 1
        else:
            least = min(state, key=state.__getitem__)
            state[name] = state.pop(least) + 1
        return state

    def result(state: dict[Any, int]) -> list[list[Any]]:
        return [[name, n] for name, n in heapq.nsmallest(k, state.items(), key=lambda entry: -entry[1])]

    return Aggregate(dict, add, result)


def distinct(value: Callable[[Any], Hashable] = _same, limit: int = 100_000) -> Aggregate:
    """How many different ``value(item)``; exact, counting stops at `limit`."""

    def add(state: dict[Any, None], item: Any) -> dict[Any, None]:
        if len(state) < limit:
            state[value(item)] = None
        return state

    return Aggregate(dict, add, len)


def quantiles(*wanted: float, value: Value = _same, error: float = 0.01) -> Aggregate:
    """Quantiles (0 to 1) of ``value(item)``, each within a factor 1 ± `error` of an exact one.

    The sketch is DDSketch (Masson et al., VLDB 2019): counts of logarithmic buckets, for values of either sign.
    """
    if not wanted or not all(0 <= q <= 1 for q in wanted) or not 0 < error < 1:
        raise FlowError(f"quantiles{wanted}: quantiles are between 0 and 1, the error too")
    gamma = (1 + error) / (1 - error)
    scale = 1 / math.log(gamma)

    def bucket(x: float) -> int:
        if not math.isfinite(x):
            raise ValueError(f"{x} has no place among quantiles")
        if abs(x) < 1e-12:
            return 0
        index = 20_000 + math.ceil(math.log(abs(x)) * scale)
        return index if x > 0 else -index

    def middle(index: int) -> float:
        size = 2 * gamma ** (abs(index) - 20_000) / (gamma + 1)
        return 0.0 if index == 0 else size if index > 0 else -size

    def add(state: dict[int, int], item: Any) -> dict[int, int]:
        index = bucket(value(item))
        state[index] = state.get(index, 0) + 1
        return state

    def result(state: dict[int, int]) -> list[float]:
        total = sum(state.values())
        found = []
        for q in wanted:
            rank, seen = q * (total - 1), 0
            for index in sorted(state):
                seen += state[index]
                if seen > rank:
                    break
            found.append(middle(index))
        return found

    return Aggregate(dict, add, result)


def several(**named: Aggregate) -> Aggregate:
    """Several aggregates at once; the result is a dict."""

    def add(state: dict[str, Any], item: Any) -> dict[str, Any]:
        for name, aggregate in named.items():
            state[name] = aggregate.add(state[name], item)
        return state

    return Aggregate(
        lambda: {name: aggregate.start() for name, aggregate in named.items()},
        add,
        lambda state: {name: aggregate.result(state[name]) for name, aggregate in named.items()},
    )
