"""Joins: two streams within a time, a stream with a table."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from walle_pipeline.batch import Batch
from walle_pipeline.contract import Operator
from walle_pipeline.errors import FlowError
from walle_pipeline.kept import again, plain


class Join(Operator):
    """Pairs items of two streams that have one key and are at most `within_ms` apart: values (left, right).

    A pair has the later of the two times, and comes out when no item before that time can follow; pairs of one
    time by the order of their left, then of their right items.

    Args:
        within_ms: milliseconds.
        limit: items kept per key and side; beyond it the oldest are dropped and counted in `cut`.
    """

    def __init__(self, within_ms: int, limit: int = 10_000) -> None:
        if within_ms < 0 or limit < 1:
            raise FlowError(f"join within {within_ms} ms, limit {limit}: wanted at least 0 and 1")
        self.within, self.limit, self.cut = within_ms, limit, 0
        self.kept: tuple[dict[Any, deque[tuple[int, int, Any]]], ...] = (
            {},
            {},
        )  # key -> (time, number, value)
        self.numbers = [0, 0]  # items so far, per side
        self.order: list[tuple[int, int, int, Any]] = []  # heap of (time, port, number, key): what is kept
        self.pairs: list[
            tuple[int, int, int, Any, Any]
        ] = []  # time, number of the left, of the right, key, value

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        mine, others = self.kept[port], self.kept[1 - port]
        for value, time, key in zip(batch.values, batch.times, batch.keys, strict=True):
            number = self.numbers[port]
            self.numbers[port] = number + 1
            for other_time, other_number, other in others.get(key, ()):
                if abs(time - other_time) > self.within:
                    continue
                later = max(time, other_time)
                if port == 0:
                    self.pairs.append((later, number, other_number, key, (value, other)))
                else:
                    self.pairs.append((later, other_number, number, key, (other, value)))
            items = mine.setdefault(key, deque())
            items.append((time, number, value))
            if len(items) > self.limit:
                items.popleft()
                self.cut += 1
            heapq.heappush(self.order, (time, port, number, key))
        return None

    def advance(self, time: int) -> Batch | None:
        """See Operator."""
        while self.order and self.order[0][0] + self.within < time:
            _, port, _, key = heapq.heappop(self.order)
            items = self.kept[port].get(key)
            while items and items[0][0] + self.within < time:
                items.popleft()
            if items is not None and not items:
                del self.kept[port][key]
        ready = sorted((p for p in self.pairs if p[0] < time), key=itemgetter(0, 1, 2))
        if not ready:
            return None
        self.pairs = [p for p in self.pairs if p[0] >= time]
        return Batch([p[4] for p in ready], [p[0] for p in ready], [p[3] for p in ready])

    @property
    def deadline(self) -> int | None:
        """See Operator."""
        times = [p[0] + 1 for p in self.pairs]
        if self.order:
            times.append(self.order[0][0] + self.within + 1)
        return min(times, default=None)

    def snapshot(self) -> Any:
        """See Operator."""
        kept = [[(key, list(items)) for key, items in side.items()] for side in self.kept]
        return plain([kept, self.numbers, self.order, self.pairs])

    def restore(self, state: Any) -> None:
        """See Operator."""
        kept, self.numbers, self.order, self.pairs = again(state)
        self.kept = tuple({key: deque(items) for key, items in side} for side in kept)


class JoinTable(Operator):
    """Pairs each item with what a table has for its key: values (item, entry); entry None where it has nothing.

    Args:
        table: a mapping, or a function from a key to an entry or None.
        inner: drop items for which the table has nothing.
    """

    def __init__(self, table: Mapping[Any, Any] | Callable[[Any], Any], *, inner: bool = False) -> None:
        self.look_up = table if callable(table) else table.get
        self.inner = inner

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        entries, batch = self.context.each(self.look_up, batch, batch.keys)
        made = Batch(list(zip(batch.values, entries, strict=True)), batch.times, batch.keys)
        return made.without([i for i, entry in enumerate(entries) if entry is None]) if self.inner else made
