"""The cloud's side of tasks that are not confident: takes samples from a tunnel's sink, and keeps a larger model's answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Self

from walle_core.errors import WalleError
from walle_deploy.cloud.costs import Cost, Price, costs
from walle_deploy.cloud.follow import Follower, Record, follower
from walle_deploy.cloud.reports import STREAM, runs_of
from walle_deploy.cloud.running import Running
from walle_deploy.cloud.store import DAY_S, CloudStore, Key
from walle_deploy.cloud.values import CloudAnswer
from walle_deploy.cloud.work import CloudTask, Outcome, text
from walle_deploy.errors import CloudError
from walle_deploy.server.logs import Throttled
from walle_deploy.server.refusals import BusyError

TAKE_S = 1.0  # seconds that one look at a stream may wait
RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
FORGET_S = 3600.0
REPORTS = 1000  # at once
LAST_TRIES = 5  # a sample that was alone with the model when the service died, this often, is set aside

log, noted = logging.getLogger(__name__), Throttled()


class CloudService:
    """Answers the samples of some tasks; at-least-once to the model, exactly once in the store.

    Arguments:
        sink: of the tunnel, for this service alone: it is opened by `start` and closed by `stop`.
        tasks: that are answered, and by what.
        store: keeps positions, answers and counts.
        executor: makes what runs the models of a stream, again where one has died or hangs: a thread by default;
            processes, or `on_ray.RayExecutor`.
        batch: samples that a model is given at once, at most.
        parallel: batches of a stream at the same time; as many as the executor has workers.
        seconds: that a batch may take, waiting for a worker included.
        price: for `costs`.
        on_answer: called with each answer in a thread, in order; after a crash, again with the last ones. One that
            raises is called again later.
        keep_days: how long answers are kept.

    Raises CloudError for two models of one task.
    """

    def __init__(
        self,
        sink: Any,
        tasks: Iterable[CloudTask],
        store: CloudStore,
        *,
        executor: Callable[[], Executor] | None = None,
        batch: int = 32,
        parallel: int = 1,
        seconds: float = 60.0,
        price: Price | None = None,
        on_answer: Callable[[CloudAnswer], None] | None = None,
        keep_days: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.price = store, price or Price()
        self._sink, self._batch, self._parallel, self._on_answer = sink, batch, parallel, on_answer
        self._keep_s, self._clock = keep_days * DAY_S, clock
        self._streams: dict[str, dict[str, CloudTask]] = {}
        for task in tasks:
            if self._streams.setdefault(task.stream, {}).setdefault(task.name, task) is not task:
                raise CloudError(f"task {task.name}: two models for the stream {task.stream}")
        self._names = frozenset(name for tasks in self._streams.values() for name in tasks)
        self._running = {stream: Running(executor, seconds) for stream in self._streams}
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._problems: dict[str, str] = {}  # by stream

    # life

    async def start(self) -> None:
        """Opens the sink and begins. Raises walle_pipeline's StoreError."""
        await self._sink.open()
        self._tasks = [
            asyncio.create_task(
                self._follow(stream, self._deal, self._batch * self._parallel), name=f"cloud {stream}"
            )
            for stream in self._streams
        ]
        self._tasks.append(
            asyncio.create_task(self._follow(STREAM, self._count, REPORTS), name="cloud reports")
        )
        self._tasks.append(asyncio.create_task(self._forgets(), name="cloud forgets"))
        if self._on_answer is not None:
            self._tasks.append(asyncio.create_task(self._tells(), name="cloud tells"))

    async def stop(self) -> None:
        """Ends; samples that are with a model now come again. Closes the sink, not the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for running in self._running.values():
            running.close()
        await self._sink.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def costs(self, days: int | None = None) -> list[Cost]:
        """What was spent, by task and version, of the last days or from the beginning."""
        first = 0 if days is None else int(self._clock() // DAY_S) - days + 1
        return costs(self.store.counted(first), self.price)

    @property
    def problem(self) -> str:
        """Why it does not go on just now; "" if it does."""
        return "; ".join(f"stream {stream}: {why}" for stream, why in self._problems.items())

    def _hindered(self, stream: str, error: Exception, pause: float) -> None:
        self._problems[stream] = text(error)
        log.warning(
            "stream %s: %s; again in %g s",
            stream,
            text(error),
            pause,
            exc_info=not isinstance(error, WalleError),
        )

    @contextlib.contextmanager
    def news(self, device: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there are new answers to a device; for the service's own event loop."""
        event = asyncio.Event()
        others = self._waiting.setdefault(device, set())
        others.add(event)
        try:
            yield event
        finally:
            others.discard(event)
            if not others and self._waiting.get(device) is others:
                del self._waiting[device]

    # one stream

    async def _follow(
        self, stream: str, deal: Callable[[str, Sequence[Record]], Awaitable[None]], limit: int
    ) -> None:
        pause = RETRY_S
        while True:
            following: Follower | None = None
            try:
                positions = await asyncio.to_thread(self.store.positions, stream)
                following = await follower(self._sink, stream, f"cloud-{_name(stream)}", positions)
                while True:
                    records = await following.take(limit, TAKE_S)
                    self._problems.pop(stream, None)
                    pause = RETRY_S
                    for at in range(0, len(records), limit):
                        await deal(stream, records[at : at + limit])
                    if records:
                        await following.done()
            except Exception as error:  # sinks of other plugins may raise anything
                self._hindered(stream, error, pause)
            finally:
                if following is not None:
                    with contextlib.suppress(WalleError, OSError):
                        await following.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY_S)

    async def _deal(self, stream: str, records: Sequence[Record]) -> None:
        by_key = {(record.device, record.seq): record for record in records}
        new = await asyncio.to_thread(self.store.begin, stream, list(by_key))
        try:
            outcomes = await self._outcomes(stream, {key: by_key[key].payload for key in new}, new)
        except asyncio.CancelledError:
            self.store.again(stream, list(new))
            raise
        kept = {key: (made, len(by_key[key].payload), by_key[key].received) for key, made in outcomes.items()}
        for (device, seq), made in outcomes.items():
            if not made.ok:
                noted("sample set aside", stream=stream, device=device, sample=seq, error=made.why)
        positions = _positions(records)
        await self._stored(stream, lambda: self.store.finish(stream, kept, positions))
        self._news.set()
        for device in positions:
            for event in self._waiting.get(device, ()):
                event.set()

    async def _count(self, stream: str, records: Sequence[Record]) -> None:
        runs = runs_of(records, self._names)
        await self._stored(stream, lambda: self.store.count_runs(stream, runs, _positions(records)))

    async def _stored(self, stream: str, work: Callable[[], None]) -> None:
        """Does `work` when the database lets it: what a model has answered is not thrown away."""
        pause = RETRY_S
        while True:
            try:
                return await asyncio.to_thread(work)
            except BusyError as error:
                self._hindered(stream, error, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY_S)

    async def _outcomes(
        self, stream: str, payloads: Mapping[Key, bytes], tries: Mapping[Key, int]
    ) -> dict[Key, Outcome]:
        """What comes of each sample. One that was begun before, and of which nothing came, runs alone."""
        tasks, running = self._streams[stream], self._running[stream]
        made: dict[Key, Outcome] = {}

        async def some(keys: Sequence[Key]) -> None:
            found = await running.work(tasks, [payloads[key] for key in keys])
            made.update(zip(keys, found, strict=True))

        fresh = [key for key in payloads if not tries[key]]
        batch = self._batch
        await asyncio.gather(*(some(fresh[at : at + batch]) for at in range(0, len(fresh), batch)))
        for key in payloads:
            if tries[key] > LAST_TRIES:
                made[key] = Outcome(why=f"the service ended {tries[key]} times while the model had it")
            elif tries[key]:
                await some([key])
        return {key: made[key] for key in payloads}

    # in the background

    async def _forgets(self) -> None:
        while True:
            with contextlib.suppress(WalleError):
                await asyncio.to_thread(self.store.forget, self._clock() - self._keep_s)
            await asyncio.sleep(FORGET_S)

    async def _tells(self) -> None:
        while True:
            self._news.clear()
            try:
                await asyncio.to_thread(self._tell)
                await self._news.wait()
            except Exception as error:  # of the application, or of the database
                log.warning(
                    "cloud: an answer could not be handed over: %r; again in %g s", error, LONGEST_RETRY_S
                )
                await asyncio.sleep(LONGEST_RETRY_S)

    def _tell(self) -> None:
        assert self._on_answer is not None
        told = self.store.told()
        while some := self.store.answers(since=told):
            for answer in some:
                self._on_answer(answer)
                told = answer.number
            self.store.tell(told)


def _positions(records: Sequence[Record]) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in records:
        found[record.device] = max(record.seq, found.get(record.device, 0))
    return found


def _name(stream: str) -> str:
    """A stream's name for consumers: dots are not allowed there."""
    return stream.replace("_", "__").replace(".", "_-")
