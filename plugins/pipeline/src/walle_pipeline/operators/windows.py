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
from walle_pipeline.kept import again, plain


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
    """Windows `milliseconds` long that begin at every multiple of `step`. Raises FlowError unless 0 < step <= milliseconds."""
    if not 0 < step <= milliseconds:
        raise FlowError(f"window of {milliseconds} ms every {step} ms: wanted 0 < step <= milliseconds")
    return ("hopping", milliseconds, step)


def session(gap: int) -> tuple[str, int, int]:
    """Windows that close when a key has had no item for `gap` milliseconds."""
    if gap <= 0:
        raise FlowError(f"session({gap}): the gap must be positive")
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

    def _yield(self, closed: list[tuple[Any, int, int, Any]]) -> Batch | None:
        if not closed:
            return None
        values = []
        with self.context.watched(iter(closed)) as windows:
            for key, start, end, state in windows:
                try:
                    values.append(Window(key, start, end, self.aggregate.result(state)))
                except Exception as error:
                    self.context.fail(state, end - 1, key, error)
        return Batch(values, [w.end - 1 for w in values], [w.key for w in values])


class HoppingWindow(TimeWindow):
    """Windows of fixed length. Open ones are held per start, so that all keys of one close at once."""

    def __init__(self, window: tuple[str, int, int], aggregate: Aggregate | None = None) -> None:
        super().__init__(window, aggregate)
        self.open_windows: dict[int, dict[Any, Any]] = {}  # start -> key -> state

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        made: list[tuple[Any, int, int, Any]] = []
        first, times = 0, batch.times
        while first < len(times):
            cell = times[first] // self.step
            made += self._closed(times[first])
            last = bisect_left(times, (cell + 1) * self.step, first)
            self._add(cell, batch.part(first, last) if first or last < len(times) else batch)
            first = last
        return self._yield(made)

    def _add(self, cell: int, batch: Batch) -> None:
        start, add = self.aggregate.start, self.aggregate.add
        first = (
            -((self.size - (cell + 1) * self.step) // self.step) * self.step
        )  # the first start that holds this cell
        for begin in range(first, cell * self.step + 1, self.step):
            states = self.open_windows.setdefault(begin, {})
            with self.context.watched(iter(batch.values)) as values:
                for value, time, key in zip(values, batch.times, batch.keys, strict=True):
                    try:
                        states[key] = add(states[key] if key in states else start(), value)
                    except Exception as error:
                        self.context.fail(value, time, key, error)

    def _closed(self, time: int) -> list[tuple[Any, int, int, Any]]:
        found = []
        while self.open_windows:
            begin = min(self.open_windows)
            if begin + self.size > time:
                break
            found += [
                (key, begin, begin + self.size, state) for key, state in self.open_windows.pop(begin).items()
            ]
        return found

    def advance(self, time: int) -> Batch | None:
        """See Operator."""
        return self._yield(self._closed(time))

    @property
    def deadline(self) -> int | None:
        """See Operator."""
        return min(self.open_windows) + self.size if self.open_windows else None

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
        start, add, made = self.aggregate.start, self.aggregate.add, []
        with self.context.watched(iter(batch.values)) as values:
            for value, time, key in zip(values, batch.times, batch.keys, strict=True):
                made += self._closed(time)
                window = self.open_windows.get(key)
                try:
                    state = add(start() if window is None else window.state, value)
                except Exception as error:
                    self.context.fail(value, time, key, error)
                    continue
                self.open_windows[key] = _Open(time if window is None else window.start, time, state)
                if window is not None:
                    self.open_windows[key] = self.open_windows.pop(key)  # it is the latest now
        return self._yield(made)

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

    def advance(self, time: int) -> Batch | None:
        """See Operator."""
        return self._yield(self._closed(time))

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
