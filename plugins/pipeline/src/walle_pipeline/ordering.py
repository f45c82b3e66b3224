"""Event time: a sequence of events in order, whatever order they arrived in."""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter
from typing import Any

from walle_pipeline._packing import Packer, unpack
from walle_pipeline.events import Event, Schema

_order = attrgetter("time", "key", "id")


class Order:
    """Holds events back until none before them can come, and releases them by time; those of one time by key, then id, or,
    where nothing is held back, as they arrived.

    The watermark is the latest event time seen, less `lateness`; an event before it is late.

    Args:
        lateness: milliseconds by which an event may arrive after a later one.
    """

    def __init__(self, lateness: int = 0) -> None:
        self.lateness = lateness
        self.watermark = -1
        self.waiting: list[Event] = []  # in order

    def add(self, events: list[Event]) -> tuple[list[Event], list[tuple[Event, int]]]:
        """Takes events as they arrived; returns (those that are due, in order; those that are late, each with the watermark
        that it missed).
        """
        if not self.waiting and not self.lateness and events:  # the common case: they come in order
            times = [event.time for event in events]
            if times[0] >= self.watermark and (len(times) == 1 or times == sorted(times)):
                self.watermark = times[-1]
                return events, []
        late: list[tuple[Event, int]] = []
        latest = self.watermark + self.lateness
        fresh = []
        for event in events:
            time = event.time
            if time > latest:
                latest = time
            elif time < latest - self.lateness:
                late.append((event, latest - self.lateness))
                continue
            fresh.append(event)
        self.watermark = max(self.watermark, latest - self.lateness)
        return self._release(fresh), late

    def advance(self, time: int) -> list[Event]:
        """No event before `time` comes any more; returns those that are due, in order."""
        self.watermark = max(self.watermark, time)
        return self._release([])

    def finish(self) -> list[Event]:
        """No event comes any more; returns all, in order."""
        due, self.waiting = self.waiting, []
        return due

    def _release(self, fresh: list[Event]) -> list[Event]:
        if fresh:
            self.waiting += fresh
            self.waiting.sort(key=_order if self.lateness else _time)
        # while events are held back, others of the watermark's own time may follow, and come before these
        until = self.watermark - 1 if self.lateness else self.watermark
        if not self.waiting or self.waiting[0].time > until:
            return []
        end = bisect_right(self.waiting, until, key=_time)
        due, self.waiting = self.waiting[:end], self.waiting[end:]
        return due


def pack(schema: Schema, events: list[Event]) -> list[Any]:
    """Events as values that MessagePack has."""
    packer = Packer(schema)
    for event in events:
        packer.add(event)
    return [list(schema.kinds), packer.page_names, packer.key_names, packer.rows_bytes]


def unpacked(schema: Schema, packed: list[Any]) -> list[Event]:
    """What `pack` was given. Raises EventError for a kind that the schema does not have, and for damage."""
    kinds, pages, keys, rows = packed
    found: list[Event] = unpack(schema, rows, [schema.number_of(kind) for kind in kinds], pages, keys)
    return found


def _time(event: Any) -> int:
    return int(event.time)
