"""A device that may be killed at any moment: an event log, a pipeline and its snapshots, joined so that nothing is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self

from walle_pipeline.errors import FlowError, LogError, StoreError, TunnelError
from walle_pipeline.events import Event, Schema
from walle_pipeline.flow import Flow
from walle_pipeline.log import EventLog
from walle_pipeline.pipeline import Pipeline
from walle_pipeline.segments import PIECE, Segments, append, sized
from walle_pipeline.sinks import ToTunnel

log = logging.getLogger(__name__)

FINISH = "finish"  # in the log; the text for `advance` is its time


class Device:
    """Runs flows on the events of a device; killed and started again, it goes on as if nothing had happened.

    An event is in the log before a flow sees it. A start restores the newest snapshot and replays what the log has after
    it, so sinks are offered some items again: stores and tunnels know them by their names and have each once, provided
    that the flows' functions give the same for the same, and that 900 events do not become more items of a tunnel than a
    third of its outbox's `key_window`. Functions and lists as sinks see items again. For example::

        with Tunnel(url, device="d1", token="...", outbox="outbox.db") as tunnel:
            visits.map(feature).to(tunnel, stream="ipv")
            with Device("state", visits) as device:
                device.feed(events)

    Args:
        folder: of the log and the snapshots; made if it is not there. One process uses it at a time.
        flows, schema: as of `Pipeline`. A flow has the steps that it had in the snapshot; under a new name it begins anew.
        snapshot_every: events after which a snapshot is taken; a start replays about so many. One is taken earlier when
            tunnels have been given so many items that their outboxes could forget the names of the first.
        keep_segments: snapshots kept before the newest, each with the log that follows it, to start from if the newest is
            damaged. Bounds the disk use to about ``keep_segments + 1`` times `snapshot_every` events and state.
        sync: whether events also survive a power cut; waits for the disk at every call.
        ahead_ms, clock: as of `Pipeline`; what they refuse is not logged.
        settings: further arguments of `Pipeline`.

    Attributes:
        pipeline: to look at; feed and advance it by this object only.
        position: how many events, calls of `advance` and of `finish` were taken since the very first start.
        reports: what was damaged and how it was gone on without; also logged as warnings.
        failed: why the latest snapshot could not be taken; None if it was.

    Raises LogError if the folder cannot be used or another process uses it, FlowError if a flow cannot work or has
    changed since the snapshot (give it another name).
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *flows: Flow,
        schema: Schema | None = None,
        snapshot_every: int = 10_000,
        keep_segments: int = 1,
        sync: bool = False,
        ahead_ms: int | None = 600_000,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        **settings: Any,
    ) -> None:
        self.position = 0
        self.failed: Exception | None = None
        self._every, self._keep, self._sync = max(1, snapshot_every), max(0, keep_segments), sync
        self._ahead, self._clock = ahead_ms, clock
        self._log: EventLog | None = None
        self._covered = self._given = self._next_try = 0
        with contextlib.ExitStack() as undo:
            self._files = Segments(folder, self._keep)
            undo.callback(self._files.close)
            self.reports = self._files.reports
            self.pipeline = Pipeline(*flows, schema=schema, ahead_ms=None, clock=clock, **settings)
            undo.callback(self.pipeline.close)
            undo.callback(self._close_log)
            self._lock = self.pipeline._lock
            self._recover()
            undo.pop_all()

    # -- what happens -------------------------------------------------------------------------------------------------

    def feed(self, events: Iterable[Event]) -> None:
        """Takes events as they arrive; they survive a killed process when it returns. What is no proper event, or takes
        more than `MAX_EVENT` bytes, goes to ``malformed`` and not into the log.

        Raises, and has then taken none of them: LogError if the log cannot be written (disk full) or the device is closed;
        StoreError or TunnelError if a sink holds back more than it may, or a snapshot is overdue and cannot be taken: feed
        the same again later; FlowError within a user function, which may feed `pipeline`. Of a call with more than 900
        events each 900 are taken or not; `position` tells how many.
        """
        with self._lock:
            if self.pipeline._working:
                raise FlowError("a user function cannot feed the device; it may feed its pipeline")
            some, bad = self.pipeline.schema.sorted_out(events)
            some, large = sized(self.pipeline.schema, some)
            if bad := [*bad, *large]:
                self.pipeline._refuse("malformed", bad)
            for first in range(0, len(some), PIECE):
                if piece := self._present(some[first : first + PIECE]):
                    self._take(len(piece), partial(append, events=piece), partial(self.pipeline._take, piece))

    def advance(self, time_ms: int | None = None) -> None:
        """Tells that it is `time_ms` (default: the clock, less the lateness); see `Pipeline.advance`. Raises as `feed`."""
        with self._lock:
            now = self._clock() - self.pipeline.order.lateness if time_ms is None else time_ms
            if now > self.pipeline.order.watermark:
                self._take(1, partial(EventLog.note, text=str(now)), partial(self.pipeline.advance, now))

    def finish(self) -> None:
        """Tells that no event follows; see `Pipeline.finish`. Raises as `feed`."""
        with self._lock:
            self._take(1, partial(EventLog.note, text=FINISH), self.pipeline.finish)

    def snapshot(self) -> bool:
        """Takes a snapshot now. False, and none is taken, while a sink holds items back: they are in no snapshot.

        Raises LogError if it cannot be written (disk full), StoreError if a store cannot be, FlowError if a flow holds
        values that a snapshot cannot have. The device goes on with the snapshot before.
        """
        with self._lock:
            if self.position == self._covered or self._log is None:
                return self.position == self._covered
            with contextlib.suppress(StoreError, TunnelError):
                self.pipeline.retry()
            if waiting := self.pipeline.stats()["sinks_waiting"]:
                self.failed = StoreError(f"sinks hold back {waiting} items")
                return False
            try:
                for sink in self.pipeline.sinks:
                    sink.flush()
                state = self.pipeline.snapshot()
                self._begin_segment(self._files.path(self.position, "events"))
                self._files.write(self.position, state)
            except (LogError, StoreError, TunnelError, FlowError) as error:
                self.failed = error
                raise
            self._covered, self._given, self.failed = self.position, self._items(), None
            return True

    def close(self) -> None:
        """Takes a snapshot if it can, and ends. Calling it again does nothing."""
        with self._lock:
            if self._log is not None:
                self._try_snapshot()
                with contextlib.closing(self._files), self.pipeline:
                    self._close_log()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- taking -------------------------------------------------------------------------------------------------------

    def _present(self, events: list[Event]) -> list[Event]:
        """Those that the clock allows: on a replay it would allow more, so the log has no others."""
        bound = self._clock() + self._ahead if self._ahead is not None else 1 << 62
        future = [event for event in events if event.time > bound]
        if not future:
            return events
        self.pipeline.counts["received"] += len(future)
        self.pipeline._refuse("future", future)
        return [event for event in events if event.time <= bound]

    def _take(self, count: int, write: Callable[[EventLog], None], run: Callable[[], None]) -> None:
        if self._log is None:
            raise LogError(f"{self._files.folder}: the device is closed")
        self.pipeline.retry()
        soft = self._window() // (self._keep + 3)
        if self._items() - self._given >= 2 * soft and not self.snapshot():
            raise StoreError(f"outboxes might forget what they have, without a snapshot: {self.failed}")
        if self._log is None:
            raise LogError(f"{self._files.folder}: the device is closed")
        write(self._log)
        self._run(count, run)
        due = self.position - self._covered >= self._every or self._items() - self._given >= soft
        if due and self.position >= self._next_try:
            self._try_snapshot()

    def _run(self, count: int, run: Callable[[], None]) -> None:
        self.position += count
        with contextlib.suppress(StoreError, TunnelError):  # full: all steps ran, the next call is refused
            run()

    def _try_snapshot(self) -> None:
        """A snapshot that nobody asked for; where it fails, `failed` says why, and it is tried again after some events."""
        self._next_try = self.position + 1 + self._every // 10
        with contextlib.suppress(LogError, StoreError, TunnelError, FlowError):
            self.snapshot()
        if self.failed is None:
            self._next_try = 0
        else:
            log.warning("%s: no snapshot: %s", self._files.folder, self.failed)

    def _items(self) -> int:
        """Items that tunnels have been given since the start."""
        return sum(sink.taken for sink in self.pipeline.sinks if isinstance(sink, ToTunnel))

    def _window(self) -> int:
        """Items of which every outbox knows the names."""
        tunnels = [sink.tunnel for sink in self.pipeline.sinks if isinstance(sink, ToTunnel)]
        windows = [getattr(getattr(t, "outbox", t), "_key_window", 1 << 62) for t in tunnels]
        return min(windows, default=1 << 62)

    # -- the log ------------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        for position, path, state in self._files.states():
            try:
                self.pipeline.restore(state)
            except LogError as error:
                self._files.set_aside(path, error)
                continue
            self.position = self._covered = position
            break
        segments = {at: path for at, path in self._files.files("events").items() if at >= self._covered}
        if not self._covered and (self._files.reports or min(segments, default=0)):
            self._files.report(f"{self._files.folder}: no snapshot is left; started anew with the log")
        for first, path in segments.items():
            self.position = first
            try:
                if first == max(segments):
                    self._begin_segment(path)
                for found in self._files.blocks(path, self.pipeline.schema):
                    if isinstance(found, list):
                        self._run(len(found), partial(self.pipeline.feed, found))
                    elif found == FINISH:
                        self._run(1, self.pipeline.finish)
                    else:
                        self._run(1, partial(self.pipeline.advance, int(found)))
            except LogError as error:
                self._files.set_aside(path, error)
        if self._log is None:
            self._begin_segment(self._files.path(self.position, "events"))
        if self.position - self._covered >= self._every:
            self._try_snapshot()

    def _begin_segment(self, path: Path) -> None:
        if self._log is None or self._log.path != path:
            opened = self._files.open(path, self.pipeline.schema, sync=self._sync)
            self._close_log()
            self._log = opened

    def _close_log(self) -> None:
        opened, self._log = self._log, None
        if opened is not None:
            opened.close()
