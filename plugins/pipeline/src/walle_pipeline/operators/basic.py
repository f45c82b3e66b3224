"""Operators on one item at a time."""

from __future__ import annotations

from itertools import compress
from typing import Any
from zlib import crc32

from walle_pipeline.batch import Batch, Function
from walle_pipeline.contract import Operator
from walle_pipeline.errors import FlowError
from walle_pipeline.kept import again, plain


class Map(Operator):
    """Replaces each value by ``function(value)``."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def process(self, batch: Batch, port: int = 0) -> Batch:
        """See Operator."""
        values, batch = self.context.each(self.function, batch)
        return Batch(values, batch.times, batch.keys)


class Filter(Operator):
    """Keeps the items for which ``function(value)`` is true."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        keep, batch = self.context.each(self.function, batch)
        values = list(compress(batch.values, keep))
        if len(values) == len(keep):
            return batch
        return (
            Batch(values, list(compress(batch.times, keep)), list(compress(batch.keys, keep)))
            if values
            else None
        )


class FlatMap(Operator):
    """Replaces each value by the items of ``function(value)``, any number of them."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def _listed(self, value: Any) -> list[Any]:
        return list(self.function(value))

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        groups, batch = self.context.each(self._listed, batch)
        made = Batch([], [], [])
        for group, time, key in zip(groups, batch.times, batch.keys, strict=True):
            made.values += group
            made.times += [time] * len(group)
            made.keys += [key] * len(group)
        return made


class KeyBy(Operator):
    """Gives each item the key ``function(value)``: a hashable value that MessagePack has."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def process(self, batch: Batch, port: int = 0) -> Batch:
        """See Operator."""
        keys, batch = self.context.each(self._checked, batch)
        return Batch(batch.values, batch.times, keys)

    def _checked(self, value: Any) -> Any:
        key = self.function(value)
        hash(key)  # windows and joins keep state by it
        return key


class Sample(Operator):
    """Keeps a share of the keys, always the same ones.

    Args:
        fraction: of the keys, 0 to 1.
        seed: another one keeps others.
    """

    def __init__(self, fraction: float, seed: int = 0) -> None:
        if not 0 <= fraction <= 1:
            raise FlowError(f"sample({fraction}): the fraction must be between 0 and 1")
        self.bound = round(fraction * (1 << 32))
        self.seed = seed

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        keep = [crc32(repr(key).encode(errors="surrogatepass"), self.seed) < self.bound for key in batch.keys]
        values = list(compress(batch.values, keep))
        return (
            Batch(values, list(compress(batch.times, keep)), list(compress(batch.keys, keep)))
            if values
            else None
        )


class Dedupe(Operator):
    """Drops an item whose ``function(value)`` its key has had less than `keep_ms` before.

    Args:
        function: of the value; hashable and in MessagePack.
        keep_ms: how long one is remembered since it was first seen, event time.
    """

    def __init__(self, function: Function, keep_ms: int = 3_600_000) -> None:
        self.function, self.keep_ms = function, keep_ms
        self.seen: dict[tuple[Any, Any], int] = {}  # by time

    def process(self, batch: Batch, port: int = 0) -> Batch | None:
        """See Operator."""
        marks, batch = self.context.each(self._checked, batch)
        keep = []
        for mark, time, key in zip(marks, batch.times, batch.keys, strict=True):
            self._forget(time)
            keep.append((key, mark) not in self.seen)
            if keep[-1]:
                self.seen[key, mark] = time
        values = list(compress(batch.values, keep))
        return (
            Batch(values, list(compress(batch.times, keep)), list(compress(batch.keys, keep)))
            if values
            else None
        )

    def _checked(self, value: Any) -> Any:
        mark = self.function(value)
        hash(mark)
        return mark

    def _forget(self, now: int) -> None:
        while self.seen:
            first = next(iter(self.seen))
            if self.seen[first] + self.keep_ms > now:
                return
            del self.seen[first]

    def advance(self, time: int) -> None:
        """See Operator."""
        self._forget(time)

    @property
    def deadline(self) -> int | None:
        """See Operator."""
        return self.seen[next(iter(self.seen))] + self.keep_ms if self.seen else None

    def snapshot(self) -> Any:
        """See Operator."""
        return plain(self.seen)

    def restore(self, state: Any) -> None:
        """See Operator."""
        self.seen = again(state)
