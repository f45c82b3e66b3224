"""The pipeline of one device: events in, features out."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import msgspec

from walle_pipeline.batch import Batch
from walle_pipeline.errors import EventError, FlowError, LogError
from walle_pipeline.events import MAX_TIME, Event, Schema
from walle_pipeline.flow import Flow, Root
from walle_pipeline.guard import Guard
from walle_pipeline.matching import Matching
from walle_pipeline.ordering import Order, pack, unpacked
from walle_pipeline.running import Failure, RunningFlow, chosen
from walle_pipeline.sinks import Numbered, Sink
from walle_pipeline.trigger import Trigger

log = logging.getLogger(__name__)

SNAPSHOT = 2  # version of what `snapshot` writes
KEPT = 1000  # events kept of each kind that was refused


class Pipeline:
    """Runs flows on the events of a device. Safe to call from several threads: one call runs at a time. What a user function
    feeds is taken after the call that it is part of; conditions of patterns may not change flows.

    Args:
        flows: to begin with.
        schema: the kinds of events.
        lateness_ms: an event may arrive this much after a later one; more, and it goes to the side output ``late``.
        ahead_ms: an event dated this much after the clock goes to the side output ``future``; None: the clock is not asked.
        dedupe_ms: an event whose key and id were seen less than this before is dropped and counted, if its id is not 0.
        clock: gives milliseconds since the epoch.
        seconds, memory: limits of a user function for one item (see walle_pipeline.guard).
        partials, kept: limits of the trigger (see walle_pipeline.trigger).

    Attributes:
        refused: side output ``late``, ``future``, ``malformed`` -> the latest of what went there.
        counts: events, late, future, malformed, duplicates, matches, timeouts, errors since the start.
    """

    def __init__(
        self,
        *flows: Flow,
        schema: Schema | None = None,
        lateness_ms: int = 0,
        ahead_ms: int | None = 600_000,
        dedupe_ms: int = 0,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        seconds: float | None = 5.0,
        memory: int | None = 512 << 20,
        partials: int = 4096,
        kept: int = 1 << 20,
    ) -> None:
        if lateness_ms < 0 or dedupe_ms < 0:
            raise FlowError(f"lateness_ms {lateness_ms}, dedupe_ms {dedupe_ms}: wanted no negative time")
        self.schema = schema if schema is not None else Schema.BASIC
        self.trigger = Trigger(self.schema, partials=partials, kept=kept)
        self.order = Order(lateness_ms)
        self.flows: dict[str, RunningFlow] = {}
        self.counts: Counter[str] = Counter()
        self.refused: dict[str, deque[Any]] = {n: deque(maxlen=KEPT) for n in ("late", "future", "malformed")}
        self._ahead, self._dedupe, self._clock = ahead_ms, dedupe_ms, clock
        self._seen: dict[tuple[str, int], int] = {}
        self._guard = Guard(seconds, memory)
        self._matching = Matching(self.trigger, self._guard)
        self._lock = threading.RLock()
        self._asked: deque[Callable[[], None]] = deque()  # what is to be done
        self._working = self._closed = False
        self._broken: BaseException | None = None  # what left the pipeline in the middle of some events
        self._leaving: list[Sink] = []  # of flows that have ended, while they hold items back
        self._names: dict[str, Any] = {}  # prefix of names that a flow gave -> how far it had numbered them
        for flow in flows:
            self.add(flow)

    # -- flows --------------------------------------------------------------------------------------------------------

    def add(self, flow: Flow) -> None:
        """Starts a flow; it sees events from now on. Raises FlowError if there is one of its name, or it cannot work."""
        with self._lock:
            self._changes()
            if flow.name in self.flows:
                raise FlowError(f"a flow {flow.name!r} runs already; replace or remove it")
            self._check_kinds(flow)
            running = RunningFlow(flow, self._guard)
            self._matching.add(flow.name, running)
            self.flows[flow.name] = running
            for sink in running.sinks:
                if isinstance(sink, Numbered) and sink.prefix in self._names:
                    sink.restore(self._names.pop(sink.prefix))

    def _changes(self) -> None:
        if self._matching.busy:
            raise FlowError("a condition of a pattern may not change flows")

    def _check_kinds(self, flow: Flow) -> None:
        known = self.schema.kinds
        for root in flow.nodes:
            unknown = [k for k in root.kinds if k not in known] if isinstance(root, Root) else []
            if unknown:
                raise FlowError(
                    f"flow {flow.name!r}: no kind of event {unknown[0]!r}; the schema has {', '.join(known)}"
                )

    def remove(self, name: str) -> None:
        """Ends a flow; windows that are open do not close. What its sinks hold back is offered again until it is taken.

        Raises FlowError if there is none of that name.
        """
        with self._lock:
            self._changes()
            running = self.flows.pop(name, None)
            if running is None:
                raise FlowError(f"no flow {name!r} runs; there are {', '.join(self.flows) or 'none'}")
            self._matching.remove(running)
            self.counts["errors"] += running.counts["errors"]
            for sink in running.sinks:
                sink.retry()
                if isinstance(sink, Numbered):  # a flow of this name goes on: names are not given twice
                    self._names[sink.prefix] = sink.snapshot()
            leaving = [sink for sink in running.sinks if sink.waiting]
            self._leaving += leaving
            running.close(but=leaving)

    def _let_go(self) -> None:
        """Offers again what sinks of ended flows hold back, before what comes now."""
        for sink in self._leaving:
            sink.retry()
            if not sink.waiting:
                sink.close()
        self._leaving = [sink for sink in self._leaving if sink.waiting]

    def replace(self, flow: Flow) -> None:
        """Puts `flow` in the place of the one of its name; no event is lost. Raises FlowError, and keeps the old one."""
        with self._lock:
            self._changes()
            self._check_kinds(flow)
            RunningFlow(flow, self._guard).close()
            Trigger(self.schema).add(
                flow.name, *(p for n in flow.nodes if isinstance(n, Root) for p in n.patterns)
            )
            if flow.name in self.flows:
                self.remove(flow.name)
            self.add(flow)

    # -- events -------------------------------------------------------------------------------------------------------

    def feed(self, events: Iterable[Event]) -> None:
        """Takes events as they arrive; what is not as the schema says goes to ``malformed``.

        Raises StoreError or TunnelError if a sink has refused more than it may hold back; all events have been taken.
        """
        good, bad = self.schema.sorted_out(events)
        self._take(good, bad)

    def feed_encoded(self, data: bytes) -> None:
        """Takes a MessagePack array of events; what is none goes to ``malformed``."""
        try:
            events, bad = self.schema.decode_batch(data)
        except EventError as error:
            events, bad = [], [(data[:1024], error)]
        self._take(events, bad)

    def _take(self, events: list[Event], bad: Sequence[Any] = ()) -> None:
        def work() -> None:
            if bad:
                self._refuse("malformed", bad)
            due, late = self.order.add(self._admitted(events))
            if late:
                self._refuse_late(late)
            self._run(due)
            self._advance()

        self._work(work)

    def _work(self, what: Callable[[], None]) -> None:
        """Does `what`, after what is being done if a user function asks for it.

        Raises StoreError or TunnelError if a sink holds back more than it may.
        """
        with self._lock:
            if self._closed:
                raise FlowError("the pipeline is closed")
            self._asked.append(what)
            if self._working:
                return
            self._working = True
            try:
                self._let_go()
                while self._asked:
                    self._asked.popleft()()
            except BaseException as error:
                self._broken = error
                raise
            finally:
                self._working = False
            self._check()

    def advance(self, time_ms: int | None = None) -> None:
        """Tells that it is `time_ms` (default: the clock, less the lateness): windows close, partial matches end."""

        def work() -> None:
            now = self._clock() - self.order.lateness if time_ms is None else time_ms
            self._run(self.order.advance(min(now, MAX_TIME)))
            self._advance()

        self._work(work)

    def finish(self) -> None:
        """Tells that no event follows: everything that waits is decided. Sinks get what they have refused once more."""

        def work() -> None:
            due = self.order.finish()
            self._run(due)
            self._matching.finish(max(self.order.watermark, due[-1].time if due else 0))
            for running in list(self.flows.values()):
                running.advance(1 << 62)
            self._retry()

        self._work(work)

    def retry(self) -> None:
        """Offers what sinks hold back again. Raises StoreError or TunnelError if it is still more than they may."""
        self._work(self._retry)

    def _retry(self) -> None:
        for sink in self.sinks:
            sink.retry()

    @property
    def deadline(self) -> int | None:
        """The earliest event time, ms, at which something waits to happen; None while nothing does: no timer is needed."""
        with self._lock:
            times = [f.deadline for f in self.flows.values()] + [self.trigger.deadline]
            if self.order.waiting:
                times.append(self.order.waiting[0].time + 1)
            return min((t for t in times if t is not None), default=None)

    def close(self) -> None:
        """Ends all flows and the pipeline's thread; sinks get what they have refused once more. Calling it again does
        nothing; after it, `feed` raises FlowError.
        """
        with self._lock:
            if self._working:
                self._asked.append(self.close)
            elif not self._closed:
                self._closed = True
                self._retry()
                if left := sum(sink.waiting for sink in self.sinks):
                    log.warning("the pipeline ends while sinks hold back %d items", left)
                for running in self.flows.values():
                    running.close()
                for sink in self._leaving:
                    sink.close()
                self._guard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- state --------------------------------------------------------------------------------------------------------

    @property
    def sinks(self) -> list[Sink]:
        """Where the flows end, those first that have ended and still hold items back."""
        running = (sink for flow in self.flows.values() for sink in flow.sinks)
        return list(dict.fromkeys((*self._leaving, *running)))

    @property
    def failures(self) -> list[Failure]:
        """The latest items that user functions did not accept, of all flows."""
        return [failure for running in self.flows.values() for failure in running.failures]

    def stats(self) -> dict[str, int]:
        """`counts` and those of the trigger, with what is held now."""
        with self._lock:
            errors = sum(running.counts["errors"] for running in self.flows.values())
            waiting = sum(sink.waiting for sink in self.sinks)
            return {
                **dict.fromkeys(("received", "late", "future", "malformed", "duplicates"), 0), **self.counts, **self.trigger.stats(),
                "errors": self.counts["errors"] + errors, "reordering": len(self.order.waiting), "sinks_waiting": waiting,
            }  # fmt: skip

    def snapshot(self) -> bytes:
        """All state: with it, a pipeline of the same flows goes on as if it had not stopped.

        What sinks hold back is not in it: feed again the events since the last time `stats` showed no ``sinks_waiting``.
        Raises FlowError if a flow holds values that MessagePack does not have, within a user function, and if an exception
        (KeyboardInterrupt) ended a call in the middle: then restore the snapshot before, and feed again what followed it.
        """
        with self._lock:
            if self._working or self._broken is not None:
                why = (
                    "some events are being taken"
                    if self._working
                    else f"a call was ended by {self._broken!r}"
                )
                raise FlowError(f"no snapshot: {why}")
            try:
                state = {
                    "version": SNAPSHOT,
                    "watermark": self.order.watermark,
                    "waiting": pack(self.schema, self.order.waiting),
                    "seen": [[key, id, when] for (key, id), when in self._seen.items()],
                    "trigger": self.trigger.snapshot(),
                    "flows": {name: running.snapshot() for name, running in self.flows.items()},
                }
                return msgspec.msgpack.encode(state)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                raise FlowError(f"no snapshot: {error}") from error

    def restore(self, data: bytes) -> None:
        """Takes up a snapshot; flows that it does not know begin anew. Call before the first event.

        Raises LogError if `data` is no snapshot, FlowError if a flow has changed since.
        """
        try:
            state = msgspec.msgpack.decode(data, strict=False)
            version = state["version"]
            if version != SNAPSHOT:
                raise LogError(f"snapshot of version {version}, this is {SNAPSHOT}; start without it")
            with self._lock:
                self.order.watermark = self._matching.now = state["watermark"]
                self.order.waiting = unpacked(self.schema, state["waiting"])
                self._seen = {(key, id): when for key, id, when in state["seen"]}
                self.trigger.restore(state["trigger"])
                for name, one in state["flows"].items():
                    if name in self.flows:
                        self.flows[name].restore(one)
        except (
            msgspec.MsgspecError,
            EventError,
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
        ) as error:
            raise LogError(f"damaged snapshot: {error}; start without it") from error

    # -- inside -------------------------------------------------------------------------------------------------------

    def _admitted(self, events: Iterable[Event]) -> list[Event]:
        taken = events if isinstance(events, list) else list(events)
        self.counts["received"] += len(taken)
        if self._ahead is not None and taken:
            bound = self._clock() + self._ahead
            if max(event.time for event in taken) > bound:
                self._refuse("future", [event for event in taken if event.time > bound])
                taken = [event for event in taken if event.time <= bound]
        return self._fresh(taken) if self._dedupe else taken

    def _fresh(self, events: list[Event]) -> list[Event]:
        kept = []
        lateness = self.order.lateness
        latest = self.order.watermark + lateness
        for event in events:
            late = event.time < latest - lateness  # it is refused, and not remembered
            if event.id and not late:
                mark = (event.key, event.id)
                seen = self._seen.get(mark)
                if seen is not None and event.time - seen < self._dedupe:
                    self.counts["duplicates"] += 1
                    continue
                self._seen.pop(mark, None)
                self._seen[mark] = event.time
            latest = max(latest, event.time)
            kept.append(event)
        bound = self.order.watermark - self._dedupe
        while self._seen and next(iter(self._seen.values())) < bound:
            del self._seen[next(iter(self._seen))]
        return kept

    def _refuse(self, name: str, items: Sequence[Any]) -> None:
        self.refused[name] += items
        self.counts[name] += len(items)

    def _refuse_late(self, late: list[tuple[Event, int]]) -> None:
        """To the flows they come at the watermark that they missed: their own time is over."""
        self._refuse("late", [event for event, _ in late])
        for running in list(self.flows.values()):
            for root in running.roots:
                some = chosen(root.node, [event for event, _ in late])  # type: ignore[arg-type]
                if some:
                    wanted = set(map(id, some))
                    times = [missed for event, missed in late if id(event) in wanted]
                    root.side("late", Batch(some, times, [e.key for e in some]))

    def _run(self, events: list[Event]) -> None:
        if not events:
            return
        self._matching.feed(events)
        for running in list(self.flows.values()):
            for root in running.roots:
                if not root.node.patterns:  # type: ignore[attr-defined]
                    some = chosen(root.node, events)  # type: ignore[arg-type]
                    root.give(Batch(some, [e.time for e in some], [e.key for e in some]))

    def _check(self) -> None:
        for sink in self.sinks:
            sink.check()

    def _advance(self) -> None:
        now = self.order.watermark
        self._matching.advance(now)
        for running in list(self.flows.values()):
            running.advance(now)
