"""Windows in event time, per key: tumbling, hopping, session."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import attrs
import msgspec

from walle_pipeline.aggregates import Aggregate, collect
from walle_pipeline.batch import Batch
from walle_pipeline.contract import Operator
from walle_pipeline.errors import FlowError
from walle_pipeline.events import MAX_TIME
from walle_pipeline.kept import again, plain

OVERLAPS = 10_000  # windows that hold one item


class Window(msgspec.Struct, frozen=True):
    """What a window yields when it closes.

    Attributes:
        key: of its items.
        start, end: milliseconds; items have ``start <= time < end``.
        value: result of the aggregate.
    """

    key: Any
    start: int
    end: int
    value: Any


def tumbling(milliseconds: int) -> tuple[str, int, int]:
    """Windows that follow one another, each `milliseconds` long, beginning at multiples of that."""
    return hopping(milliseconds, milliseconds)


def hopping(milliseconds: int, step: int) -> tuple[str, int, int]:
    """Windows `milliseconds` long that begin at every multiple of `step`.

    Raises FlowError unless 0 < step <= milliseconds <= 2**53, and for windows of which more than `OVERLAPS` are open at once.
    """
    if not 0 < step <= milliseconds <= MAX_TIME:
        raise FlowError(
            f"window of {milliseconds} ms every {step} ms: wanted 0 < step <= milliseconds <= 2**53"
        )
    if milliseconds > step * OVERLAPS:
        raise FlowError(
            f"window of {milliseconds} ms every {step} ms: an item would be in more than {OVERLAPS}"
        )
    return ("hopping", milliseconds, step)


def session(gap: int) -> tuple[str, int, int]:
    """Windows that close when a key has had no item for `gap` milliseconds."""
    if not 0 < gap <= MAX_TIME:
        raise FlowError(f"session({gap}): the gap must be positive, and at most 2**53 ms")
    return ("session", gap, gap)


@attrs.define
class _Open:
    start: int
    last: int
    state: Any


class TimeWindow(Operator):
    """Condenses the items of each key and window.

    Args:
        window: `tumbling`, `hopping` or `session`.
        aggregate: how; default `collect`.
    """

    def __new__(cls, window: tuple[str, int, int], *_: Any) -> Any:
        """One class per kind of window."""
        return super().__new__(SessionWindow if window[0] == "session" else HoppingWindow)

    def __init__(self, window: tuple[str, int, int], aggregate: Aggregate | None = None) -> None:
        self.size, self.step = window[1:]
        self.aggregate = collect() if aggregate is None else aggregate

    def _yield(self, closed: list[tuple[Any, int, int, Any]], made: Batch) -> Batch:
        """Adds what `closed` windows yield to `made`, and returns it."""

        def one(window: tuple[Any, int, int, Any]) -> Window:
            key, start, end, state = window
            return Window(key, start, end, self.aggregate.result(state))

        if closed:
            items = Batch([w[3] for w in closed], [w[2] - 1 for w in closed], [w[0] for w in closed])
            values, items = self.context.each(one, items, closed)
            made.values += values
            made.times += items.times
            made.keys += items.keys
        return made

    def _closed(self, time: int) -> list[tuple[Any, int, int, Any]]:
        """Takes out the windows that end at `time` or before: key, start, end, state."""
        raise NotImplementedError

    def advance(self, time: int) -> Batch | None:
        """See Operator."""
        return self._yield(self._closed(time), Batch([], [], []))


class HoppingWindow(TimeWindow):
    """Windows of fixed length. Open ones are held per start, so that all keys of one close at once."""

    def __init__(self, window: tuple[str, int, int], aggregate: Aggregate | None = None) -> None:
        super().__init__(window, aggregate)
        self.open_windows: dict[int, dict[Any, Any]] = {}  # start -> key -> state

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        made = Batch([], [], [])
        first, times = 0, batch.times
        while first < len(times):
            cell = times[first] // self.step
            self._yield(self._closed(times[first]), made)
            last = bisect_left(times, (cell + 1) * self.step, first)
            self._add(cell, batch.part(first, last) if first or last < len(times) else batch)
            first = last
        return made

    def _add(self, cell: int, batch: Batch) -> None:
        start, add = self.aggregate.start, self.aggregate.add
        first = (
            -((self.size - (cell + 1) * self.step) // self.step) * self.step
        )  # the first start that holds this cell
        begins = range(first, cell * self.step + 1, self.step)
        windows = [self.open_windows.setdefault(begin, {}) for begin in begins]

        def one(item: tuple[Any, Any]) -> None:
            key, value = item
            for states in windows:  # an item that one of them does not take is in none that follows
                states[key] = add(states[key] if key in states else start(), value)

        self.context.each(one, batch, list(zip(batch.keys, batch.values, strict=True)))

    def _closed(self, time: int) -> list[tuple[Any, int, int, Any]]:
        found = []
        while self.open_windows:
            begin = next(iter(self.open_windows))  # items come in order of time, and so do windows
            if begin + self.size > time:
                break
            found += [
                (key, begin, begin + self.size, state) for key, state in self.open_windows.pop(begin).items()
            ]
        return found

    @property
    def deadline(self) -> int | None:
        """See Operator."""
        return next(iter(self.open_windows)) + self.size if self.open_windows else None

    def snapshot(self) -> Any:
        """See Operator."""
        return plain(self.open_windows)

    def restore(self, state: Any) -> None:
        """See Operator."""
        self.open_windows = again(state)


class SessionWindow(TimeWindow):
    """Windows bounded by silence. A key without items for the gap takes no memory."""

    def __init__(self, window: tuple[str, int, int], aggregate: Aggregate | None = None) -> None:
        super().__init__(window, aggregate)
        self.open_windows: dict[Any, _Open] = {}  # by time of the last item

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        made = Batch([], [], [])
        first = 0
        while first < len(batch):  # up to the next item that ends a window
            self._yield(self._closed(batch.times[first]), made)
            last = self._end(batch.times, first)
            self._add(batch.part(first, last) if first or last < len(batch) else batch)
            first = last
        return made

    def _end(self, times: list[int], first: int) -> int:
        """The first number after `first` of an item at which a window may have ended."""
        oldest = next(iter(self.open_windows.values())).last if self.open_windows else times[first]
        return bisect_left(times, oldest + self.size, first + 1)

    def _add(self, batch: Batch) -> None:
        start, add, windows = self.aggregate.start, self.aggregate.add, self.open_windows

        def one(item: tuple[int, Any, Any]) -> None:
            time, key, value = item
            window = windows.get(key)
            if window is None:
                windows[key] = _Open(time, time, add(start(), value))
            else:
                window.state = add(window.state, value)
                window.last = time
                windows[key] = windows.pop(key)  # it is the latest now

        self.context.each(one, batch, list(zip(batch.times, batch.keys, batch.values, strict=True)))

    def _closed(self, time: int) -> list[tuple[Any, int, int, Any]]:
        found = []
        while self.open_windows:
            key = next(iter(self.open_windows))
            window = self.open_windows[key]
            if window.last + self.size > time:
                break
            del self.open_windows[key]
            found.append((key, window.start, window.last + self.size, window.state))
        return found

    @property
    def deadline(self) -> int | None:
        """See Operator."""
        return next(iter(self.open_windows.values())).last + self.size if self.open_windows else None

    def snapshot(self) -> Any:
        """See Operator."""
        return plain([(k, w.start, w.last, w.state) for k, w in self.open_windows.items()])

    def restore(self, state: Any) -> None:
        """See Operator."""
        self.open_windows = {key: _Open(start, last, one) for key, start, last, one in again(state)}
