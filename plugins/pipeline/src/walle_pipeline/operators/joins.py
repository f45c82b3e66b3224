"""Joins: two streams within a time, a stream with a table."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from operator import itemgetter
from typing import Any

from walle_pipeline.batch import Batch
from walle_pipeline.contract import Operator
from walle_pipeline.errors import FlowError
from walle_pipeline.events import MAX_TIME
from walle_pipeline.kept import again, plain

Item = tuple[int, int, Any, Any]  # time, number, key, value


class Join(Operator):
    """Pairs items of two streams that have one key and are at most `within_ms` apart: values (left, right).

    A pair has the later of the two times, and comes out when no item before that time can follow; pairs of one
    time by the order of their left, then of their right items.

    Args:
        within_ms: milliseconds.
        limit: items kept per key and side; beyond it the oldest are dropped and counted in `cut`.
    """

    def __init__(self, within_ms: int, limit: int = 10_000) -> None:
        if not 0 <= within_ms <= MAX_TIME or limit < 1:
            raise FlowError(f"join within {within_ms} ms, limit {limit}: wanted 0 to 2**53, and at least 1")
        self.within, self.limit, self.cut = within_ms, limit, 0
        self.numbers = [0, 0]  # items so far, per side
        self.coming: tuple[deque[Item], ...] = (deque(), deque())  # those that others may still come before
        # the others, per side: key -> its latest, in order; the key whose latest item is oldest comes first
        self.kept: tuple[dict[Any, deque[Item]], ...] = ({}, {})

    def process(self, batch: Batch, port: int = 0) -> None:
        """See Operator."""
        first = self.numbers[port]
        self.numbers[port] += len(batch)
        self.coming[port].extend(zip(batch.times, count(first), batch.keys, batch.values, strict=False))

    def advance(self, time: int) -> Batch | None:
        """See Operator."""
        due = []
        for port, coming in enumerate(self.coming):
            while coming and coming[0][0] < time:
                item = coming.popleft()
                due.append((item[0], port, item))
        due.sort(
            key=itemgetter(0, 1)
        )  # both sides by time: what `limit` drops must not depend on the sizes of batches
        pairs: list[tuple[int, int, int, Any, Any]] = []
        for _, port, item in due:
            self._meet(port, item, pairs)
        for side in self.kept:
            while side and (oldest := next(iter(side.values())))[-1][0] + self.within < time:
                del side[oldest[-1][2]]
        if not pairs:
            return None
        pairs.sort(key=itemgetter(0, 1, 2))
        return Batch([p[4] for p in pairs], [p[0] for p in pairs], [p[3] for p in pairs])

    def _meet(self, port: int, item: Item, pairs: list[tuple[int, int, int, Any, Any]]) -> None:
        time, number, key, value = item
        others = self.kept[1 - port].get(key, deque())
        while others and others[0][0] + self.within < time:
            others.popleft()
        for _, other_number, _, other in others:
            if port == 0:
                pairs.append((time, number, other_number, key, (value, other)))
            else:
                pairs.append((time, other_number, number, key, (other, value)))
        if not others:
            self.kept[1 - port].pop(key, None)
        mine = self.kept[port].pop(key, None)
        items = self.kept[port][key] = deque() if mine is None else mine
        while items and items[0][0] + self.within < time:
            items.popleft()
        items.append(item)
        if len(items) > self.limit:
            items.popleft()
            self.cut += 1

    @property
    def deadline(self) -> int | None:
        """See Operator."""
        times = [coming[0][0] + 1 for coming in self.coming if coming]
        times += [next(iter(side.values()))[-1][0] + self.within + 1 for side in self.kept if side]
        return min(times, default=None)

    def snapshot(self) -> Any:
        """See Operator."""
        return plain(
            [
                self.numbers,
                list(map(list, self.coming)),
                [list(map(list, side.values())) for side in self.kept],
            ]
        )

    def restore(self, state: Any) -> None:
        """See Operator."""
        self.numbers, coming, kept = again(state)
        self.coming = tuple(map(deque, coming))
        self.kept = tuple({items[-1][2]: deque(items) for items in side} for side in kept)


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
